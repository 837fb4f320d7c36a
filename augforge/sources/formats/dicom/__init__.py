"""DICOM images: radiographs, ultrasound, single slices."""

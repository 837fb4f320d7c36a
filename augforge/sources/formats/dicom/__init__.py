"""DICOM pictures: radiographs, ultrasound, single slices."""

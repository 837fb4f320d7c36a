"""Volumes as slices: NIfTI, TIFF stacks and DICOM series."""

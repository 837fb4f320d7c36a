"""YOLO segmentation: label files of normalised polygons."""

"""CVAT: its own XML, version 1.1, for images and for video."""

"""LabelMe: one JSON of shapes beside each image."""

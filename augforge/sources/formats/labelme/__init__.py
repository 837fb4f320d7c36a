"""LabelMe: one JSON file of shapes beside each image."""

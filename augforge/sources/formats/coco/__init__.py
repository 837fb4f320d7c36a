"""COCO: JSON files of annotations for folders of images."""

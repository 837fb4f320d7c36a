"""The kinds of all findings, so that a recipe cannot accept one that does not exist."""

from __future__ import annotations

from collections.abc import Mapping

KINDS = frozenset(
    line.strip()
    for line in """
    EXIF orientation ignored
    EXIF orientation not certain
    accept without effect
    annotation files left aside
    background is a class
    boxes beside masks
    boxes written as corners
    class drawn nowhere
    class far from its share
    class fills its masks
    class in every pixel
    class in no sample of train
    class_map without effect
    classes alike
    coordinates within 0 to 1
    empty label cells
    folders left aside
    grey levels in masks
    groups of one image
    hole_label without effect
    ignored pixels are a class
    images are transposed
    images in several folders
    images of a kind that is not read
    images without a label file
    label given to no image
    labels that look the same
    links that lead nowhere
    masks in the alpha channel
    masks of several values
    masks that number objects
    metadata rows without a sample
    metadata without a row
    names alike
    nearly the same picture in two splits
    odd value in a numeric column
    one label a group
    one label for all images
    palette with white first
    phantom class left out
    polygons apart from their boxes
    polygons of one or two points dropped
    polygons that enclose nothing
    review without effect
    same image in two splits
    shapes outside the image
    sides found by name
    sides left out of swap
    split far from its share
    the same folders in every class
    turned boxes drawn upright
    two folders of images
    unlabelled beside mismatched labels
    """.strip().splitlines()
)

OLD_KINDS: Mapping[str, str] = {"annotation file left aside": "annotation files left aside"}
"""What kinds were called before, which recipes may go on to accept."""

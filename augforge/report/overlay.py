"""The classes of a sample in colour over its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.ops.geometry import sample_planes, scale_image
from augforge.report.colours import colour_of
from augforge.report.paint import Picture
from augforge.sample import Image, Sample

_CHECKER = (255, 216)
_CHECKER_SIDE = 8
_WINDOW = (0.5, 99.5)  # percentiles of 16-bit images that become black and white


def overlay(sample: Sample, classes: Sequence[str], *, alpha: float = 0.45, outline: bool = True) -> Picture:
    """Draw the classes of a sample over its image.

    Where classes overlap, the fill is the mean of their colours; the outlines of all classes are drawn over the fills.
    Classes that are not known are not drawn. Pixels without a class are unchanged.

    Args:
        sample: a 16-bit image is shown in the range of its own percentiles, an RGBA image over a checkerboard.
        classes: the class table.
        alpha: opacity of the fill, 0 to 1.
        outline: draw the borders of the classes, inside them.

    Returns:
        RGB, uint8 (H, W, 3).
    """
    picture, masks = as_rgb(sample.image), sample.masks
    if (sample.known != bitmask.all_bits(len(classes))).any():
        masks = bitmask.keep(masks, sample.known)
    _fill(picture, masks, len(classes), alpha)
    if outline:
        _outline(picture, masks, len(classes))
    return picture


def scale_to_fit(sample: Sample, width: int, height: int) -> Sample:
    """The sample scaled up or down, keeping its aspect ratio, so that it just fits into (height, width)."""
    scale = min(width / sample.width, height / sample.height)
    size = (max(1, round(sample.width * scale)), max(1, round(sample.height * scale)))
    return replace(sample, image=scale_image(sample.image, *size), masks=sample_planes(sample.masks, *size))


def as_rgb(image: Image) -> Picture:
    """Any image that a sample may have, as RGB for display, uint8 (H, W, 3); a new array."""
    if image.ndim == 2:
        return np.repeat(_to_8_bit(image)[..., None], 3, axis=2)
    if image.shape[2] == 3:
        return np.array(_to_8_bit(image))
    colour, opacity = image[..., :3], image[..., 3:] / np.float32(np.iinfo(image.dtype).max)
    board = _checkerboard(*image.shape[:2])[..., None]
    return np.asarray(np.rint(_to_8_bit(colour) * opacity + board * (1 - opacity)), np.uint8)


def _to_8_bit(image: Image) -> NDArray[np.uint8]:
    """uint8 as it is; uint16 stretched between its percentiles, which a few very bright pixels do not change."""
    if image.dtype == np.uint8:
        return image
    step = max(1, min(image.shape[:2]) // 512)
    low, high = np.percentile(image[::step, ::step], _WINDOW)
    stretched = (image.astype(np.float32) - low) * (255 / max(high - low, 1))
    return np.asarray(np.rint(np.clip(stretched, 0, 255)), np.uint8)


def _checkerboard(height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = np.arange(height) // _CHECKER_SIDE, np.arange(width) // _CHECKER_SIDE
    return np.asarray(np.array(_CHECKER, np.uint8)[(rows[:, None] + columns) % 2])


def _fill(picture: Picture, masks: Planes, classes: int, alpha: float) -> None:
    """Blend into each pixel the mean colour of the classes it has, in place."""
    total = np.zeros(picture.shape, np.uint16)  # the sum of 256 colour values of 255 just fits
    for c, roi, mask in bitmask.regions(masks, classes):
        cv2.add(total[roi], np.array([*colour_of(c), 0], np.float64), dst=total[roi], mask=mask)
    count = bitmask.overlap_count(masks)
    covered = count > 0
    mean = total[covered] / count[covered][:, None].astype(np.float32)
    picture[covered] = np.rint(picture[covered] * (1 - alpha) + mean * alpha).astype(np.uint8)


def _outline(picture: Picture, masks: Planes, classes: int) -> None:
    """Draw the inner border of every class in its own colour, in place."""
    side = 2 * max(1, round(max(picture.shape[:2]) / 900)) + 1
    kernel = np.ones((side, side), np.uint8)
    for c, roi, mask in bitmask.regions(masks, classes):
        inner = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        picture[roi][mask > inner] = colour_of(c)

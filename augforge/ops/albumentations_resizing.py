"""Albumentations' transforms that resize: where masks shrink they do so by area, as in `resize`, and not by nearest."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.ops.geometry import scale_planes

Array = NDArray[Any]


def _whole(leaf: Any, mask: Array, params: dict[str, Any]) -> Array:
    return mask


def _cropped(leaf: Any, mask: Array, params: dict[str, Any]) -> Array:
    x0, y0, x1, y1 = params["crop_coords"]
    return mask[y0:y1, x0:x1]


def _cropped_and_padded(leaf: Any, mask: Array, params: dict[str, Any]) -> Array:
    unscaled = copy(leaf)
    vars(unscaled)["keep_size"] = False
    return np.asarray(type(leaf).apply_to_mask(unscaled, mask, **params))


RESIZING: dict[str, Callable[[Any, Array, dict[str, Any]], Array]] = {
    **dict.fromkeys(("Resize", "LongestMaxSize", "SmallestMaxSize", "RandomScale"), _whole),
    **dict.fromkeys(("RandomResizedCrop", "RandomSizedCrop", "RandomSizedBBoxSafeCrop"), _cropped),
    "CropAndPad": _cropped_and_padded,
}
"""What such a transform does to a mask before it scales it, by its name."""


def resize_by_area(leaf: Any) -> None:
    """Let a transform that resizes scale bit-planes (H, W, P) by `scale_planes`, and origins to the middle of areas.

    It is left alone where the image, too, takes nearest pixels: masks then stay over the same ones.
    """
    seen = RESIZING.get(type(leaf).__name__)
    if seen is None or leaf.interpolation in (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT):
        return
    by_nearest = leaf.apply_to_mask

    def apply_to_mask(mask: Array, **params: Any) -> Array:
        made: Array = by_nearest(mask, **params)
        if mask.ndim == 2:  # an alpha channel: its values are no bits
            return made
        height, width = made.shape[:2]
        part = np.ascontiguousarray(seen(leaf, mask, params))
        return scale_planes(part, width, height) if mask.dtype == np.uint8 else _middles(part, made)

    leaf.apply_to_mask = apply_to_mask


def _middles(origin: Array, nearest: Array) -> Array:
    """The mean origin of the area under each new pixel where axes shrink; `nearest` where a part comes from nowhere."""
    size = (min(nearest.shape[1], origin.shape[1]), min(nearest.shape[0], origin.shape[0]))
    if size == origin.shape[1::-1]:
        return nearest
    mean = cv2.resize(origin.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    partly = cv2.resize((origin[..., 0] == 0).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    unsure = _enlarged(partly[..., None].astype(np.uint8), nearest) > 0
    return np.where(unsure, nearest, _enlarged(np.rint(mean), nearest)).astype(nearest.dtype)


def _enlarged(values: Array, like: Array) -> Array:
    made = cv2.resize(values, like.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(made if made.ndim == 3 else made[..., None])

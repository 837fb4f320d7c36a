"""The entries of a LabelMe file, in the form that `file.read_shapes` reads."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def shape_entry(label: str, points: list[list[float]], kind: str, group: int | None = None) -> dict[str, Any]:
    """A shape in the form that `read_shapes` reads."""
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }


def mask_entry(label: str, mask: NDArray[np.uint8], x: int, y: int) -> dict[str, Any]:
    """A shape of type mask in the form that `read_shapes` reads; ``x`` and ``y`` are its first pixel."""
    height, width = mask.shape
    picture = base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode("ascii")
    return {**shape_entry(label, [[x, y], [x + width - 1, y + height - 1]], "mask"), "mask": picture}

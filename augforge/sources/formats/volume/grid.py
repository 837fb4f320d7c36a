"""Where the voxels of a volume lie, and how slices are cut from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from augforge.errors import MissingExtra, SourceError

Axis = Literal[0, 1, 2, "axial", "coronal", "sagittal"]
Direction = tuple[int, int]
"""0, 1 or 2 for left-right, back-front and feet-head, and 1 to the right, front and head, -1 the other way."""

TOLERANCE = 0.1
"""Voxels that a label volume may lie off its image, by rounding of what the files say."""

LPS = np.diag([-1.0, -1.0, 1.0])
"""From DICOM's directions, left, back and head (C.7.6.2), to right, front and head; and back."""

_LEFT, _BACK, _FEET, _HEAD = (0, -1), (1, -1), (2, -1), (2, 1)
_PLANES: dict[str, tuple[Direction, Direction, Direction]] = {
    "axial": (_HEAD, _BACK, _LEFT),
    "coronal": (_BACK, _FEET, _LEFT),
    "sagittal": (_LEFT, _FEET, _BACK),
}
"""Where slices, rows and columns go: pictures as radiologists see them, from the patient's feet and right side."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How stored axes become slices, rows and columns.

    Attributes:
        order: the stored axis of each of the three.
        flips: whether each runs against its stored axis.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool] = (False, False, False)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values (slices, rows, columns), a view."""
        return values.transpose(self.order)[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


@dataclass(frozen=True, slots=True)
class Grid:
    """A volume's shape, and the matrix from voxel indices to millimetres to the right, front and head (or None)."""

    shape: tuple[int, ...]
    affine: tuple[tuple[float, ...], ...] | None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Grid:
        """The grid that a file's facts tell."""
        affine = facts["affine"]
        return cls(tuple(facts["shape"]), None if affine is None else tuple(tuple(row) for row in affine))

    @property
    def matrix(self) -> NDArray[np.float64] | None:
        return None if self.affine is None else np.array(self.affine)

    def turned(self, turn: Turn) -> Grid:
        """The grid of turned values."""
        shape = tuple(self.shape[axis] for axis in turn.order)
        if (matrix := self.matrix) is None:
            return Grid(shape, None)
        back = np.zeros((4, 4))
        back[3, 3] = 1
        for to, (axis, flip) in enumerate(zip(turn.order, turn.flips, strict=True)):
            back[axis, to] = -1 if flip else 1
            back[axis, 3] = self.shape[axis] - 1 if flip else 0
        return Grid(shape, tuple(map(tuple, (matrix @ back).tolist())))

    def directions(self, path: Path) -> tuple[Direction, ...]:
        """Where each axis mostly goes. SourceError if the volume has no affine."""
        if (matrix := self.matrix) is None:
            raise SourceError(f"{path} does not say how it lies in space; expected axis to be 0, 1 or 2. Set it.")
        try:
            from nibabel.orientations import io_orientation
        except ImportError as error:
            raise MissingExtra("nibabel", "medical", "finding the planes of a volume") from error
        found = io_orientation(matrix)  # type: ignore[no-untyped-call]
        return tuple((int(world), int(sign)) for world, sign in found)

    def cut(self, axis: Axis, path: Path) -> Turn:
        """How slices are cut along an axis: a stored one, nothing turned, or a plane, seen as radiologists do."""
        if isinstance(axis, str):
            return _make_turn(self.directions(path), _PLANES[axis])
        rows, columns = (other for other in range(3) if other != axis)
        return Turn((axis, rows, columns))

    def off(self, other: Grid) -> float:
        """How far the corners of another grid of the same shape lie from this one's, in voxels; the worst."""
        one, two = self.matrix, other.matrix
        if one is None or two is None:
            return 0.0 if one is two else np.inf
        corners = np.array([(*np.array(at) * (np.array(self.shape) - 1), 1) for at in np.ndindex(2, 2, 2)])
        voxel = np.linalg.norm(one[:3, :3], axis=0).min()
        return float(np.linalg.norm((corners @ (one - two).T)[:, :3], axis=1).max() / voxel)


def _make_turn(have: Sequence[Direction], want: Sequence[Direction]) -> Turn:
    axes = {world: (axis, sign) for axis, (world, sign) in enumerate(have)}
    found = [(axes[world][0], axes[world][1] != sign) for world, sign in want]
    return Turn((found[0][0], found[1][0], found[2][0]), (found[0][1], found[1][1], found[2][1]))


def align_labels(labels: Grid, labels_path: Path, image: Grid, image_path: Path, turn: Turn, check: bool) -> Turn:
    """How labels are cut so that they lie on an image's slices: their axes may be stored in another order.

    Args:
        turn: how the image is cut.
        check: False takes labels voxel by voxel as stored, whatever they say of space.

    Raises:
        SourceError: the volumes have not the same shape and place.
    """
    ours = image.turned(turn)
    both = check and labels.affine is not None and image.affine is not None
    found = _make_turn(labels.directions(labels_path), ours.directions(image_path)) if both else turn
    theirs = labels.turned(found)
    if theirs.shape != ours.shape:
        raise SourceError(
            f"{labels_path} has {_size_text(labels)} voxels, its image {image_path} {_size_text(image)}; expected "
            "the same. Resample the labels to the image, or restore the image that was annotated."
        )
    if check and not theirs.off(ours) <= TOLERANCE:
        raise SourceError(
            f"{labels_path} lies elsewhere than its image {image_path}: its affine is {_affine_text(labels)}, the "
            f"image's {_affine_text(image)}. Resample the labels to the image; or set check_affine: false, if they do "
            "fit voxel by voxel."
        )
    return found


def _size_text(grid: Grid) -> str:
    return "x".join(map(str, grid.shape))


def _affine_text(grid: Grid) -> str:
    if grid.affine is None:
        return "missing"
    return str([[round(value, 4) for value in row] for row in grid.affine[:3]])

"""The position of a volume in space, and how slices are cut from it."""

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
"""An axis of the body, 0 left-right, 1 back-front or 2 feet-head, and 1 for right, front and head, or -1."""

TOLERANCE = 0.1
"""How many voxels a label volume may lie off its image: files round positions."""

LPS = np.diag([-1.0, -1.0, 1.0])
"""From DICOM's directions left, back and head (C.7.6.2) to right, front and head, and the other way round."""

_LEFT, _BACK, _FEET, _HEAD = (0, -1), (1, -1), (2, -1), (2, 1)
_PLANES: dict[str, tuple[Direction, Direction, Direction]] = {
    "axial": (_HEAD, _BACK, _LEFT),
    "coronal": (_BACK, _FEET, _LEFT),
    "sagittal": (_LEFT, _FEET, _BACK),
}
"""The directions of slices, rows and columns in images as radiologists view them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How the stored axes become slices, rows and columns.

    Attributes:
        order: the stored axis that becomes each of the three.
        flips: whether each runs against its stored axis.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool] = (False, False, False)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values as (slices, rows, columns); a view."""
        turned = values.transpose(self.order)[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return np.asarray(turned)


@dataclass(frozen=True, slots=True)
class Grid:
    """A volume's shape, and the matrix from voxel indices to millimetres to the right, front and head (or None)."""

    shape: tuple[int, ...]
    affine: tuple[tuple[float, ...], ...] | None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Grid:
        """The grid in the facts of a file."""
        affine = facts["affine"]
        return cls(tuple(facts["shape"]), None if affine is None else tuple(tuple(row) for row in affine))

    @property
    def matrix(self) -> NDArray[np.float64] | None:
        return None if self.affine is None else np.array(self.affine)

    def turned(self, turn: Turn) -> Grid:
        """The grid after turning the values."""
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
        """The nearest direction of each axis. Raises SourceError if the volume has no affine."""
        if (matrix := self.matrix) is None:
            raise SourceError(f"{path} does not say how it lies in space; expected axis to be 0, 1 or 2. Set it.")
        try:
            from nibabel.orientations import io_orientation
        except ImportError as error:
            raise MissingExtra("nibabel", "medical", "finding the planes of a volume") from error
        axes = io_orientation(matrix)
        return tuple((int(world), int(sign)) for world, sign in axes)

    def cut(self, axis: Axis, path: Path) -> Turn:
        """How to cut slices: along a stored axis, without turning, or in a plane, as radiologists view it."""
        if isinstance(axis, str):
            return _make_turn(self.directions(path), _PLANES[axis])
        rows, columns = (other for other in range(3) if other != axis)
        return Turn((axis, rows, columns))

    def off(self, other: Grid) -> float:
        """The largest distance in voxels between corners of this grid and of another one of the same shape."""
        one, two = self.matrix, other.matrix
        if one is None or two is None:
            return 0.0 if one is two else np.inf
        corners = np.array([(*np.array(at) * (np.array(self.shape) - 1), 1) for at in np.ndindex(2, 2, 2)])
        voxel = np.linalg.norm(one[:3, :3], axis=0).min()
        return float(np.linalg.norm((corners @ (one - two).T)[:, :3], axis=1).max() / voxel)


def _make_turn(have: Sequence[Direction], want: Sequence[Direction]) -> Turn:
    axes = {world: (axis, sign) for axis, (world, sign) in enumerate(have)}
    order, flips = zip(*((axes[world][0], axes[world][1] != sign) for world, sign in want), strict=True)
    return Turn(order, flips)


def align_labels(labels: Grid, labels_path: Path, image: Grid, image_path: Path, turn: Turn, check: bool) -> Turn:
    """How to cut labels so that they lie on the slices of their image; their axes may be stored in another order.

    Args:
        labels, labels_path: the label volume.
        image, image_path: its image.
        turn: how the image is cut.
        check: False takes labels voxel by voxel as they are stored, whatever their affine says.

    Raises:
        SourceError: the volumes differ in shape or position.
    """
    image_grid = image.turned(turn)
    has_affines = check and labels.affine is not None and image.affine is not None
    labels_turn = _make_turn(labels.directions(labels_path), image_grid.directions(image_path)) if has_affines else turn
    labels_grid = labels.turned(labels_turn)
    if labels_grid.shape != image_grid.shape:
        raise SourceError(
            f"{labels_path} has {_size_text(labels)} voxels, its image {image_path} {_size_text(image)}; expected "
            "the same. Resample the labels to the image, or restore the image that was annotated."
        )
    if check and not labels_grid.off(image_grid) <= TOLERANCE:
        raise SourceError(
            f"{labels_path} lies elsewhere than its image {image_path}: its affine is {_affine_text(labels)}, the "
            f"image's {_affine_text(image)}. Resample the labels to the image; or set check_affine: false, if they do "
            "fit voxel by voxel."
        )
    return labels_turn


def _size_text(grid: Grid) -> str:
    return "x".join(map(str, grid.shape))


def _affine_text(grid: Grid) -> str:
    if grid.affine is None:
        return "missing"
    return str([[round(value, 4) for value in row] for row in grid.affine[:3]])

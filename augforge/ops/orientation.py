"""What a picture of origins tells: the affine matrix that fits a transform best, and whether it mirrors.

Origins are uint16 (H, W, 2): 2x + 1, 2y + 1 of the input pixel that each output pixel shows, 0 where it shows none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augforge.sample import IDENTITY, Matrix

Origins = NDArray[np.uint16]


def shows_mirrored(origin: Origins) -> bool:
    """Whether a transform mirrors most of what it shows.

    Each cell of a grid votes by the sign of its area in the input. The matrix that fits best does not tell where a
    transform is far from affine: exchanged tiles may fit a mirror best, though none of them is mirrored.
    """
    shorter = min(origin.shape[:2])
    votes = (_vote(origin, step) for step in sorted({max(1, shorter // 48), max(1, shorter // 200), 1}, reverse=True))
    return next((vote < 0 for vote in votes if vote), False)


def _vote(origin: Origins, step: int) -> int:
    """How many more cells keep their orientation than change it."""
    source = origin[::step, ::step].astype(np.int64)
    corner, right, below = source[:-1, :-1], source[:-1, 1:], source[1:, :-1]
    shown = (corner[..., 0] > 0) & (right[..., 0] > 0) & (below[..., 0] > 0)
    across, down = right - corner, below - corner
    return int(np.sign(across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0])[shown].sum())


def fit_affine(origin: Origins) -> tuple[Matrix, float | None]:
    """The matrix from input to output pixels that fits best, and the largest distance in pixels by which it is off."""
    step = max(1, min(origin.shape[:2]) // 48)
    ys, xs = np.mgrid[0 : origin.shape[0] : step, 0 : origin.shape[1] : step]
    source = (origin[ys, xs].reshape(-1, 2) - 1.0) / 2
    shown = source[:, 0] >= 0
    points = np.column_stack([source[shown], np.ones(int(shown.sum()))])
    target = np.column_stack([xs.ravel(), ys.ravel()])[shown].astype(np.float64)
    solution, _, rank, _ = np.linalg.lstsq(points, target, rcond=None)
    if rank < 3:
        return IDENTITY, None
    off = float(np.abs(points @ solution - target).max())
    a, d, b, e, c, f = (float(value) for value in np.round(solution, 6).ravel() + 0.0)
    return ((a, b, c), (d, e, f)), round(off, 3)

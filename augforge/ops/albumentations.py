"""albumentations: any transform of that library by its name, with masks kept exact."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from augforge.bitmask import Planes, contiguous
from augforge.keys import canonical_json
from augforge.ops.albumentations_build import (
    SEEDS,
    check_node,
    children_first,
    make_pipeline,
    one_line,
    resizes,
    seed_all,
)
from augforge.ops.core import Context, Examples, op
from augforge.ops.mirror import MirrorParams, exchanges_sides
from augforge.ops.orientation import fit_affine, shows_mirrored
from augforge.sample import Image, Placement, Sample, is_reflection

_PROBES = {(64, 80): 8, (640, 720): 2, (2112, 2304): 1}
"""Sizes at which a transform is tried, and how often: chance may pass over what goes wrong."""
MIRROR_TRIES, FEW_TRIES = 64, 8
"""How often it is tried whether a transform mirrors, on the smallest images and on larger ones."""


class Albumentations(MirrorParams):
    """A transform of Albumentations (Buslaev et al. 2020, doi:10.3390/info11020125) by its name there.

    ``{op: albumentations, name: Emboss, alpha: [0.2, 0.5]}``: every other key is a parameter of the transform and is
    checked against its signature. Transforms are nested as there: ``name: OneOf, transforms: [{name: CLAHE}, {name:
    Sharpen, p: 0.5}]``. The step's `p` decides how often the outermost one is applied. Each call is seeded from the
    recipe's seed, and each transform in it has a seed of its own.

    Masks are passed as masks and never interpolated; so is an alpha channel, which stays free of changes of colour.
    Where Resize, LongestMaxSize, SmallestMaxSize, RandomScale, RandomResizedCrop, RandomSizedCrop or CropAndPad shrink
    them, a pixel has each class that covers half of its area or more, as in `resize`, unless the image takes nearest
    pixels, too. The lineage holds the affine matrix that fits best and, as `matrix_residual_px`, the largest distance
    in pixels by which it is off (null if hardly anything of the picture is left). Where a transform mirrors, by an
    axis, a diagonal or a negative scale, the sides are exchanged as by `hflip`; whether it may is tried beforehand.

    A transform is refused before any work if it cannot keep masks exact (it computes with their values, such as
    Morphological), needs more than the image (boxes, other images), or gives other numbers than uint8 or uint16
    (Normalize, ToFloat). One that does not treat 16-bit images as it treats 8-bit ones is refused at the first 16-bit
    image.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = Field(description="a transform or composition of Albumentations", examples=["Emboss"])

    @model_validator(mode="after")
    def _check_transform(self) -> Albumentations:
        check_node(self.node(), "")
        for node in children_first(self.node()):
            problem = _find_problem(canonical_json(node))
            if problem:
                raise ValueError(problem)
        return self

    def revision(self) -> int:
        """1 where masks may shrink: they do so by area now."""
        return int(resizes(self.node()))

    def node(self) -> dict[str, Any]:
        """The transform as a tree of names and parameters."""
        return {"name": self.name, **(self.model_extra or {})}


def _keeps_size(params: Albumentations) -> bool:
    return not make_pipeline(canonical_json(params.node()))[1]


def _may_mirror(params: Albumentations) -> bool:
    if params.swap is not None:  # a person knows, whatever chance passes over when it is tried
        return True
    return any(map(_mirrors, map(canonical_json, children_first(params.node()))))


@exchanges_sides(_may_mirror)
@op(
    "albumentations",
    Albumentations,
    version=1,
    role="augment",
    exact=_keeps_size,
    examples=Examples(
        [{"name": "VerticalFlip"}, {"name": "Affine", "rotate": [-40, 40]}],
        picture={"name": "ElasticTransform", "alpha": 300, "sigma": 14},
    ),
)
def albumentations(
    inputs: Sequence[Sample], drawn: dict[str, Any], params: Albumentations, ctx: Context
) -> Iterator[Sample]:
    """Apply the transform with the drawn seed."""
    sample, text = inputs[0], canonical_json(params.node())
    if sample.image.dtype == np.uint16 and not _takes_16_bits(text, sample.image.ndim):
        raise ValueError(
            f"Albumentations' {params.name} does not treat 16-bit images as it treats 8-bit ones. "
            "Convert them to 8 bits before it: {op: normalise_intensity}"
        )
    image, planes, origin = _transform(text, drawn["seed"], sample.image, sample.masks)
    if origin is None:
        yield sample.derive(image, planes)
        return
    matrix, residual = fit_affine(origin)
    mirrored = shows_mirrored(origin)
    told = mirrored if mirrored != is_reflection(matrix) else None
    placement = Placement(matrix, (0, 0, image.shape[1], image.shape[0]), mirrored=told)
    yield sample.derive(image, planes, placements=(placement,), notes={"matrix_residual_px": residual})


@albumentations.draws
def draw_seed(
    rng: np.random.Generator, inputs: Sequence[Sample], params: Albumentations, ctx: Context
) -> dict[str, Any]:
    """Draw the seed of the transform."""
    return {"seed": int(rng.integers(SEEDS))}


@lru_cache(maxsize=2)
def _pixel_origins(height: int, width: int) -> NDArray[np.uint16]:
    """2 x + 1 and 2 y + 1 of each pixel, (H, W, 2), read-only; 0 stands for pixels that come from nowhere."""
    origin = np.empty((height, width, 2), np.uint16)  # images have up to 32767 pixels on a side
    origin[..., 0], origin[..., 1] = np.arange(1, 2 * width, 2), np.arange(1, 2 * height, 2)[:, None]
    origin.setflags(write=False)
    return origin


def _transform(
    text: str, seed: int, image: Image, masks: Planes, by_area: bool = True
) -> tuple[Image, Planes, NDArray[np.uint16] | None]:
    """Transform image and planes; also give 2 x + 1, 2 y + 1 of the place that each output pixel shows, 0 for none.

    The third is None if nothing moves; the planes are then the input's.
    """
    pipeline, moves = make_pipeline(text, by_area)
    seed_all(pipeline, np.random.default_rng(seed))
    targets = {"image": image}
    if image.shape[2:] == (4,):
        targets = {"image": np.ascontiguousarray(image[..., :3]), "alpha": np.ascontiguousarray(image[..., 3])}
    names = [f"planes{i // 4}" for i in range(0, masks.shape[2], 4)] if moves else []
    if moves:
        targets["origin"] = _pixel_origins(*masks.shape[:2])
        groups = [masks[..., i : i + 4] for i in range(0, masks.shape[2], 4)]
        targets |= {name: contiguous(group) for name, group in zip(names, groups, strict=True)}
    made = _call_library(json.loads(text)["name"], pipeline, targets)
    image = np.dstack([made["image"], made["alpha"]]) if "alpha" in made else made["image"]
    if not moves:
        return image, masks, None
    planes = [made[name].reshape(*made[name].shape[:2], -1) for name in names]
    return image, np.ascontiguousarray(np.concatenate(planes, axis=2)), made["origin"]


def _call_library(name: str, pipeline: Any, targets: dict[str, Any]) -> Any:
    """Call the library. Its warnings are errors, such as that a colour transform does nothing to gray images."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            made = pipeline(**targets)
        except Exception as error:
            image = targets["image"]
            raise ValueError(f"{name} cannot take {image.dtype} {image.shape} and masks: {one_line(error)}") from error
    if made["image"].dtype not in (np.uint8, np.uint16):
        kind = made["image"].dtype
        raise ValueError(f"{name} gives {kind} images; samples are uint8 or uint16. Leave that to the trainer")
    return made


@lru_cache(maxsize=64)
def _find_problem(text: str) -> str:
    """Try a transform on noise and say why it cannot be used; empty if it can."""
    rng = np.random.default_rng(0)
    problem = ""
    for size, times in _PROBES.items():
        for shape in (size, (*size, 3)):
            image = rng.integers(0, 256, shape, dtype=np.uint8)
            planes = rng.integers(0, 256, (*size, 5), dtype=np.uint8)
            try:
                made = (_transform(text, seed, image, planes, by_area=False)[1:] for seed in range(times))
                exact = all(_is_exact(planes, *each) for each in made)
            except ValueError as error:
                problem = str(error)
                continue
            name = json.loads(text)["name"]
            return "" if exact else f"{name} computes with mask values; bit-planes cannot go through it"
    return problem


def _is_exact(planes: Planes, moved: Planes, origin: NDArray[np.uint16] | None) -> bool:
    """Whether every moved pixel of the planes is the one that `origin` names."""
    if origin is None:
        return True
    known = np.logical_and.reduce((origin > 0) & (origin < 2 * np.array(planes.shape[1::-1])), axis=2)
    if not np.array_equal(known, origin.any(axis=2)):
        return False
    at = np.where(known[..., None], origin, 1).astype(np.int64) // 2
    return np.array_equal(np.where(known[..., None], planes[at[..., 1], at[..., 0]], 0), moved)


@lru_cache(maxsize=64)
def _takes_16_bits(text: str, ndim: int) -> bool:
    """Whether a transform does the same to 16-bit images as to 8-bit ones; True if it cannot take the tested size."""
    rng = np.random.default_rng(0)
    planes = np.zeros((640, 720, 1), np.uint8)
    image = cv2.GaussianBlur(rng.integers(0, 256, (640, 720, 3)[:ndim], dtype=np.uint8), (0, 0), 2)
    try:
        expected = [_transform(text, seed, image, planes)[0] for seed in range(3)]
    except ValueError:
        return True
    try:
        found = [_transform(text, seed, image.astype(np.uint16) * 257, planes)[0] for seed in range(3)]
    except ValueError:
        return False
    errors = [np.abs(a / 257.0 - b).mean() if a.shape == b.shape else 255 for a, b in zip(found, expected, strict=True)]
    return max(errors) < 2


@lru_cache(maxsize=64)
def _mirrors(text: str) -> bool:
    """Whether a transform mirrors in any of several tries; False if it takes none of the tested sizes."""
    if not make_pipeline(text)[1]:
        return False
    for size in _PROBES:
        image, planes = np.zeros(size, np.uint8), np.zeros((*size, 1), np.uint8)
        times = MIRROR_TRIES if size == next(iter(_PROBES)) else FEW_TRIES
        try:
            origins = [_transform(text, seed, image, planes)[2] for seed in range(times)]
        except ValueError:
            continue
        return any(origin is not None and shows_mirrored(origin) for origin in origins)
    return False

"""albumentations: any transform of that library by name, masks kept exact."""

from __future__ import annotations

import inspect
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from augforge.bitmask import Planes, contiguous
from augforge.errors import nearest
from augforge.keys import canonical_json
from augforge.ops.core import Context, Examples, OpParams, op
from augforge.sample import IDENTITY, Image, Matrix, Sample

_PROBES = {(64, 80): 8, (640, 720): 2, (2112, 2304): 1}  # size: how often, for chance may pass over what goes wrong
_GROUPS = 8  # of four planes each: 256 classes
_SEED = 1 << 31


class Albumentations(OpParams):
    """A transform of Albumentations (Buslaev et al. 2020, doi:10.3390/info11020125) by its name there.

    ``{op: albumentations, name: Emboss, alpha: [0.2, 0.5]}``; every other key is the transform's own, checked against
    its signature. Several are nested as there: ``name: OneOf, transforms: [{name: CLAHE}, {name: Sharpen, p: 0.5}]``.
    The step's `p` decides how often the outermost one is applied. Each call is seeded from the recipe's seed, and each
    transform in it apart from the others.

    Bit-planes go as masks and are never interpolated; so does an alpha channel, which no change of colour touches. The
    lineage holds the affine matrix that fits best, and as `matrix_residual_px` by how much it is off at most, in pixels
    (null where hardly anything of the picture is left).

    A transform that cannot keep masks exact (it computes with their values, such as Morphological), that needs more
    than the image (boxes, other images), or that gives other numbers than uint8 or uint16 (Normalize, ToFloat), is
    refused before any work; one that treats 16-bit images otherwise than 8-bit ones, at the first such image.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = Field(description="a transform or composition of Albumentations", examples=["Emboss"])

    @model_validator(mode="after")
    def _check_transform(self) -> Albumentations:
        _check_node(self.node(), "")
        for node in _children_first(self.node()):
            problem = _find_problem(canonical_json(node))
            if problem:
                raise ValueError(problem)
        return self

    def node(self) -> dict[str, Any]:
        """The transform as a tree of names and parameters."""
        return {"name": self.name, **(self.model_extra or {})}


def _keeps_size(params: Albumentations) -> bool:
    return not _pipeline(canonical_json(params.node()))[1]


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
    sample, text = inputs[0], canonical_json(params.node())
    if sample.image.dtype == np.uint16 and not _takes_16_bits(text, sample.image.ndim):
        raise ValueError(
            f"Albumentations' {params.name} does not treat 16-bit images as it treats 8-bit ones. "
            "Bring them to 8 bits before it: {op: normalise_intensity}"
        )
    image, planes, origin = _transform(text, drawn["seed"], sample.image, sample.masks)
    if origin is None:
        yield sample.derive(image, planes)
        return
    matrix, residual = _fit_affine(origin)
    yield sample.derive(image, planes, matrix=matrix, notes={"matrix_residual_px": residual})


@albumentations.draws
def draw_seed(
    rng: np.random.Generator, inputs: Sequence[Sample], params: Albumentations, ctx: Context
) -> dict[str, Any]:
    return {"seed": int(rng.integers(_SEED))}


def _library() -> Any:
    """Albumentations, imported on first use: it is slow to import, and asks the network for updates if not told off."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import albumentations
    return albumentations


def _transform_class(name: str) -> Any:
    library = _library()
    kinds = (library.BasicTransform, library.BaseCompose)
    known = {n: c for n, c in vars(library).items() if inspect.isclass(c) and issubclass(c, kinds)}
    if name not in known:
        raise ValueError(f"Albumentations has no transform '{name}'.{nearest(name, known)[:200]}")
    return known[name]


def _check_node(node: Any, where: str) -> None:
    """Raise ValueError for an unknown transform or parameter anywhere in a tree."""
    if not isinstance(node, Mapping) or "name" not in node:
        raise ValueError(f"{where}expected a mapping with the transform's `name`, got {node!r}")
    signature = inspect.signature(_transform_class(node["name"]).__init__).parameters
    for key in set(node) - {"name"}:
        if key not in signature:
            raise ValueError(
                f"{where}{node['name']} has no parameter '{key}'.{nearest(key, set(signature) - {'self'})}"
            )
    if not isinstance(node.get("transforms", []), list):
        raise ValueError(f"{where}{node['name']}: `transforms` is no list; expected such as [{{name: CLAHE}}]")
    for child in node.get("transforms", ()):
        _check_node(child, f"{where}{node['name']}: ")
    _build(node, top=not where)


def _children_first(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A tree's leaves first, since chance may pass over some, then the compositions of them."""
    for child in node.get("transforms", ()):
        yield from _children_first(child)
    yield node


def _build(node: Mapping[str, Any], top: bool) -> Any:
    """The transform; what the library would only warn of is an error."""
    kind = _transform_class(node["name"])
    arguments = {key: tuple(v) if isinstance(v, list) and key != "transforms" else v for key, v in node.items()}
    del arguments["name"]
    masks = inspect.signature(kind.__init__).parameters.get("mask_interpolation")
    if masks is not None and "INTER_NEAREST_EXACT" in str(masks.annotation):
        arguments.setdefault("mask_interpolation", cv2.INTER_NEAREST_EXACT)  # plain nearest would shift them
    if "transforms" in arguments:
        arguments["transforms"] = [_build(child, top=False) for child in arguments["transforms"]]
    if top:
        arguments["p"] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return kind(**arguments)
        except (ValueError, TypeError, UserWarning) as error:
            raise ValueError(f"{node['name']}: {_one_line(error)}") from None


@lru_cache(maxsize=64)
def _pipeline(text: str) -> tuple[Any, bool]:
    """The transform of a tree, ready to be called, and whether it moves pixels."""
    library, tree = _library(), json.loads(text)
    transform = _build(tree, top=True)
    extra = dict.fromkeys([f"planes{i}" for i in range(_GROUPS)] + ["origin", "alpha"], "mask")
    moves = any(not isinstance(leaf, library.ImageOnlyTransform) for leaf in _leaves(transform, library))
    return library.Compose([transform], additional_targets=extra), moves


def _leaves(transform: Any, library: Any) -> Iterator[Any]:
    if isinstance(transform, library.BaseCompose):
        for child in transform.transforms:
            yield from _leaves(child, library)
    else:
        yield transform


def _seed(transform: Any, rng: np.random.Generator) -> None:
    """Seed every transform of a tree apart: the library gives all the same seed, so that two flips always agree."""
    transform.set_random_seed(int(rng.integers(_SEED)))
    for child in getattr(transform, "transforms", ()):
        if hasattr(child, "set_random_seed"):  # ColorJitter keeps plain functions there
            _seed(child, rng)


@lru_cache(maxsize=2)
def _pixel_origins(height: int, width: int) -> NDArray[np.uint16]:
    """x + 1 and y + 1 of each pixel, (H, W, 2), read-only; 0 is left for pixels that come from nowhere."""
    origin = np.empty((height, width, 2), np.uint16)
    origin[..., 0], origin[..., 1] = np.arange(1, width + 1), np.arange(1, height + 1)[:, None]
    origin.setflags(write=False)
    return origin


def _transform(text: str, seed: int, image: Image, masks: Planes) -> tuple[Image, Planes, NDArray[np.uint16] | None]:
    """Transformed image and planes, and for each output pixel x + 1, y + 1 of the input pixel it shows (0: none).

    The third is None where nothing moves; the planes are then the input's.
    """
    pipeline, moves = _pipeline(text)
    _seed(pipeline, np.random.default_rng(seed))
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
    """The library warns, for one, of a colour transform that does nothing to gray images: that is an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            made = pipeline(**targets)
        except Exception as error:
            image = targets["image"]
            raise ValueError(f"{name} cannot take {image.dtype} {image.shape} and masks: {_one_line(error)}") from error
    if made["image"].dtype not in (np.uint8, np.uint16):
        kind = made["image"].dtype
        raise ValueError(f"{name} gives {kind} images; samples are uint8 or uint16. Leave that to the trainer")
    return made


def _one_line(error: Exception) -> str:
    """An error in one line, without what pydantic puts around it."""
    lines = [re.sub(r" \[type=.*", "", line).strip() for line in str(error).splitlines()]
    told = [line for line in lines if "errors.pydantic.dev" not in line and "validation error" not in line]
    return " ".join(told) or type(error).__name__


@lru_cache(maxsize=64)
def _find_problem(text: str) -> str:
    """What speaks against a transform, found by trying it on noise; nothing if all is well."""
    rng = np.random.default_rng(0)
    problem = ""
    for size, times in _PROBES.items():
        for shape in (size, (*size, 3)):
            image = rng.integers(0, 256, shape, dtype=np.uint8)
            planes = rng.integers(0, 256, (*size, 5), dtype=np.uint8)
            try:
                exact = all(_is_exact(planes, *_transform(text, seed, image, planes)[1:]) for seed in range(times))
            except ValueError as error:
                problem = str(error)
                continue
            return (
                ""
                if exact
                else f"{json.loads(text)['name']} computes with mask values; bit-planes cannot go through it"
            )
    return problem


def _is_exact(planes: Planes, moved: Planes, origin: NDArray[np.uint16] | None) -> bool:
    """Whether every moved pixel is the one that it claims to be."""
    if origin is None:
        return True
    known = np.logical_and.reduce((origin > 0) & (origin <= planes.shape[1::-1]), axis=2)
    if not np.array_equal(known, origin.any(axis=2)):
        return False
    at = np.where(known[..., None], origin, 1).astype(np.int64) - 1
    return np.array_equal(np.where(known[..., None], planes[at[..., 1], at[..., 0]], 0), moved)


@lru_cache(maxsize=64)
def _takes_16_bits(text: str, ndim: int) -> bool:
    """Whether a transform does to 16-bit images what it does to the same ones of 8 bits; sizes it cannot take pass."""
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
    off = [np.abs(a / 257.0 - b).mean() if a.shape == b.shape else 255 for a, b in zip(found, expected, strict=True)]
    return max(off) < 2


def _fit_affine(origin: NDArray[np.uint16]) -> tuple[Matrix, float | None]:
    """The matrix that fits best from input to output pixels, and the largest distance in pixels it is off."""
    step = max(1, min(origin.shape[:2]) // 48)
    ys, xs = np.mgrid[0 : origin.shape[0] : step, 0 : origin.shape[1] : step]
    source = origin[ys, xs].reshape(-1, 2) - 1.0
    shown = source[:, 0] >= 0
    points = np.column_stack([source[shown], np.ones(int(shown.sum()))])
    target = np.column_stack([xs.ravel(), ys.ravel()])[shown].astype(np.float64)
    solution, _, rank, _ = np.linalg.lstsq(points, target, rcond=None)
    if rank < 3:
        return IDENTITY, None
    off = float(np.abs(points @ solution - target).max())
    a, d, b, e, c, f = (float(value) for value in np.round(solution, 6).ravel() + 0.0)
    return ((a, b, c), (d, e, f)), round(off, 3)

"""albumentations: any transform of that library by name, masks kept exact."""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.errors import PlanError, nearest
from augforge.keys import canonical_json
from augforge.ops.core import Context, OpParams, op
from augforge.sample import Matrix, Placement, Sample

_PROBES = ((64, 80), (640, 720), (2112, 2304))
_GROUPS = 32
_SEED = 1 << 31


class Albumentations(OpParams):
    """A transform of Albumentations (Buslaev et al. 2020, doi:10.3390/info11020125) by its name there.

    ``{op: albumentations, name: Emboss, alpha: [0.2, 0.5]}``; every other key is the transform's own, checked against
    its signature. Several are nested as there: ``name: OneOf, transforms: [{name: CLAHE}, {name: Sharpen, p: 0.5}]``.
    The step's `p` decides how often the outermost one is applied. Each call is seeded from the recipe's seed.

    Bit-planes go as masks and are never interpolated. A transform that cannot keep them exact (it computes with mask
    values, such as Morphological), that needs more than the image (boxes, other images), or that gives other numbers
    than uint8 or uint16 (Normalize, ToFloat), is refused before any work.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = Field(description="a transform or composition of Albumentations", examples=["Emboss"])

    @model_validator(mode="after")
    def _known(self) -> Albumentations:
        _check_node(self.node(), "")
        return self

    def node(self) -> dict[str, Any]:
        """The transform as a tree of names and parameters."""
        return {"name": self.name, **(self.model_extra or {})}

    def check(self, ctx: Context) -> None:
        for node in _with_children(self.node()):
            problem = _probe(canonical_json(node))
            if problem:
                raise PlanError(f"albumentations: {node['name']} {problem}")


@op("albumentations", Albumentations, version=1, role="augment", exact=False)
def albumentations(
    inputs: Sequence[Sample], drawn: dict[str, Any], params: Albumentations, ctx: Context
) -> Iterator[Sample]:
    sample, text = inputs[0], canonical_json(params.node())
    image, planes, origin = _run(text, drawn["seed"], sample.image, sample.masks)
    if origin is None:
        yield sample.derive(image, planes)
        return
    matrix, residual = _affine(origin)
    placement = Placement(matrix, (0, 0, image.shape[1], image.shape[0]))
    yield sample.derive(image, planes, placements=(placement,), notes={"matrix_residual_px": residual})


@albumentations.draws
def _(rng: np.random.Generator, inputs: Sequence[Sample], params: Albumentations, ctx: Context) -> dict[str, Any]:
    return {"seed": int(rng.integers(_SEED))}


def _library() -> Any:
    """Albumentations, imported on first use: it is slow to import, and asks the network for updates if not told off."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import albumentations
    return albumentations


def _class(name: str) -> Any:
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
    signature = inspect.signature(_class(node["name"]).__init__).parameters
    for key in set(node) - {"name"}:
        if key not in signature:
            raise ValueError(
                f"{where}{node['name']} has no parameter '{key}'.{nearest(key, set(signature) - {'self'})}"
            )
    for child in node.get("transforms", ()):
        _check_node(child, f"{where}{node['name']}: ")
    _built(node, top=not where)


def _with_children(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A tree's leaves first, since chance may pass over some, then the compositions of them."""
    for child in node.get("transforms", ()):
        yield from _with_children(child)
    yield node


def _built(node: Mapping[str, Any], top: bool) -> Any:
    """The transform; what the library would only warn of is an error."""
    kind = _class(node["name"])
    arguments = {key: tuple(v) if isinstance(v, list) and key != "transforms" else v for key, v in node.items()}
    del arguments["name"]
    if "transforms" in arguments:
        arguments["transforms"] = [_built(child, top=False) for child in arguments["transforms"]]
    if top:
        arguments["p"] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return kind(**arguments)
        except (ValueError, TypeError, UserWarning) as error:
            lines = [line for line in str(error).splitlines() if "errors.pydantic.dev" not in line]
            raise ValueError(f"{node['name']}: {' '.join(lines)}") from None


@lru_cache(maxsize=64)
def _pipeline(text: str) -> tuple[Any, bool]:
    """The transform of a tree, ready to be called, and whether it moves pixels."""
    library, tree = _library(), json.loads(text)
    transform = _built(tree, top=True)
    extra = dict.fromkeys([f"planes{i}" for i in range(_GROUPS)] + ["origin"], "mask")
    moves = any(not isinstance(leaf, library.ImageOnlyTransform) for leaf in _leaves(transform, library))
    return library.Compose([transform], additional_targets=extra), moves


def _leaves(transform: Any, library: Any) -> Iterator[Any]:
    if isinstance(transform, library.BaseCompose):
        for child in transform.transforms:
            yield from _leaves(child, library)
    else:
        yield transform


def _run(text: str, seed: int, image: Any, masks: Planes) -> tuple[Any, Planes, NDArray[np.float32] | None]:
    """Transformed image and planes, and for each output pixel x + 1, y + 1 of the input pixel it shows (0: none).

    The third is None where nothing moves; the planes are then the input's.
    """
    pipeline, moves = _pipeline(text)
    pipeline.set_random_seed(seed)
    if not moves:
        return _called(pipeline, image=image)["image"], masks, None
    height, width = masks.shape[:2]
    origin = np.dstack(np.meshgrid(np.arange(1, width + 1), np.arange(1, height + 1))).astype(np.float32)
    groups = {f"planes{i // 4}": np.ascontiguousarray(masks[..., i : i + 4]) for i in range(0, masks.shape[2], 4)}
    made = _called(pipeline, image=image, origin=origin, **groups)
    planes = [made[name].reshape(*made[name].shape[:2], -1) for name in groups]
    return made["image"], np.ascontiguousarray(np.concatenate(planes, axis=2)), made["origin"]


def _called(pipeline: Any, **targets: Any) -> Any:
    """The library warns, for one, of a colour transform that does nothing to gray images: that is an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return pipeline(**targets)
        except UserWarning as warning:
            raise ValueError(str(warning)) from None


@lru_cache(maxsize=64)
def _probe(text: str) -> str:
    """What speaks against a transform, found by trying it on noise; nothing if all is well."""
    rng = np.random.default_rng(0)
    problem = ""
    for size in _PROBES:
        for shape in (size, (*size, 3)):
            image = rng.integers(0, 256, shape, dtype=np.uint8)
            planes = rng.integers(0, 256, (*size, 5), dtype=np.uint8)
            try:
                return _exactness(text, image, planes)
            except Exception as error:
                problem = f"cannot be applied: {str(error).splitlines()[0]}"
    return problem


def _exactness(text: str, image: Any, planes: Planes) -> str:
    made, moved, origin = _run(text, 1, image, planes)
    if made.dtype not in (np.uint8, np.uint16):
        return f"gives {made.dtype} images; samples are uint8 or uint16. Leave that to the trainer"
    if origin is None:
        return ""
    at = np.maximum(origin - 1, 0).astype(np.int64)
    if (origin % 1).any() or origin.max() > max(planes.shape) + 1:
        return "computes with mask values, so bit-planes cannot go through it"
    at = np.minimum(at, [planes.shape[1] - 1, planes.shape[0] - 1])
    expected = np.where(origin[..., :1] > 0, planes[at[..., 1], at[..., 0]], 0)
    return "" if np.array_equal(expected, moved) else "computes with mask values, so bit-planes cannot go through it"


def _affine(origin: NDArray[np.float32]) -> tuple[Matrix, float]:
    """The matrix that fits best from input to output pixels, and the largest distance in pixels it is off."""
    step = max(1, min(origin.shape[:2]) // 48)
    ys, xs = np.mgrid[0 : origin.shape[0] : step, 0 : origin.shape[1] : step]
    source = origin[ys, xs].reshape(-1, 2) - 1
    shown = source[:, 0] >= 0
    if shown.sum() < 3:
        return ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), float("inf")
    target = np.column_stack([xs.ravel(), ys.ravel()])[shown].astype(np.float64)
    points = np.column_stack([source[shown], np.ones(int(shown.sum()))])
    solution = np.linalg.lstsq(points, target, rcond=None)[0]
    off = float(np.abs(points @ solution - target).max())
    a, d, b, e, c, f = (float(value) for value in np.round(solution, 6).ravel())
    return ((a, b, c), (d, e, f)), round(off, 3)

"""Transforms of Albumentations built from their names and parameters, and checked against their signatures."""

from __future__ import annotations

import inspect
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from augforge.errors import nearest
from augforge.ops.albumentations_resizing import RESIZING, resize_by_area

GROUPS = 8
"""Groups of four planes that a pipeline takes: 256 classes."""
SEEDS = 1 << 31
"""Seeds are drawn from 0 to this."""


def load_library() -> Any:
    """Albumentations, imported on first use: it is slow, and would look for updates on the network if not forbidden."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import albumentations
    return albumentations


def _transform_class(name: str) -> Any:
    """The library's class of a transform or composition. Raises ValueError for an unknown name."""
    library = load_library()
    kinds = (library.BasicTransform, library.BaseCompose)
    known = {n: c for n, c in vars(library).items() if inspect.isclass(c) and issubclass(c, kinds)}
    if name not in known:
        raise ValueError(f"Albumentations has no transform '{name}'.{nearest(name, known)[:200]}")
    return known[name]


def check_node(node: Any, where: str) -> None:
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
        raise ValueError(f"{where}{node['name']}: `transforms` is no list; expected a list such as [{{name: CLAHE}}]")
    for child in node.get("transforms", ()):
        check_node(child, f"{where}{node['name']}: ")
    _build(node, top=not where)


def children_first(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The nodes of a tree, leaves first: chance may pass over some of them when the whole is tried."""
    for child in node.get("transforms", ()):
        yield from children_first(child)
    yield node


def _build(node: Mapping[str, Any], top: bool, by_area: bool = False) -> Any:
    """Build the transform; `by_area` lets masks shrink by area where the library takes the nearest pixel."""
    kind = _transform_class(node["name"])
    arguments = {key: tuple(v) if isinstance(v, list) and key != "transforms" else v for key, v in node.items()}
    del arguments["name"]
    masks = inspect.signature(kind.__init__).parameters.get("mask_interpolation")
    own = masks is not None and "mask_interpolation" not in arguments
    if own and "INTER_NEAREST_EXACT" in str(masks.annotation if masks else ""):
        arguments["mask_interpolation"] = cv2.INTER_NEAREST_EXACT  # plain nearest would shift them
    if "transforms" in arguments:
        arguments["transforms"] = [_build(child, False, by_area) for child in arguments["transforms"]]
    if top:
        arguments["p"] = 1.0
    made = _construct(kind, arguments, node["name"])
    if by_area and own:
        resize_by_area(made)
    return made


def _construct(kind: Any, arguments: Mapping[str, Any], name: str) -> Any:
    """Build one transform. What the library warns of is an error, unless it says the same of the transform's defaults.

    So a range that the library would quietly change is refused, and what is merely slow or has a successor is taken.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            made = kind(**arguments)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: {one_line(error)}") from None
    advice = _advice(kind) if told else frozenset()
    serious = [one_line(warning.message) for warning in told if str(warning.message) not in advice]
    if serious:
        raise ValueError(f"{name}: {serious[0]}")
    return made


def _advice(kind: Any) -> frozenset[str]:
    """What the library warns of whatever the arguments are; nothing if the transform cannot be built without any."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with suppress(ValueError, TypeError):
            kind()
    return frozenset(str(warning.message) for warning in told)


def resizes(node: Mapping[str, Any]) -> bool:
    """Whether a tree holds a transform that may shrink masks."""
    return any(each["name"] in RESIZING for each in children_first(node))


@lru_cache(maxsize=64)
def make_pipeline(text: str, by_area: bool = True) -> tuple[Any, bool]:
    """The transform of a tree, as JSON, ready to be called, and whether it moves pixels.

    Args:
        by_area: whether masks shrink by area; else all that is done to them is to take pixels.
    """
    library, tree = load_library(), json.loads(text)
    transform = _build(tree, top=True, by_area=by_area)
    extra = dict.fromkeys([f"planes{i}" for i in range(GROUPS)] + ["origin", "alpha"], "mask")
    moves = any(not isinstance(leaf, library.ImageOnlyTransform) for leaf in _leaves(transform, library))
    return library.Compose([transform], additional_targets=extra), moves


def _leaves(transform: Any, library: Any) -> Iterator[Any]:
    if isinstance(transform, library.BaseCompose):
        for child in transform.transforms:
            yield from _leaves(child, library)
    else:
        yield transform


def seed_all(transform: Any, rng: np.random.Generator) -> None:
    """Give each transform of a tree a seed of its own: with the library's single seed two flips would always agree."""
    transform.set_random_seed(int(rng.integers(SEEDS)))
    for child in getattr(transform, "transforms", ()):
        if hasattr(child, "set_random_seed"):  # ColorJitter keeps plain functions there
            seed_all(child, rng)


def one_line(error: Exception | Warning | str) -> str:
    """The message of an error in one line, without what pydantic adds."""
    lines = [re.sub(r" \[type=.*", "", line).strip() for line in str(error).splitlines()]
    kept = [line for line in lines if "errors.pydantic.dev" not in line and "validation error" not in line]
    return " ".join(kept) or type(error).__name__

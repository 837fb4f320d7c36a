"""What is different about the steps of two recipes: of two versions, or of a version and a recipe that may be built."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augforge.catalogue import origin_of
from augforge.errors import DatasetError, shorten
from augforge.ops.mirror import step_may_mirror
from augforge.ops.sidenames import Pair
from augforge.recipe.recipe import Recipe
from augforge.store.log import built_recipe
from augforge.store.manifest import Manifest
from augforge.store.sides import sides_of
from augforge.yamlfile import override, parse_yaml


@dataclass(frozen=True, slots=True)
class RecipeSteps:
    """What decides the samples of a recipe, besides the source's files.

    Attributes:
        steps: the keys of each step as the recipe gives them, by its label, in order.
        seed: of the augmentations.
        source: the source's options without paths.
        tables: class table and label names.
        ops: version of each op.
        plugins: where the ops and sources of plugins come from.
        fitted: values of fitted steps.
        random_steps: labels of the steps in which chance decides, found when they are needed.
    """

    steps: dict[str, dict[str, Any]]
    seed: Any
    source: dict[str, Any]
    tables: Mapping[str, Sequence[str]]
    ops: Mapping[str, int]
    plugins: Mapping[str, str]
    fitted: Mapping[str, Any]
    random_steps: Callable[[], set[str]]

    @classmethod
    def of_version(cls, folder: Path, manifest: Manifest, random_steps: Callable[[], set[str]]) -> RecipeSteps:
        """Those of a version: its recipe with the overrides of its last build."""
        data = built_recipe(folder, manifest).data
        tables = {"classes": manifest.classes, "labels": manifest.labels}
        read = _read(data, sides_of(manifest).pairs)
        return cls(*read, tables, manifest.ops, manifest.plugins, manifest.fitted, random_steps)

    @classmethod
    def of_recipe(cls, recipe: Recipe, tables: Mapping[str, Sequence[str]], fitted: Mapping[str, Any]) -> RecipeSteps:
        """Those of a recipe as it would be built now."""
        file = parse_yaml(recipe.text, str(recipe.path), DatasetError)
        for key, value in recipe.overrides.items():
            override(file, f"{key}={json.dumps(value)}")
        bounds = {step.bound.label: (step, step.bound) for step in recipe.steps}
        drawing = {label for label, (step, b) in bounds.items() if b.op.draw or step.p < 1 or b.inputs > 1}
        ops = {bound.name: bound.op.version for _, bound in bounds.values()}
        origins = {bound.name: bound.op.origin for _, bound in bounds.values()}
        origins[recipe.source.format] = origin_of(type(recipe.source).__module__)
        plugins = {name: origin for name, origin in origins.items() if origin}
        return cls(*_read(file.data, _sides_exchanged_by(recipe)), tables, ops, plugins, fitted, lambda: drawing)


def _sides_exchanged_by(recipe: Recipe) -> Sequence[Pair]:
    """The sides of the source that steps exchange which say nothing of it themselves."""
    said = (step.bound.exchange for step in recipe.steps if step.bound.swap is None)
    return next((each.classes + each.labels for each in said if each), ())


def _read(data: Mapping[str, Any], sides: Sequence[Pair]) -> tuple[dict[str, dict[str, Any]], Any, dict[str, Any]]:
    """Steps by their labels, seed, and the source's options, of a recipe's data; steps that mirror name the sides."""
    output = data.get("output") or {}
    given = [step for step in data.get("steps") or () if isinstance(step, dict)]
    if output.get("size") is not None:
        given.append({"op": "resize", **{key: output[key] for key in ("size", "fit") if key in output}})
    seen: Counter[str] = Counter()
    steps = {}
    for step in given:
        name = str(step.get("op"))
        seen[name] += 1
        exchanged = sides and "swap" not in step and step_may_mirror(step)
        more = {"swap": [list(pair) for pair in sides]} if exchanged else {}
        steps[name if seen[name] == 1 else f"{name}.{seen[name]}"] = {**step, **more}
    return steps, data.get("seed", 0), _without_paths(data.get("source") or {})


_WITHOUT_EFFECT = ("path", "licence", "sides")
"""Options of a source that change no id of its samples."""


def _without_paths(source: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in source.items() if key not in _WITHOUT_EFFECT}
    if isinstance(plain.get("sources"), list):
        plain["sources"] = [_without_paths(each) for each in plain["sources"] if isinstance(each, dict)]
    return plain


def changed_steps(this: RecipeSteps, other: RecipeSteps, forward: bool = True) -> dict[str, str]:
    """By label, what is different about a step of `this` compared with `other`; steps that are alike are left out.

    Args:
        this, other: the recipes.
        forward: whether `this` is the later one: texts go from the earlier to the later one.
    """
    earlier, later = (other, this) if forward else (this, other)
    random_steps = this.random_steps() if this.seed != other.seed else set()
    found: dict[str, list[str]] = {label: [] for label in this.steps}
    for label, step in this.steps.items():
        if label not in other.steps:
            found[label].append("is new" if forward else "is gone")
            continue
        found[label] += changed_keys(earlier.steps[label], later.steps[label])
        found[label] += _changed_op(earlier, later, label, str(step.get("op")))
        if this.seed != other.seed and (label in random_steps or step.get("p", 1) != 1):
            found[label].append(f"seed: {earlier.seed} -> {later.seed}")
    for label in _moved(list(other.steps), list(this.steps)):
        found[label].append("moved to another place")
    return {label: "; ".join(texts) for label, texts in found.items() if texts}


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """``size: 512 -> 256`` for each key that differs."""
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            old, new = (shorten(step[key]) if key in step else "default" for step in (before, after))
            yield f"{key}: {old} -> {new}"


def changed_options(before: RecipeSteps, after: RecipeSteps) -> str:
    """What changes every source sample: class table, labels, and the options of the source; empty if nothing does."""
    texts = [f"{key} changed" for key in before.tables if list(before.tables[key]) != list(after.tables[key])]
    return "; ".join([*texts, *changed_keys(before.source, after.source)])


def _changed_op(before: RecipeSteps, after: RecipeSteps, label: str, op: str) -> Iterator[str]:
    if before.ops.get(op) != after.ops.get(op):
        yield f"op version {before.ops.get(op)} -> {after.ops.get(op)}"
    if before.plugins.get(op) != after.plugins.get(op):
        yield "the op's plugin changed"
    if before.fitted.get(label) != after.fitted.get(label):
        yield f"fitted value {shorten(before.fitted.get(label))} -> {shorten(after.fitted.get(label))}"


def _moved(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Labels that stand in both lists, but in another order."""
    common = [label for label in after if label in before]
    old = [label for label in before if label in after]
    return [label for label, was in zip(common, old, strict=True) if label != was]

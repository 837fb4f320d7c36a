"""Whether a run may begin in a folder, or go on there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from augforge.errors import TrainError, shorten
from augforge.train.run import Run

Tell = Callable[[str], None]
"""Who is told a line: of progress, or a warning."""


def check_folder(run: Run, resume: bool, tell: Tell) -> None:
    """Raise TrainError where a run should not begin in its folder, or cannot go on there."""
    held = {path.name for path in run.folder.iterdir()} if run.folder.exists() else set()
    if held <= {"config.yaml", "environment.json"}:  # nothing, or what a run that was killed at once leaves
        if resume:
            tell(f"{run.folder} holds no run to go on with: a new one begins")
        return
    if "run.json" not in held:
        raise TrainError(f"{run.folder} holds other files; expected a new folder. Choose another --out")
    before = Run.open(run.folder)
    if not resume:
        raise TrainError(f"{run.folder} holds a run already. Choose another --out, or let it go on: --resume")
    old, new = _decisive(before), _decisive(run)
    changed = [
        f"{key} was {shorten(old.get(key))}, is {shorten(new.get(key))}" for key in new if old.get(key) != new[key]
    ]
    if changed:
        raise TrainError(
            f"{run.folder} was begun otherwise, so it cannot go on: {'; '.join(changed)}. "
            "Say the same as then, or choose another --out"
        )


def _decisive(run: Run) -> dict[str, Any]:
    """All that decides a run's results, by key; not where its data lies and how many processes load it."""
    described = run.described
    data = {**asdict(described), "datasets": [f"{each['name']} {each['version']}" for each in described.datasets]}
    keys = _flat({**run.config.model_dump(mode="json"), **data})
    return {key: value for key, value in keys.items() if key not in ("data.workers", "checkpoint_every")}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found

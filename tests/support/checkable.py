"""A small repository to check: a recipe, its data, its dataset and a registry; and ways to break them on purpose."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from indexwriting import write_index
from toybox import tiny_hands, write_recipe

from augforge.checks import Finding, Options, Report, find_targets, run_checks
from augforge.engine.builder import build
from augforge.files import file_sha256
from augforge.store.dataset import open_dataset
from augforge.store.index import write_stages
from augforge.store.manifest import Manifest, read_manifest, write_manifest
from augforge.store.tables import read_stages

LEVELS = (30, 60, 90, 120, 150, 180)
STEPS = ("{op: hflip, keep_input: true}", "{op: mosaic, grid: [1, 2], keep_input: true}")
_made: dict[str, Path] = {}


class Repository:
    """A folder that is the current one while a test runs."""

    def __init__(self, root: Path) -> None:
        self.root, self.recipe, self.registry = root, root / "recipe.yaml", root / "data_manifest.yaml"
        self.data, self.folder = root / "data", root / "datasets/toy"

    def build(self, register: bool = True) -> str:
        return build("recipe.yaml", register=register).version

    def check(self, place: str | None = None, require_data: bool = False, **options: Any) -> Report:
        targets = find_targets(place, Options(**options))
        return run_checks(targets.subjects, targets.first, require_data)

    def findings(self, place: str | None = None, **options: Any) -> dict[str, Finding]:
        """What is found, by kind."""
        found = self.check(place, **options).findings
        assert len({each.kind for each in found}) == len(found), found
        return {each.kind: each for each in found}

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def policy(self, text: str) -> None:
        (self.root / "policy.yaml").write_text(text, encoding="utf-8")

    def change_index(self, change: Callable[[dict[str, object]], None]) -> None:
        """Change rows of the index, and seal the manifest again, as a faulty build would have done it."""
        dataset = open_dataset(self.folder)
        rows = dataset.index.to_dicts()
        for row in rows:
            change(row)
        write_index(self.folder / dataset.manifest.index_path, rows, dataset.classes)
        self.seal(dataset.manifest)

    def change_stages(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Change the table of samples between stages, likewise."""
        dataset = open_dataset(self.folder)
        write_stages(self.folder / dataset.manifest.stages_path, change(read_stages(dataset)).to_dicts())
        self.seal(dataset.manifest)

    def seal(self, manifest: Manifest) -> None:
        rows = pq.read_table(self.folder / manifest.index_path, columns=["split"])["split"].value_counts().to_pylist()
        entries = [
            each.model_copy(
                update={
                    "bytes": (self.folder / each.path).stat().st_size,
                    "sha256": file_sha256(self.folder / each.path),
                }
            )
            for each in manifest.files
        ]
        changed = {
            "splits": {row["values"]: row["counts"] for row in sorted(rows, key=lambda row: str(row["values"]))},
            "index_sha256": file_sha256(self.folder / manifest.index_path),
            "files": entries,
        }
        write_manifest(self.folder, manifest.model_copy(update=changed))


def make(root: Path) -> Repository:
    made = Repository(root)
    tiny_hands(made.data, LEVELS)
    write_recipe(made.recipe, Path("data"), STEPS, classes="[a, b]", split="{val: [ID002, ID005]}")
    return made


@pytest.fixture(name="repository")
def repository_fixture(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Repository:
    """A copy of a repository whose dataset is built and registered; it is the current folder."""
    if "repository" not in _made:
        _made["repository"] = tmp_path_factory.mktemp("checkable") / "repository"
        monkeypatch.chdir(make(_made["repository"]).root)
        Repository(_made["repository"]).build()
    root = tmp_path / "repository"
    shutil.copytree(_made["repository"], root)
    monkeypatch.chdir(root)
    return Repository(root)


def current(folder: Path) -> str:
    return read_manifest(folder).version

"""The order of writes, syncs and renames: when a manifest has its name, all that it names is on disk for good."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorder import Durability, Operation, before_each_operation
from toybox import MOSAIC, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.files import make_folder, remove_temporary_files, replacing, sync_folder, write_text
from augforge.store.gc import collect
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.verify import verify
from augforge.yamlfile import read_yaml

CLASSES = ["a", "b"]
INDEX_TABLES = (".parquet", ".rejected.parquet", ".stages.parquet", ".ledger.parquet")


class Commits(Durability):
    """Judges what is on disk at the moment a manifest gets its name."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.lost: list[str] = []
        self.commits = 0

    def __call__(self, operation: Operation) -> None:
        if operation.kind == "replace" and operation.target == self.folder / "manifest.yaml":
            self.commits += 1
            self.lost += self.problems(files_of(self.folder, operation.path))
            if self.synced.get(inode_of(operation.path)) is None:
                self.lost.append("the manifest was not synced before it got its name")
        super().__call__(operation)


def inode_of(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


def files_of(folder: Path, path: Path) -> list[Path]:
    """What a manifest names, and its copy in ``versions/``."""
    manifest = Manifest.model_validate(read_yaml(path, ValueError).data)  # type: ignore[arg-type]
    tables = [folder / "index" / (manifest.version + suffix) for suffix in INDEX_TABLES]
    shards = [folder / shard.path for shard in manifest.shards]
    return [*shards, *tables, folder / "versions" / f"{manifest.version}.yaml"]


@pytest.fixture(name="data")
def data_fixture(tmp_path: Path) -> Path:
    return tiny_hands(tmp_path / "data", [40, 80, 120, 160, 200], CLASSES)


def recorded_build(recipe: Path, folder: Path, commits: Commits | None = None) -> Commits:
    """Build; with the record of earlier builds, since their shards are reused."""
    commits = commits or Commits(folder)
    with before_each_operation(commits):
        build(recipe, folder)
    return commits


def recipe_of(tmp_path: Path, data: Path) -> Path:
    return write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")


def test_what_a_manifest_names_is_on_disk_before_it(tmp_path: Path, data: Path) -> None:
    recipe, folder = recipe_of(tmp_path, data), tmp_path / "new" / "folders" / "out"
    commits = recorded_build(recipe, folder)
    edit_json(next(data.rglob("*.json")), move_a_point)
    recorded_build(recipe, folder, commits)
    recorded_build(recipe, folder, commits)
    assert (commits.commits, commits.lost) == (3, [])
    assert verify(folder, pixels=True) == []


def test_after_the_build_the_manifest_itself_is_on_disk(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "out"
    commits = recorded_build(recipe_of(tmp_path, data), folder)
    assert commits.problems([folder / "manifest.yaml", folder / "README.md"]) == []


def test_batches_go_and_the_card_comes_after_the_manifest(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "out"
    commits = recorded_build(recipe_of(tmp_path, data), folder)
    committed = commits.index("replace", "manifest.yaml")
    later = list(enumerate(commits.operations))[committed:]
    durable = min(i for i, op in later if op.kind == "fsync" and op.path == folder)
    batches = (".json", ".bin")
    removed = [i for i, op in enumerate(commits.operations) if op.kind == "unlink" and op.path.suffix in batches]
    assert removed and min(removed) > durable
    assert commits.index("replace", "README.md") > durable


def test_work_area_is_not_synced(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "out"
    commits = recorded_build(recipe_of(tmp_path, data), folder)
    work = folder / "work"
    assert not [op for op in commits.operations if op.kind == "fsync" and work in op.path.parents]


def test_a_card_that_a_killed_build_left_is_written_again(tmp_path: Path, data: Path) -> None:
    folder, recipe = tmp_path / "out", recipe_of(tmp_path, data)
    build(recipe, folder)
    for repair in (lambda: build(recipe, folder), lambda: collect(folder)):
        (folder / "README.md").write_text("lists shards of an older version")
        repair()
        assert read_manifest(folder).version in (folder / "README.md").read_text()


@pytest.mark.parametrize("durable", [False, True])
def test_the_judge_sees_what_is_missing(tmp_path: Path, durable: bool) -> None:
    """Without this the tests above might be green because the recorder is blind."""
    judge, path = Durability(), tmp_path / "made" / "file"
    with before_each_operation(judge):
        with replacing(path, durable) as temporary:
            temporary.write_text("content")
        missing = judge.problems([path])
        sync_folder(path.parent)
    assert len(missing) == (1 if durable else 2)
    assert len(judge.problems([path])) == (0 if durable else 1)
    path.write_text("changed later")
    assert len(judge.problems([path])) == 1


def test_write_text_is_durable_and_folders_too(tmp_path: Path) -> None:
    judge = Durability()
    with before_each_operation(judge):
        write_text(tmp_path / "a/b/c/file", "content")
        make_folder(tmp_path / "d/e")
    assert judge.problems([tmp_path / "a/b/c/file"]) == [] and judge.unsynced_names == {}


def test_temporary_files_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "folder.tmp").mkdir()
    for name in (".mine.tmp", "notes.tmp", ".config", "a"):
        (tmp_path / name).write_text("kept")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        left = temporary.rename(temporary.with_name(temporary.name.replace(".a.", ".b.")))
        raise KeyboardInterrupt
    remove_temporary_files(tmp_path, "b.*")
    assert not left.exists() and (tmp_path / ".mine.tmp").exists()
    remove_temporary_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"folder.tmp", "notes.tmp", ".config", "a"}

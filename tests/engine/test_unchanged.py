"""A build of what was built last says the same without a listing; whatever might differ is listed and planned again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from toybox import MOSAIC, edit_json, move_a_point, write_recipe

from augforge.cache import lookout
from augforge.engine import builder, unchanged
from augforge.engine.builder import build
from augforge.engine.opening import open_recipe
from augforge.engine.publish import write_version
from augforge.errors import AugforgeError
from augforge.phantom import write_phantom
from augforge.store.contents import LAST_BUILD
from augforge.store.gc import collect
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify


@pytest.fixture
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file had been there for years: tests make theirs in the second before they are built."""
    monkeypatch.setattr(lookout, "RACY_NS", -(10**18))


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one for each build that lists its source."""
    seen: list[Any] = []

    def opening(*arguments: Any, **options: Any) -> Any:
        seen.append(arguments)
        return open_recipe(*arguments, **options)

    monkeypatch.setattr(builder, "open_recipe", opening)
    return seen


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("unchanged")
    write_phantom(root / "data", persons=3, size=64, seed=7)
    return root


@pytest.fixture
def place(base: Path, tmp_path: Path, old_files: None) -> Path:
    """A folder with data, a recipe and the dataset, built, of which the next build knows that nothing changed."""
    shutil.copytree(base / "data", tmp_path / "data")
    write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", MOSAIC)
    build(tmp_path / "recipe.yaml", tmp_path / "out")
    return tmp_path


def again(place: Path, **options: Any) -> dict[str, Any]:
    """What another build says, but for its time."""
    return {**asdict(build(place / "recipe.yaml", place / "out", **options)), "seconds": 0}


def test_the_same_build_says_the_same_and_lists_nothing(place: Path, planned: list[Any]) -> None:
    before = {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()}
    quick = again(place)
    assert not planned
    changed = [path.name for path, data in before.items() if path.read_bytes() != data]
    assert changed == ["log.jsonl"]
    (place / "out" / LAST_BUILD).unlink()
    assert again(place) == quick and len(planned) == 1
    assert again(place) == quick and len(planned) == 1
    assert quick["made"] == 0 and quick["reused"] == quick["samples"] > 0 and quick["unchanged"] is True
    lines = [json.loads(line) for line in (place / "out/log.jsonl").read_text().splitlines()]
    assert [line["made"] for line in lines] == [quick["samples"], 0, 0, 0]


def an_image(place: Path) -> Path:
    return min((place / "data").rglob("*.png"))


def replace_image_with_its_old_times(place: Path) -> None:
    """Same size, same time of change: only inode and the time of the entry tell."""
    path, other = an_image(place), max((place / "data").rglob("*.png"))
    stamp, size = path.stat(), path.stat().st_size
    data = bytearray(other.read_bytes())
    path.unlink()
    path.write_bytes(bytes(data[:size].ljust(size, b"\0")))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def damage_table(place: Path) -> None:
    path = place / "out" / read_manifest(place / "out").ledger_path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_shard_and_verify(place: Path) -> None:
    """Damage that no time shows; `verify` finds it, and from then on no build believes the shard."""
    path = min((place / "out/shards").iterdir())
    stamp, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as stream:
        stream.write(data)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert verify(place / "out")


def touch_note(place: Path) -> None:
    path = place / "out" / LAST_BUILD
    path.write_text(path.read_text().replace('"made": 0', '"made": 9').replace('"reused": ', '"reused": 1'))


CHANGES: dict[str, Callable[[Path], Any]] = {
    "an annotation": lambda place: edit_json(min((place / "data").rglob("*.json")), move_a_point),
    "an image with its old times": replace_image_with_its_old_times,
    "a file more": lambda place: (place / "data/notes.txt").write_text("x"),
    "a file less": lambda place: an_image(place).unlink(),
    "an empty folder more": lambda place: (place / "data/new").mkdir(),
    "the recipe": lambda place: write_recipe(place / "recipe.yaml", place / "data", MOSAIC, seed=22),
    "the card": lambda place: (place / "out/README.md").write_text("mine"),
    "the manifest's copy": lambda place: shutil.rmtree(place / "out/versions"),
    "a table": damage_table,
    "a shard less": lambda place: min((place / "out/shards").iterdir()).unlink(),
    "a shard that verify refutes": damage_shard_and_verify,
    "the work area": lambda place: shutil.rmtree(place / "out/work"),
    "the note": touch_note,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changed_is_planned(change: Callable[[Path], Any], place: Path, planned: list[Any]) -> None:
    again(place)
    assert not planned
    change(place)
    with suppress(AugforgeError):  # a damaged image is an error, which only a listing raises
        again(place)
    assert len(planned) == 1


@pytest.mark.parametrize("option", [{"rehash": True}, {"reuse": False}, {"strict": True}, {"overrides": ["seed=5"]}])
def test_what_the_command_line_asks_for_is_planned(option: dict[str, Any], place: Path, planned: list[Any]) -> None:
    with suppress(AugforgeError):  # strict may stop the build
        again(place, **option)
    assert len(planned) == 1


def test_other_libraries_or_code_are_planned(place: Path, planned: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(unchanged, "library_versions", lambda: {"numpy": "9"})
        again(place)
    assert len(planned) == 1
    again(place)  # the note is of the other libraries
    assert len(planned) == 2
    monkeypatch.setattr(unchanged, "_code_state", lambda: "edited")
    again(place)
    assert len(planned) == 3


def test_young_files_are_listed_again(base: Path, tmp_path: Path, planned: list[Any]) -> None:
    """A file may change twice within the same tick of its file system's clock, and be of the same size."""
    shutil.copytree(base / "data", tmp_path / "data")
    write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", MOSAIC)
    build(tmp_path / "recipe.yaml", tmp_path / "out")
    assert not (tmp_path / "out" / LAST_BUILD).exists()
    again(tmp_path)
    assert len(planned) == 2


def test_a_file_that_goes_while_it_is_built_is_not_believed_to_have_gone_before(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_image(finished: Any, written: Any) -> Any:
        path = an_image(place)
        path.unlink()
        os.utime(path.parent, ns=(later, later))
        return write_version(finished, written)

    later = 4 * 10**18  # in 2096, since for these tests even this year is long ago
    monkeypatch.setattr(builder, "write_version", lose_image)
    again(place, rehash=True)
    assert not (place / "out" / LAST_BUILD).exists()


def test_a_link_to_a_folder_or_a_file_elsewhere_is_listed_again(place: Path, planned: list[Any]) -> None:
    (place / "data/more").symlink_to(place / "out", target_is_directory=True)
    again(place)
    again(place)
    assert len(planned) == 2
    (place / "data/more").unlink()
    (place / "table.csv").write_text("ID,age\nID001,30\n")
    recipe = (place / "recipe.yaml").read_text()
    (place / "recipe.yaml").write_text(recipe.replace("{format:", "{metadata: ../table.csv, format:"))
    again(place)
    again(place)
    assert len(planned) == 4


def test_the_state_of_a_folder_follows_links_to_files(tmp_path: Path) -> None:
    (tmp_path / "far").write_text("a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/near").symlink_to(tmp_path / "far")
    first = lookout.folder_state(tmp_path / "data")
    assert first == lookout.folder_state(tmp_path / "data") and first is not None
    (tmp_path / "far").write_text("ab")
    assert lookout.folder_state(tmp_path / "data") != first
    (tmp_path / "far").unlink()
    assert lookout.folder_state(tmp_path / "data") is None
    assert not first.is_settled(first.changed_ns + lookout.RACY_NS) and first.is_settled(first.changed_ns * 2)


def test_gc_takes_the_note_for_its_own(place: Path) -> None:
    assert collect(place / "out", now=True)["foreign"] == []
    assert not (place / "out" / LAST_BUILD).exists()

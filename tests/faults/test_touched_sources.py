"""A source file that is touched during a build costs the samples rooted in it, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from toybox import MOSAIC, annotation, edit_json, move_a_point, roots, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.errors import SourceError
from augforge.sources import SOURCES
from augforge.store.codec import Encoding
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify

LEVELS = [40, 60, 80, 100, 120, 140, 160, 180, 200, 220]
NAMES = [f"ID{number:03d}/image{number:013d}" for number in range(1, len(LEVELS) + 1)]


@pytest.fixture(name="data")
def data_fixture(tmp_path: Path) -> Path:
    return tiny_hands(tmp_path / "data", LEVELS, ["a", "b"])


@pytest.fixture(name="encoded")
def encoded_fixture(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry per sample that is encoded."""
    seen: list[str] = []
    encode = Encoding.encode

    def encode_and_count(self: Encoding, image: Any) -> bytes:
        seen.append("")
        return encode(self, image)

    monkeypatch.setattr(Encoding, "encode", encode_and_count)
    return seen


def touch_during(monkeypatch: pytest.MonkeyPatch, path: Path, before: str) -> None:
    """Edit an annotation just before a sample is loaded, once."""
    source = SOURCES["hand-bone"]
    load, done = source.load, [False]

    def loading(self: Any, record: Any, classes: tuple[str, ...]) -> Any:
        if record.name == before and not done[0]:
            done[0] = True
            edit_json(path, move_a_point)
        return load(self, record, classes)

    monkeypatch.setattr(source, "load", loading)


@pytest.mark.parametrize("before", [NAMES[2], NAMES[5], NAMES[9]], ids=["early", "itself", "late"])
def test_only_samples_rooted_in_it_are_made_again(
    tmp_path: Path, data: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", data, ["{op: hflip, keep_input: true}"], classes="[a, b]")
    touched = NAMES[5]
    with monkeypatch.context() as patch:
        touch_during(patch, annotation(data, touched), before)
        with pytest.raises(SourceError, match=rf"{touched}.json: changed while the build ran. What was .* is kept"):
            build(recipe, tmp_path / "out")
    first = len(encoded)
    version = build(recipe, tmp_path / "out").version
    again = len(encoded) - first
    rooted = sum(touched in found for found in roots(tmp_path / "out").values())
    assert rooted == 2
    of_val = 0 if before == NAMES[-1] else 1  # its turn is after all others, so a task that failed came before
    assert again == rooted + of_val
    assert version == build(recipe, tmp_path / "fresh").version and verify(tmp_path / "out", pixels=True) == []


def test_mosaics_that_show_it_are_made_again(
    tmp_path: Path, data: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")
    build(recipe, tmp_path / "whole")
    all_of_them = len(encoded)
    with monkeypatch.context() as patch:
        touch_during(patch, annotation(data, NAMES[5]), NAMES[5])
        with pytest.raises(SourceError, match="changed while the build ran"):
            build(recipe, tmp_path / "out")
    encoded.clear()
    version = build(recipe, tmp_path / "out").version
    assert len(encoded) == all_of_them - 8  # the flips of the other images of `train`; no mosaic had been made
    assert version == build(recipe, tmp_path / "fresh").version


def test_what_was_read_while_it_was_another_is_never_kept(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is restored later, time and all, so that the listing that follows cannot tell."""
    recipe = write_recipe(tmp_path / "recipe.yaml", data, ["{op: hflip, keep_input: true}"], classes="[a, b]")
    expected = build(recipe, tmp_path / "fresh").version
    path = annotation(data, NAMES[5])
    content, status = path.read_bytes(), path.stat()
    with monkeypatch.context() as patch:
        touch_during(patch, path, NAMES[5])
        with pytest.raises(SourceError, match="changed while the build ran"):
            build(recipe, tmp_path / "out")
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert build(recipe, tmp_path / "out").version == expected
    assert verify(tmp_path / "out", pixels=True) == []
    fresh, out = read_manifest(tmp_path / "fresh"), read_manifest(tmp_path / "out")
    assert fresh.index_sha256 == out.index_sha256


def test_a_source_that_does_not_name_its_files_keeps_only_what_was_there(
    tmp_path: Path, data: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", data, ["{op: hflip, keep_input: true}"], classes="[a, b]")
    monkeypatch.setattr(SOURCES["hand-bone"], "files_of", lambda self, record: None)
    with monkeypatch.context() as patch:
        touch_during(patch, annotation(data, NAMES[5]), NAMES[5])
        with pytest.raises(SourceError, match="Nothing new was kept; build again"):
            build(recipe, tmp_path / "out")
    encoded.clear()
    version = build(recipe, tmp_path / "out").version
    assert len(encoded) == 2 * len(LEVELS) - 1  # that of `val` is not flipped
    assert version == build(recipe, tmp_path / "fresh").version

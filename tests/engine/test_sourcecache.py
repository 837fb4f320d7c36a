"""Source samples are read once where several tasks need them, within a ceiling, and give the same bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_sample
from toybox import shas, tiny_hands, write_recipe

from augforge.engine import worker
from augforge.engine.builder import build
from augforge.engine.jobs import WorkerContext
from augforge.engine.sourcecache import SourceCache
from augforge.sample import Sample
from augforge.sources import Record


class Reader:
    """Counts what it reads."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def get(self, cache: SourceCache, name: str, ceiling: int, *, keep: bool = True) -> Sample:
        def load() -> Sample:
            self.read.append(name)
            return replace(make_sample(10, 10), name=name)

        return cache.get(name, load, ceiling, keep=keep)


SIZE = make_sample(10, 10).image.nbytes + make_sample(10, 10).masks.nbytes


def test_what_is_kept_is_not_read_again() -> None:
    reader, cache = Reader(), SourceCache()
    first = reader.get(cache, "a", 2 * SIZE)
    assert reader.get(cache, "a", 2 * SIZE) is first
    assert reader.read == ["a"]


def test_what_two_threads_read_at_once_is_kept_and_counted_once() -> None:
    reader, cache = Reader(), SourceCache()

    def load() -> Sample:
        reader.get(cache, "a", 2 * SIZE)  # as if by another thread meanwhile
        return replace(make_sample(10, 10), name="a")

    cache.get("a", load, 2 * SIZE, keep=True)
    for name in "bab":
        reader.get(cache, name, 2 * SIZE)
    reader.get(cache, "c", 0, keep=False)  # nothing is left, and nothing is missed
    assert reader.read == ["a", "b", "c"]


def test_the_least_recently_used_makes_room() -> None:
    reader, cache = Reader(), SourceCache()
    for name in "abacab":
        reader.get(cache, name, 2 * SIZE)
    assert reader.read == ["a", "b", "c", "b"]  # c took b's place, since a was used after b


def test_what_is_larger_than_the_ceiling_is_not_kept() -> None:
    reader, cache = Reader(), SourceCache()
    for name in "aa":
        reader.get(cache, name, SIZE - 1)
    assert reader.read == ["a", "a"]


def test_a_lower_ceiling_makes_room_at_once() -> None:
    reader, cache = Reader(), SourceCache()
    for name in "abc":
        reader.get(cache, name, 3 * SIZE)
    reader.get(cache, "d", 0, keep=False)
    for name in "abc":
        reader.get(cache, name, 3 * SIZE)
    assert reader.read == [*"abcd", *"abc"]


def test_whoever_needs_it_alone_takes_it_out() -> None:
    reader, cache = Reader(), SourceCache()
    for keep in (True, False, False):
        reader.get(cache, "a", 2 * SIZE, keep=keep)
    assert reader.read == ["a", "a"]


def test_a_kept_sample_cannot_be_changed() -> None:
    reader, cache = Reader(), SourceCache()
    sample = reader.get(cache, "a", 2 * SIZE)
    for pixels in (sample.image, sample.masks):
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0] = 1


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each source sample is read, by its name; nothing is kept from earlier builds."""
    counted: Counter[str] = Counter()
    load = worker._load_source_sample

    def counting(context: WorkerContext, record: Record, name: str) -> Sample:
        counted[name] += 1
        return load(context, record, name)

    monkeypatch.setattr(worker, "_load_source_sample", counting)
    monkeypatch.setattr(worker, "_CACHE", SourceCache())
    return counted


def tiled(folder: Path, data: Path) -> Path:
    """A recipe of mosaics beside their originals, all in one split."""
    steps = ["{op: mosaic, keep_input: true}"]
    return write_recipe(folder / "recipe.yaml", data, steps, classes="[a, b]", split="{}")


def test_a_mosaic_reads_each_picture_once(tmp_path: Path, loads: Counter[str]) -> None:
    recipe = write_recipe(
        tmp_path / "recipe.yaml",
        tiny_hands(tmp_path / "data", range(20, 220, 20)),
        ["{op: mosaic, keep_input: true}"],
        classes="[a, b]",
        split="{}",
    )
    build(recipe, tmp_path / "kept")
    assert loads and set(loads.values()) == {1}
    loads.clear()
    build(recipe, tmp_path / "read", cache_mb=0)
    assert max(loads.values()) > 3
    assert shas(tmp_path / "kept") == shas(tmp_path / "read")


def test_a_picture_that_changes_after_it_was_kept_is_noticed(tmp_path: Path, loads: Counter[str]) -> None:
    """The next build lists the changed file, whose sample has another id."""
    data = tiny_hands(tmp_path / "data", range(20, 220, 20))
    recipe = write_recipe(
        tmp_path / "recipe.yaml", data, ["{op: mosaic, keep_input: true}"], classes="[a, b]", split="{}"
    )
    build(recipe, tmp_path / "first")
    picture = sorted((data / "train/DCM").rglob("*.png"))[0]
    other = sorted((data / "train/DCM").rglob("*.png"))[1]
    picture.write_bytes(other.read_bytes())
    build(recipe, tmp_path / "second")
    assert shas(tmp_path / "first") != shas(tmp_path / "second")
    build(recipe, tmp_path / "third", cache_mb=0)
    assert shas(tmp_path / "second") == shas(tmp_path / "third")

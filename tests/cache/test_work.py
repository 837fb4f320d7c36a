"""The work area: a batch is there whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from augforge.cache.work import Batch, BatchWriter, Payload, payload_digest, read_batches, remove_batch, sweep
from augforge.errors import DatasetError

LIBRARIES = {"numpy": "2"}


def write(folder: Path) -> Batch:
    with BatchWriter(folder, LIBRARIES) as writer:
        writer.add("id-1", "png", b"image one", b"masks one")
        writer.add("id-2", "jpeg-95", b"", b"m")
        writer.batch.entries.append(("task", "key", {"outputs": ["id-1"]}))
    return writer.batch


def files(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def test_round_trip(tmp_path: Path) -> None:
    batch = write(tmp_path / "work")
    (read,) = read_batches(tmp_path / "work", LIBRARIES)
    assert read == batch
    assert read.payloads["id-1", "png"].read() == (b"image one", b"masks one")
    assert read.payloads["id-2", "jpeg-95"].read() == (b"", b"m")


def test_batches_can_be_read_after_moving_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "work")
    (tmp_path / "work").rename(tmp_path / "moved")
    (read,) = read_batches(tmp_path / "moved", LIBRARIES)
    assert read.payloads["id-1", "png"].read() == (b"image one", b"masks one")


def test_batches_of_other_libraries_are_ignored(tmp_path: Path) -> None:
    write(tmp_path)
    assert list(read_batches(tmp_path, {"numpy": "3"})) == []


def test_a_failed_batch_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), BatchWriter(tmp_path, LIBRARIES) as writer:
        writer.add("id-1", "png", b"image", b"masks")
        raise KeyboardInterrupt
    assert files(tmp_path) == {".bin"}
    assert list(read_batches(tmp_path, LIBRARIES)) == []
    assert files(tmp_path) == {".bin"}  # reading removes nothing: another build may be writing it
    sweep(tmp_path)
    assert files(tmp_path) == set()


def test_sweep_keeps_finished_batches(tmp_path: Path) -> None:
    batch = write(tmp_path)
    sweep(tmp_path)
    assert list(read_batches(tmp_path, LIBRARIES)) == [batch]
    sweep(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["cut", "gone", "half json", "no json", "other json"])
def test_a_damaged_batch_is_ignored(tmp_path: Path, damage: str) -> None:
    whole = write(tmp_path)
    (data,) = tmp_path.glob("*.bin")
    text = data.with_suffix(".json")
    damages: dict[str, Callable[[], object]] = {
        "cut": lambda: data.write_bytes(data.read_bytes()[:-1]),
        "gone": data.unlink,
        "half json": lambda: text.write_text(text.read_text()[:-20]),
        "no json": lambda: text.write_bytes(b"\xff\xfe"),
        "other json": lambda: text.write_text("[]"),
    }
    damages[damage]()
    other = write(tmp_path)
    assert list(read_batches(tmp_path, LIBRARIES)) == [other]
    assert whole != other


def test_remove_batch(tmp_path: Path) -> None:
    remove_batch(write(tmp_path))
    assert files(tmp_path) == set()


def test_payload_past_the_end_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    assert Payload(str(tmp_path / "f"), 1, 2, 3, 2).read() == (b"23", b"45")
    with pytest.raises(DatasetError, match="ends at byte 5, expected 6"):
        Payload(str(tmp_path / "f"), 0, 2, 3, 3).read()


def test_payload_digest_separates_image_and_masks() -> None:
    assert len({payload_digest(b"ab", b"c"), payload_digest(b"a", b"bc"), payload_digest(b"c", b"ab")}) == 3

"""`output.image: keep`: what no step changed stays in its own file, as long as that is the very same picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augforge.engine.builder import build
from augforge.engine.replay import replay_sample
from augforge.store.codec import decode_image
from augforge.store.dataset import open_dataset
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify

NAME = b"Erika Mustermann"


def put_photo(path: Path, shade: int, orientation: int = 1) -> bytes:
    y, x = np.mgrid[:60, :80]
    pixels = np.stack([x + shade, y + shade, (x + y) % 256], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = orientation, NAME.decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=92, exif=exif)
    return path.read_bytes()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Photos of two labels: one of them turned, and a PNG."""
    root = tmp_path / "data"
    for number in range(4):
        put_photo(root / f"{'cat' if number % 2 else 'dog'}/p{number}.jpg", 20 * number)
    put_photo(root / "cat/turned.jpg", 90, orientation=6)
    Image.fromarray(np.full((60, 80), 7, np.uint8)).save(root / "dog/flat.png")
    return root


def recipe(root: Path, data: Path, image: str, steps: str = "[{op: hflip, keep_input: true}]") -> Path:
    path = root / f"{image}.yaml"
    path.write_text(
        f"name: pets\nsource: {{format: image-folder, path: '{data}'}}\nsteps: {steps}\noutput: {{image: {image}}}\n",
        encoding="utf-8",
    )
    return path


def images(folder: Path) -> dict[str, bytes]:
    opened = open_dataset(folder)
    return {name: bytes(opened.payload(i)[0]) for i, name in enumerate(opened.index["name"])}


def pixels(folder: Path) -> dict[str, str]:
    index = open_dataset(folder).index
    return dict(zip(index["name"], index["pixel_digest"], strict=True))


def test_photos_that_nothing_changed_stay_jpegs_without_metadata(tmp_path: Path, data: Path) -> None:
    build(recipe(tmp_path, data, "keep"), tmp_path / "keep")
    found = images(tmp_path / "keep")
    kept = {name for name, image in found.items() if image.startswith(b"\xff\xd8")}
    assert kept == {"dog/p0", "cat/p1", "dog/p2", "cat/p3"}
    for name in kept:
        before = (data / f"{name}.jpg").read_bytes()
        assert NAME in before and NAME not in found[name]
        np.testing.assert_array_equal(decode_image(found[name]), decode_image(before))
    assert NAME not in b"".join(found.values())
    assert verify(tmp_path / "keep", pixels=True) == []


def test_pixels_are_those_of_pngs(tmp_path: Path, data: Path) -> None:
    for image in ("keep", "png"):
        build(recipe(tmp_path, data, image), tmp_path / image)
    assert pixels(tmp_path / "keep") == pixels(tmp_path / "png")
    assert all(image.startswith(b"\x89PNG") for image in images(tmp_path / "png").values())
    sizes = [sum(map(len, images(tmp_path / image).values())) for image in ("keep", "png")]
    assert sizes[0] < sizes[1]


def test_bytes_are_the_same_for_any_number_of_jobs(tmp_path: Path, data: Path) -> None:
    for number in range(4, 20):
        put_photo(data / f"dog/p{number}.jpg", 5 * number)
    path = recipe(tmp_path, data, "keep")
    versions = {build(path, tmp_path / f"jobs{jobs}", jobs=jobs).version for jobs in (1, 2)}
    assert len(versions) == 1


def test_a_filter_that_looks_at_samples_first_keeps_files_too(tmp_path: Path, data: Path) -> None:
    build(recipe(tmp_path, data, "keep", "[{op: intensity, action: tag}]"), tmp_path / "keep")
    assert sum(image.startswith(b"\xff\xd8") for image in images(tmp_path / "keep").values()) == 4


def test_a_sample_is_made_again_to_the_same_bytes(tmp_path: Path, data: Path) -> None:
    build(recipe(tmp_path, data, "keep"), tmp_path / "keep")
    found = replay_sample(open_dataset(tmp_path / "keep"), "cat/p1")
    assert (found.verdict, found.bytes_equal) == ("equal", True)


def test_shards_name_no_kind_of_file(tmp_path: Path, data: Path) -> None:
    """A suffix would be wrong for some; and what a shard is called inside must not depend on what was kept."""
    import pyarrow.parquet as pq

    build(recipe(tmp_path, data, "keep"), tmp_path / "keep")
    (shard, *_) = read_manifest(tmp_path / "keep").shards
    rows = pq.read_table(tmp_path / "keep" / shard.path).to_pylist()
    assert {row["image"]["path"] for row in rows} <= {*pixels(tmp_path / "keep")}
    for row in rows:
        with Image.open(io.BytesIO(row["image"]["bytes"])) as seen:
            assert seen.size == (row["width"], row["height"])

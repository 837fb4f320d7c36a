"""BMP, WebP and TIFF: exact where they can be, refused with the conversion where not, never read when damaged."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makedata import size_of
from PIL import Image

from augforge.errors import SourceError
from augforge.sources.scan import headers, images

RNG = np.random.default_rng(5)
GRAY = RNG.integers(0, 256, (8, 9), dtype=np.uint8)
RGB = RNG.integers(0, 256, (8, 9, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (8, 9, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (8, 9, 3), dtype=np.uint16)


def encoded(array: Any, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(out, kind, **options)
    return out.getvalue()


def tiff(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def read(folder: Path, data: bytes) -> Any:
    (folder / "a.png").write_bytes(data)  # the content counts, not the name
    image = images.read_image(folder / "a.png")
    assert size_of(folder / "a.png") == (image.shape[1], image.shape[0])
    assert image.flags.c_contiguous
    return image


def refused(folder: Path, data: bytes, *parts: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(folder, data)
    for part in (str(folder / "a.png"), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GRAY, GRAY),
        (RGB, RGB),
        (Image.fromarray(GRAY > 99), (GRAY > 99).astype(np.uint8) * 255),
        (Image.fromarray(RGB).quantize(16), np.array(Image.fromarray(RGB).quantize(16).convert("RGB"))),
    ],
    ids=["gray", "rgb", "one-bit", "palette"],
)
def test_bmp(tmp_path: Path, array: Any, expected: Any) -> None:
    np.testing.assert_array_equal(read(tmp_path, encoded(array, "BMP")), expected)


def test_bmp_that_is_cut_or_odd(tmp_path: Path) -> None:
    data = encoded(RGB, "BMP")
    refused(tmp_path, data[:30], "inside its header")
    refused(tmp_path, data[:-1], "is damaged", "9x8")
    refused(tmp_path, encoded(RGBA, "BMP"), "BMP of 32 bits", "convert it to PNG")
    refused(tmp_path, data[:18] + struct.pack("<i", -9) + data[22:], "is damaged")


@pytest.mark.parametrize("array", [RGB, RGBA], ids=["rgb", "rgba"])
def test_webp_lossless(tmp_path: Path, array: Any) -> None:
    np.testing.assert_array_equal(read(tmp_path, encoded(array, "WEBP", lossless=True, exact=True)), array)


def test_webp_lossy(tmp_path: Path) -> None:
    flat = np.full((20, 30, 3), (200, 100, 0), np.uint8)
    assert np.abs(read(tmp_path, encoded(flat, "WEBP", quality=100)).astype(int) - flat).max() <= 4
    assert read(tmp_path, encoded(np.dstack([flat, flat[..., :1]]), "WEBP")).shape == (20, 30, 4)


def test_webp_turned_by_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read(tmp_path, encoded(RGB, "WEBP", lossless=True, exif=exif))
    np.testing.assert_array_equal(image, np.rot90(RGB, -1))


def test_webp_that_is_cut_or_moves(tmp_path: Path) -> None:
    data = encoded(RGB, "WEBP", lossless=True)
    refused(tmp_path, data[:40], "inside a chunk")
    refused(tmp_path, data[:4] + b"\4\0\0\0WEBP", "has no pixels")
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    refused(tmp_path, encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "animated WebP", "frames")


@pytest.mark.parametrize(
    "array", [GRAY, RGB, RGBA, DEEP, DEEP[..., 0]], ids=["gray", "rgb", "rgba", "48-bit", "16-bit"]
)
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}])
def test_tiff(tmp_path: Path, array: Any, options: dict[str, Any]) -> None:
    photometric = "rgb" if array.ndim == 3 else "minisblack"
    np.testing.assert_array_equal(read(tmp_path, tiff(array, photometric=photometric, **options)), array)


def test_tiff_by_planes_by_lzw_and_turned(tmp_path: Path) -> None:
    planes = tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read(tmp_path, planes), RGB)
    np.testing.assert_array_equal(read(tmp_path, encoded(RGB, "TIFF", compression="tiff_lzw")), RGB)
    turned = tiff(GRAY, extratags=[(274, "H", 1, 6, True)])
    np.testing.assert_array_equal(read(tmp_path, turned), np.rot90(GRAY, -1))


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (tiff(GRAY.astype(np.float32)), "32 bits, float32"),
        (tiff(GRAY.astype(np.int16)), "16 bits, int16"),
        (tiff(GRAY, photometric="miniswhite"), "MINISWHITE"),
        (encoded(Image.fromarray(RGB).quantize(16), "TIFF"), "PALETTE"),
        (tiff(np.stack([GRAY, GRAY]), photometric="minisblack"), "2 pages"),
        (encoded(RGB, "TIFF", compression="jpeg"), "compressed by"),
        (encoded(GRAY > 99, "TIFF"), "1 bits"),
        (tiff(GRAY)[:-10], "before its pixels do"),
        (b"II*\0\x08\0\0\0", "is a TIFF of 0 pages"),
        (b"II*\0", "is damaged"),
    ],
)
def test_tiff_refused(tmp_path: Path, data: bytes, part: str) -> None:
    refused(tmp_path, data, part)


def test_tiff_bomb_is_refused_undecoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "tiff_pixels", lambda *_: pytest.fail("decoded"))
    rows = next(bytes([1, 1]) + struct.pack("<H", kind) for kind in (3, 4) if bytes([1, 1, kind, 0]) in tiff(GRAY))
    at = tiff(GRAY).index(rows)
    refused(tmp_path, tiff(GRAY)[: at + 2] + struct.pack("<HII", 4, 1, 1 << 30) + tiff(GRAY)[at + 12 :], "at most")


SEEDS = [
    encoded(RGB, "BMP"),
    encoded(RGB, "WEBP", lossless=True),
    encoded(RGB, "WEBP"),
    tiff(GRAY),
    tiff(DEEP, photometric="rgb", compression="zlib"),
    encoded(RGB, "TIFF", compression="tiff_lzw"),
    encoded(RGB, "PNG"),
    encoded(RGB, "JPEG"),
]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4), st.data())
@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_bytes_are_read_or_refused_by_name(
    tmp_path: Path, seed: bytes, changes: list[tuple[int, int]], more: st.DataObject
) -> None:
    data = bytearray(seed[: more.draw(st.integers(1, len(seed)))])
    for at, value in changes:
        data[at % len(data)] = value
    try:
        read(tmp_path, bytes(data))
    except SourceError as error:
        assert str(tmp_path / "a.png") in str(error)


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}])
def test_a_tiff_that_unpacks_to_more_than_its_header_tells(tmp_path: Path, options: dict[str, Any]) -> None:
    noise = RNG.integers(0, 256, (32, 32), dtype=np.uint8)
    whole = tiff(noise, compression="zlib", photometric="minisblack", **options)
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        start, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    small, most = zlib.compress(bytes(1 << 16), 9), noise.size
    assert len(small) <= count  # so that it fits in the place of the sound one
    data = whole[:start] + small.ljust(count, b"\0") + whole[start + count :]
    with pytest.raises(SourceError, match=f"unpack to more than the {most} bytes"):
        read(tmp_path, data)


def test_a_tile_that_claims_to_be_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not what bounds the pixels."""
    monkeypatch.setattr(headers, "_TIFF_TILE", 100)
    page = SimpleNamespace(compression=8, is_tiled=True, chunks=(1 << 20, 1 << 20), nbytes=50, dtype=np.dtype(np.uint8))
    headers.check_inflated(page, [zlib.compress(bytes(100))], Path("a.tif"))
    with pytest.raises(SourceError, match="unpack to more than the 100 bytes"):
        headers.check_inflated(page, [zlib.compress(bytes(101))], Path("a.tif"))

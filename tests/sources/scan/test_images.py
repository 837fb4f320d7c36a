"""Reading images: what comes out for each kind, and that nothing damaged does."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makedata import chunk, png, size_of
from PIL import Image, ImageOps

from augforge.errors import SourceError
from augforge.sources.scan import headers, images
from augforge.store.png import PNG_MAGIC

RNG = np.random.default_rng(5)
GRAY = RNG.integers(0, 256, (8, 9), dtype=np.uint8)
RGB = RNG.integers(0, 256, (8, 9, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (8, 9, 4), dtype=np.uint8)


def encoded(array: Any, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(out, kind, **options)
    return out.getvalue()


def written(folder: Path, data: bytes, name: str = "a.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("array", [GRAY, RGB, RGBA, GRAY > 128], ids=["gray", "rgb", "rgba", "one-bit"])
def test_png_of_8_bits(tmp_path: Path, array: np.ndarray) -> None:
    expected = array.astype(np.uint8) * 255 if array.dtype == bool else array
    image = images.read_image(written(tmp_path, encoded(array)))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_of_16_bits_stays_so(tmp_path: Path, channels: int) -> None:
    array = RNG.integers(0, 65536, (8, 9, channels), dtype=np.uint16)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    image = images.read_image(written(tmp_path, png(9, 8, 16, {1: 0, 3: 2, 4: 6}[channels], raw)))
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, array[..., 0] if channels == 1 else array)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_gray_levels_are_spread(tmp_path: Path, bits: int) -> None:
    raw = b"\0" + bytes([0b11000000 if bits < 4 else 0xF0])
    image = images.read_image(written(tmp_path, png(2, 1, bits, 0, raw)))
    assert image[0].tolist() == ([255, 255] if bits == 1 else [255, 0])


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB).quantize(16)
    image = images.read_image(written(tmp_path, encoded(picture)))
    np.testing.assert_array_equal(image, np.array(picture.convert("RGB")))


@pytest.mark.parametrize("kind", ["palette", "rgb", "gray-alpha"])
def test_transparency_becomes_rgba(tmp_path: Path, kind: str) -> None:
    data = {
        "palette": lambda: encoded(Image.fromarray(RGB).quantize(16), transparency=bytes([0, 128, 255] + [200] * 13)),
        "rgb": lambda: encoded(RGB, transparency=tuple(map(int, RGB[0, 0]))),
        "gray-alpha": lambda: encoded(np.ascontiguousarray(RGBA[..., :2])),
    }[kind]()
    image = images.read_image(written(tmp_path, data))
    np.testing.assert_array_equal(image, np.array(Image.open(io.BytesIO(data)).convert("RGBA")))


def test_transparent_gray_level_stays_gray(tmp_path: Path) -> None:
    image = images.read_image(written(tmp_path, encoded(GRAY, transparency=int(GRAY[0, 0]))))
    np.testing.assert_array_equal(image, GRAY)


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
def test_jpeg(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.uint8)
    array[:20] = 200 if len(shape) == 2 else (200, 100, 0)
    image = images.read_image(written(tmp_path, encoded(array, "JPEG", quality=100, subsampling=0), "a.jpg"))
    assert image.shape == shape
    assert np.abs(image.astype(int) - array).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    array = np.zeros((32, 64, 3), np.uint8)
    array[:16, :16], array[16:, 48:] = (255, 0, 0), (0, 0, 255)
    data = encoded(array, kind, exif=exif(orientation))
    path = written(tmp_path, data)
    expected = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    image = images.read_image(path)
    assert size_of(path) == (image.shape[1], image.shape[0]) == expected.shape[1::-1]
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image, expected, atol=6)


def test_orientation_behind_the_pixels_and_16_bits(tmp_path: Path) -> None:
    raw = b"".join(b"\0" + struct.pack(">HH", row, 1000) for row in range(3))
    data = png(2, 3, 16, 0, raw, after=chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0")))
    image = images.read_image(written(tmp_path, data))
    assert image.tolist() == [[2, 1, 0], [1000, 1000, 1000]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\x7f",
        b"II*\0\x08\0\0\0\xff\xff",
        b"nonsense",
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 9, 0),
    ],
)
def test_odd_exif_counts_as_upright(body: bytes) -> None:
    assert headers.exif_orientation(body) == 1


def test_big_endian_exif() -> None:
    assert headers.exif_orientation(b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, 8, 0)) == 8


# ---- damage ----------------------------------------------------------------------------------------------------------


def damaged(folder: Path, data: bytes, match: str, capfd: pytest.CaptureFixture[str] | None = None) -> None:
    path = written(folder, data)
    with pytest.raises(SourceError, match=match) as caught:
        images.read_image(path)
    assert str(path) in str(caught.value)
    if capfd is not None:
        assert capfd.readouterr().err == ""


@pytest.mark.parametrize("keep", [9, 20, 40, 0.3, 0.9, -12, -1])
def test_cut_png(tmp_path: Path, keep: float, capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(RNG.integers(0, 256, (64, 64), dtype=np.uint8))
    damaged(tmp_path, data[: int(keep * len(data)) if isinstance(keep, float) else keep], "damaged", capfd)


@pytest.mark.parametrize("at", range(12, 2000, 211))
def test_one_flipped_bit_in_png(tmp_path: Path, at: int, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(RNG.integers(0, 256, (64, 64), dtype=np.uint8)))
    data[at] ^= 0x10
    damaged(tmp_path, bytes(data), "damaged", capfd)


def test_checksums_are_verified_before_cv2_sees_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(encoded(GRAY))
    data[-14] ^= 1
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    damaged(tmp_path, bytes(data), "checksum")


def test_too_few_rows_behind_good_checksums(tmp_path: Path) -> None:
    damaged(tmp_path, png(4, 4, 8, 0, b"\0abcd" * 2), "cannot be decoded")


@pytest.mark.parametrize(
    "data",
    [
        PNG_MAGIC + chunk(b"IEND", b""),
        PNG_MAGIC + chunk(b"IHDR", b"short") + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        png(0, 4, 8, 0, b""),
        png(4, 4, 8, 5, b"\0abcd" * 4),
    ],
    ids=["no header", "short header", "no width", "colour type"],
)
def test_senseless_png(tmp_path: Path, data: bytes) -> None:
    damaged(tmp_path, data, "damaged")


@pytest.mark.parametrize("keep", [3, 10, 200, 0.5, 0.9, -2])
def test_cut_jpeg(tmp_path: Path, keep: float, capfd: pytest.CaptureFixture[str]) -> None:
    array = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    data = encoded(array, "JPEG")
    damaged(tmp_path, data[: int(keep * len(data)) if isinstance(keep, float) else keep], "damaged", capfd)


def test_end_mark_of_a_thumbnail_does_not_count(tmp_path: Path) -> None:
    thumbnail = b"\xff\xe2" + struct.pack(">H", 8) + b"ab\xff\xd9cd"
    data = encoded(RNG.integers(0, 256, (64, 64), dtype=np.uint8), "JPEG")
    with_it = data[:2] + thumbnail + data[2:]
    images.read_image(written(tmp_path, with_it))
    damaged(tmp_path, with_it[:-200], "end mark")


def test_empty_and_missing_file(tmp_path: Path) -> None:
    damaged(tmp_path, b"", "empty")
    with pytest.raises(SourceError, match="No such file"):
        images.read_image(tmp_path / "missing.png")


@pytest.mark.parametrize("size", [(16385, 16384), (0x7FFFFFFF, 0x7FFFFFFF)])
def test_pixel_bomb_is_refused_undecoded(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    damaged(tmp_path, png(*size, 8, 0, b""), "at most")


def test_large_header_alone_gives_no_warning(tmp_path: Path) -> None:
    assert size_of(written(tmp_path, png(16384, 16384, 8, 0, b""))) == (16384, 16384)


def test_other_kinds_are_refused_by_content(tmp_path: Path) -> None:
    damaged(tmp_path, encoded(GRAY, "GIF"), "is a GIF file.*Convert it to PNG")
    damaged(tmp_path, b"RIFF\0\0\0\0WAVEfmt ", "of an unknown kind")


def test_cmyk_is_refused(tmp_path: Path) -> None:
    damaged(tmp_path, encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "4 channels.*Convert it to PNG")


def test_what_cv2_decodes_must_be_what_the_header_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: RGB)
    damaged(tmp_path, encoded(GRAY), "header says")


def test_cv2_error_names_the_file(tmp_path: Path) -> None:
    damaged(tmp_path, png((1 << 20) + 1, 1, 8, 0, b""), "cannot be decoded")


def test_facts(tmp_path: Path) -> None:
    data = encoded(GRAY)
    facts = images.image_facts(written(tmp_path, data))
    assert facts == {"width": 9, "height": 8, "bytes": len(data), "sha256": facts["sha256"]}
    assert len(facts["sha256"]) == 64

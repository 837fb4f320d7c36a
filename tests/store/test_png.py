"""PNGs as augforge writes and reads them: ordinary files, by the words of the standard and of other readers."""

from __future__ import annotations

import hashlib
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from augforge.phantom import write_phantom
from augforge.store import png
from augforge.store.codec import decode_image
from augforge.store.png import decode_png, encode_png

KINDS = [("uint8", 1), ("uint8", 3), ("uint8", 4), ("uint16", 1), ("uint16", 3), ("uint16", 4)]
MAGIC = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _small_pictures_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default OpenCV reads small pictures, and the method is chosen for large ones alone."""
    monkeypatch.setattr(png, "_WORTH_PYTHON", 0)


def picture(height: int = 90, width: int = 120, dtype: str = "uint8", channels: int = 1) -> np.ndarray:
    """Smooth shapes with noise, like a radiograph, of integers alone: the same on every machine."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(3).integers(0, 9, (height, width, channels))
    scale = 257 if dtype == "uint16" else 1
    shapes = np.abs(x - width // 2) * 150 // width + y * 90 // height
    image: np.ndarray = ((shapes[..., None] * np.arange(channels, 0, -1) // channels + noise) * scale).astype(dtype)
    return image[..., 0] if channels == 1 else image


def flat(dtype: str = "uint8", channels: int = 1) -> np.ndarray:
    """A drawing: areas of one colour."""
    image = np.zeros((90, 120, channels), dtype)
    image[20:60, 30:90] = 200
    return image[..., 0] if channels == 1 else image


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(MAGIC)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert int.from_bytes(data[at + 8 + length : at + 12 + length], "big") == zlib.crc32(kind + body)
        yield kind, body
        at += 12 + length


def file_of(*parts: tuple[bytes, bytes]) -> bytes:
    """A PNG of chunks, with their lengths and checksums."""
    return MAGIC + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def header(width: int, height: int, bits: int = 8, colour: int = 0, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)


def idat(lines: bytes) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(lines)


END = (b"IEND", b"")


def filtered_lines(rows: np.ndarray, step: int, kinds: list[int]) -> bytes:
    """Rows of bytes filtered by the definition in the standard (PNG, section 9), byte for byte."""
    lines = bytearray()
    above = [0] * rows.shape[1]
    for kind, row in zip(kinds, rows.tolist(), strict=True):
        lines.append(kind)
        for i, byte in enumerate(row):
            a, b, c = (row[i - step], above[i], above[i - step]) if i >= step else (0, above[i], 0)
            estimate = a + b - c
            paeth = min((a, b, c), key=lambda value: abs(estimate - value))
            lines.append((byte - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
        above = row
    return bytes(lines)


# ---- written ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("make", [picture, flat])
def test_a_file_is_one_header_one_idat_and_an_end(make: Callable[..., np.ndarray], dtype: str, channels: int) -> None:
    image = make(dtype=dtype, channels=channels)
    kinds, bodies = zip(*chunks(encode_png(image)), strict=True)
    assert kinds == (b"IHDR", b"IDAT", b"IEND")
    assert bodies[0] == header(120, 90, image.dtype.itemsize * 8, {1: 0, 3: 2, 4: 6}[channels])[1]


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("make", [picture, flat])
def test_bytes_are_those_of_plain_zlib(make: Callable[..., np.ndarray], dtype: str, channels: int) -> None:
    """The strategies leave nothing to choose: zlib's C code, written without vectors in 1995, gives the same bytes."""
    (pixels,) = (body for kind, body in chunks(encode_png(make(dtype=dtype, channels=channels))) if kind == b"IDAT")
    lines = zlib.decompress(pixels)
    found = []
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
        plain = zlib.compressobj(1, zlib.DEFLATED, 15, 9, strategy)
        found.append(plain.compress(lines) + plain.flush())
    assert pixels in found


DIGESTS = {
    ("uint8", 1): "a99d4fd0e46eb9d7",
    ("uint8", 3): "e49cc6c471223eca",
    ("uint8", 4): "7d406b9fe56b5a7b",
    ("uint16", 1): "3d4b6abd97182bcf",
    ("uint16", 3): "11207679f7f1245b",
    ("uint16", 4): "45dc08ccd34275bc",
}


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_bytes_are_the_same_on_every_machine(dtype: str, channels: int) -> None:
    """CI runs this on several systems and processors."""
    data = encode_png(picture(150, 200, dtype, channels))
    assert hashlib.sha256(data).hexdigest()[:16] == DIGESTS[dtype, channels]


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("kind", [png.NONE, png.SUB, png.UP])
def test_filters_are_those_of_the_standard(
    kind: int, dtype: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(9, 11, dtype, channels)
    monkeypatch.setattr(png, "_choose_method", lambda rows, step: (kind, zlib.Z_RLE))
    (pixels,) = (body for name, body in chunks(encode_png(image)) if name == b"IDAT")
    step = channels * image.dtype.itemsize
    rows = image.astype(image.dtype.newbyteorder(">")).view(np.uint8).reshape(9, 11 * step)
    assert zlib.decompress(pixels) == filtered_lines(rows, step, [kind] * 9)


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("make", [picture, flat])
def test_others_read_what_is_written(make: Callable[..., np.ndarray], dtype: str, channels: int) -> None:
    image = make(dtype=dtype, channels=channels)
    data = encode_png(image)
    seen = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    np.testing.assert_array_equal(seen.reshape(90, 120, -1)[..., order], image.reshape(90, 120, -1))
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        assert opened.size == (120, 90)
        if dtype == "uint8" or channels == 1:  # Pillow has no colours of 16 bits
            np.testing.assert_array_equal(np.asarray(opened), image)


@pytest.mark.parametrize(
    "image", [np.zeros((0, 4), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4), np.int16)]
)
def test_what_a_png_cannot_hold_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="png cannot hold"):
        encode_png(image)


def test_pictures_beyond_a_chunk_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "_MAX_CHUNK", 1000)
    image = picture()
    data = encode_png(image)
    assert len([kind for kind, _ in chunks(data) if kind == b"IDAT"]) > 3
    np.testing.assert_array_equal(decode_png(data), image)


def test_files_are_hardly_larger_than_opencv_s(tmp_path: Path) -> None:
    write_phantom(tmp_path, persons=1, size=512, seed=5)
    films = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in tmp_path.rglob("*.png")]
    stripes = np.tile(np.random.default_rng(0).integers(0, 256, (300, 1), np.uint8), (1, 400))
    noise = np.random.default_rng(0).integers(0, 256, (300, 400), np.uint8)
    checks = (np.indices((300, 400)).sum(0) % 2 * 255).astype(np.uint8)
    drawing = np.repeat(np.repeat(noise[:30, :40], 10, 0), 10, 1)
    rgb = [picture(300, 400, "uint8", 3), picture(300, 400, "uint16", 1), picture(300, 400, "uint16", 3)]
    for image in [*films, *rgb, stripes, stripes.T.copy(), noise, checks, drawing, picture(300, 400)]:
        plain = cv2.imencode(".png", image)[1]
        assert len(encode_png(image)) <= 1.1 * len(plain) + 200


# ---- read ------------------------------------------------------------------------------------------------------------

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(KINDS), st.data())
def test_rows_of_any_fast_filter_are_read(size: tuple[int, int], kind: tuple[str, int], data: st.DataObject) -> None:
    dtype, channels = kind
    image = picture(*size, dtype, channels)
    step = channels * image.dtype.itemsize
    rows = image.astype(image.dtype.newbyteorder(">")).view(np.uint8).reshape(size[0], -1)
    kinds = data.draw(st.lists(st.integers(0, 2), min_size=size[0], max_size=size[0]))
    head = header(size[1], size[0], image.dtype.itemsize * 8, {1: 0, 3: 2, 4: 6}[channels])
    found = decode_png(file_of(head, idat(filtered_lines(rows, step, kinds)), END))
    assert found is not None and found.dtype == image.dtype and found.flags.c_contiguous and found.flags.writeable
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_what_opencv_writes_is_read(dtype: str, channels: int) -> None:
    """It writes Sub; of many rows, so that columns are added."""
    image = picture(300, 50, dtype, channels)
    order = [2, 1, 0, 3][:channels]
    data = cv2.imencode(".png", image[..., order] if channels > 1 else image)[1].tobytes()
    np.testing.assert_array_equal(decode_png(data), image)


@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("row", [0, 20])
def test_slow_filters_are_left_to_opencv(kind: int, row: int) -> None:
    image = picture(30, 40)
    data = file_of(header(40, 30), idat(filtered_lines(image, 1, [kind if y == row else 2 for y in range(30)])), END)
    assert decode_png(data) is None
    np.testing.assert_array_equal(decode_image(data), image)


def _lines() -> bytes:
    return filtered_lines(picture(30, 40), 1, [2] * 30)


def _without_checksum(kind: bytes) -> bytes:
    data = bytearray(file_of(header(40, 30), (b"tEXt", b"a\0b"), idat(_lines()), END))
    data[data.index(kind) + 4] ^= 1
    return bytes(data)


def _with_stream_header(start: bytes) -> bytes:
    """A window of another size than that of the compressor."""
    return file_of(header(40, 30), (b"IDAT", start + zlib.compress(_lines())[2:]), END)


_TEXT = (b"tEXt", b"Author\0somebody")
LEFT_TO_OPENCV = {
    "interlaced": file_of(header(40, 30, interlace=1), idat(_lines()), END),
    "palette": file_of(header(40, 30, colour=3), (b"PLTE", bytes(768)), idat(_lines()), END),
    "transparent level": file_of(header(40, 30), (b"tRNS", b"\0\7"), idat(_lines()), END),
    "gray with alpha": file_of(header(20, 30, colour=4), idat(_lines()), END),
    "4 bits": file_of(header(80, 30, bits=4), idat(_lines()), END),
    "animated": file_of(header(40, 30), (b"acTL", bytes(8)), idat(_lines()), END),
    "unknown critical chunk": file_of(header(40, 30), (b"ABCD", b""), idat(_lines()), END),
    "a text between pixels": file_of(header(40, 30), idat(_lines()), _TEXT, (b"IDAT", b""), END),
    "a window smaller than a repeat's distance": file_of(
        header(40, 30), (b"IDAT", b"\x08\x1d" + idat(_lines())[1][2:]), END
    ),
    "a window larger than zlib's": _with_stream_header(b"\x88\x1c"),
    "pixels in two places": file_of(header(40, 30), idat(_lines()), (b"PLTE", bytes(3)), idat(_lines()), END),
    "no pixels": file_of(header(40, 30), END),
    "no end": file_of(header(40, 30), idat(_lines())),
    "two headers": file_of(header(40, 30), header(40, 30), idat(_lines()), END),
    "short header": file_of((b"IHDR", bytes(8)), idat(_lines()), END),
    "bytes after the end": file_of(header(40, 30), idat(_lines()), END) + b"more",
    "wrong checksum of the header": _without_checksum(b"IHDR"),
    "wrong checksum of the pixels": _without_checksum(b"IDAT"),
    "wrong checksum of a text": _without_checksum(b"tEXt"),
    "cut": file_of(header(40, 30), idat(_lines()), END)[:-30],
    "too few lines": file_of(header(40, 30), idat(_lines()[:-41]), END),
    "too many bytes": file_of(header(40, 30), idat(_lines() + b"\0"), END),
    "more behind the stream": file_of(header(40, 30), (b"IDAT", zlib.compress(_lines()) + b"\0"), END),
    "wrong checksum of the stream": file_of(header(40, 30), (b"IDAT", zlib.compress(_lines())[:-1] + b"?"), END),
    "no stream": file_of(header(40, 30), (b"IDAT", b""), END),
    "unknown filter": file_of(header(40, 30), idat(_lines()[:41] + b"\5" + _lines()[42:]), END),
    "no pixel": file_of(header(0, 30), idat(b"\0" * 30), END),
    "wider than OpenCV reads": file_of(header(1 << 21, 1), idat(bytes((1 << 21) + 1)), END),
    "other magic": b"\x89MNG" + file_of(header(40, 30), idat(_lines()), END)[4:],
    "empty": b"",
}


@pytest.mark.parametrize("case", LEFT_TO_OPENCV)
def test_all_that_is_not_ordinary_is_left_to_opencv(case: str) -> None:
    assert decode_png(LEFT_TO_OPENCV[case]) is None


def test_words_beside_the_pixels_change_nothing() -> None:
    more = [_TEXT, (b"gAMA", struct.pack(">I", 45455)), (b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0"), (b"pHYs", bytes(9))]
    data = file_of(header(40, 30), *more, idat(_lines()), _TEXT, END)
    np.testing.assert_array_equal(decode_png(data), picture(30, 40))
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), -1), picture(30, 40))


def test_a_header_that_promises_too_much_is_not_believed() -> None:
    """A stream of n bytes cannot hold more than 1032 n: what it holds is not even decompressed."""
    tracemalloc.start()
    assert decode_png(file_of(header(20000, 20000), idat(_lines()), END)) is None
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_stream_that_goes_on_takes_no_more_memory() -> None:
    data = file_of(header(400, 300), idat(bytes(50_000_000)), END)
    tracemalloc.start()
    assert decode_png(data) is None
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_one_wrong_bit_is_never_another_picture() -> None:
    image = picture(16, 16)
    data = file_of(header(16, 16), idat(filtered_lines(image, 1, [1] * 16)), END)
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 16
        assert decode_png(bytes(broken)) is None

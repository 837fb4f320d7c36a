"""Image files lose what is not their pixels, and no pixel."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from augforge.store.codec import decode_image
from augforge.store.png import encode_png
from augforge.store.stripping import keep_bytes, strip_jpeg

NAME = "Erika Mustermann"


def photo(channels: int = 3, height: int = 400, width: int = 500) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    image = np.stack([x // 2, y // 2, (x + y) % 256], -1).astype(np.uint8)[..., :channels]
    return image[..., 0] if channels == 1 else image


def jpeg(image: np.ndarray | None = None, mode: str = "", **options: Any) -> bytes:
    made, out = Image.fromarray(photo() if image is None else image), io.BytesIO()
    (made.convert(mode) if mode else made).save(out, "JPEG", quality=90, **options)
    return out.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    found = Image.Exif()
    found[0x0112], found[0x013B] = orientation, NAME
    found.get_ifd(0x8825)[1] = "N"  # a place
    found.get_ifd(0x8825)[2] = (52.0, 31.0, 7.0)
    return found


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_segment(data: bytes, kind: int, body: bytes) -> bytes:
    return data[:2] + bytes((0xFF, kind)) + struct.pack(">H", len(body) + 2) + body + data[2:]


JPEGS = {
    "plain": jpeg(),
    "gray": jpeg(photo(1)),
    "progressive": jpeg(progressive=True),
    "optimised": jpeg(optimize=True),
    "restarts": jpeg(restart_marker_rows=1),
    "unsampled": jpeg(subsampling=0),
    "EXIF with a place": jpeg(exif=exif()),
    "comment": jpeg(comment=NAME.encode()),
    "thumbnail in JFIF": jpeg()[:2] + b"\xff\xe0\0\x13JFIF\0\1\2\0\0\1\0\1\1\1" + b"abc" + jpeg()[20:],
    "maker's notes": with_segment(jpeg(), 0xED, b"Photoshop 3.0\0" + NAME.encode()),
    "XMP": with_segment(jpeg(), 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + NAME.encode()),
    "second picture behind the end": jpeg() + jpeg(comment=NAME.encode()),
    "RGB without conversion": jpeg(keep_rgb=True),
    "fill bytes": jpeg()[:2] + b"\xff\xff" + jpeg()[2:],
}


@pytest.mark.parametrize("case", JPEGS)
def test_a_jpeg_keeps_its_pixels_and_nothing_else(case: str) -> None:
    data = JPEGS[case]
    image = decode_image(data)
    kept = keep_bytes(data, image)
    assert kept is not None and NAME.encode() not in kept and len(kept) <= len(data)
    np.testing.assert_array_equal(decode_image(kept), image)
    with Image.open(io.BytesIO(kept)) as seen, Image.open(io.BytesIO(data)) as before:
        np.testing.assert_array_equal(np.asarray(seen), np.asarray(before))
        assert not seen.getexif() and "comment" not in seen.info and "exif" not in seen.info
    assert strip_jpeg(kept) == kept
    assert kept.endswith(b"\xff\xd9") and kept.count(b"\xff\xd9") == 1


NOT_KEPT = {
    "turned": jpeg(exif=exif(6)),
    "ICC profile": jpeg(icc_profile=profile()),
    "four inks": jpeg(mode="CMYK"),
    "cut": jpeg()[:-1000],
    "no end": jpeg()[:-2],
    "nothing": b"\xff\xd8",
    "no file": b"GIF89a",
    "arithmetic": jpeg().replace(b"\xff\xc0", b"\xff\xc9", 1),
    "12 bits": jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c", 1),
}


@pytest.mark.parametrize("case", NOT_KEPT)
def test_what_is_not_the_image_or_says_more_is_not_kept(case: str) -> None:
    turned = np.ascontiguousarray(np.rot90(photo(), -1))
    assert keep_bytes(NOT_KEPT[case], turned if case == "turned" else decode_image(jpeg())) is None


def test_other_pixels_are_not_kept() -> None:
    image = decode_image(jpeg())
    other = image.copy()
    other[5, 5, 0] ^= 1
    assert keep_bytes(jpeg(), other) is None
    assert keep_bytes(jpeg(), image.astype(np.uint16)) is None


def png(**options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(noisy()).save(out, "PNG", **options)
    return out.getvalue()


def noisy() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (400, 500), np.uint8)


def test_a_png_that_is_read_fast_keeps_its_pixels_and_nothing_else() -> None:
    said = PngImagePlugin.PngInfo()
    for add in (said.add_text, said.add_itxt):
        add("Author", NAME)
    image = noisy()
    data = cv2.imencode(".png", image)[1].tobytes()
    text = png(pnginfo=said, exif=exif())
    chunks = text[33 : text.index(b"IDAT") - 4]  # what Pillow writes between header and pixels
    kept = keep_bytes(data[:33] + chunks + data[33:], image)
    assert NAME.encode() in chunks and kept is not None and NAME.encode() not in kept
    np.testing.assert_array_equal(decode_image(kept), image)
    assert keep_bytes(kept, image) == kept


def test_a_png_of_ours_stays_as_it_is() -> None:
    assert keep_bytes(encode_png(noisy()), noisy()) == encode_png(noisy())


def test_a_png_with_a_profile_or_slow_filters_is_not_kept() -> None:
    smooth = photo(1)
    for image, data in ((noisy(), png(icc_profile=profile())), (smooth, _paeth(smooth))):
        np.testing.assert_array_equal(decode_image(data), image)
        assert keep_bytes(data, image) is None


def _paeth(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH])[1].tobytes()


def test_no_damage_makes_other_pixels() -> None:
    """Of every byte that is wrong, the file is not kept, or its pixels are those of the array."""
    data = jpeg(photo(3, 24, 24))
    image = decode_image(data)
    for place in range(2, len(data)):
        broken = data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]
        kept = keep_bytes(broken, image)
        if kept is not None:
            np.testing.assert_array_equal(decode_image(kept), image)


def test_a_checksum_that_is_wrong_is_not_kept() -> None:
    data = bytearray(encode_png(noisy()))
    data[-14] ^= 1
    assert zlib.crc32(b"IEND").to_bytes(4, "big") == data[-4:]
    assert keep_bytes(bytes(data), noisy()) is None

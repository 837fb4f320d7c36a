"""Encoded pixels come back, in the right order, and damage is seen."""

from __future__ import annotations

import io
from importlib.metadata import PackageNotFoundError

import cv2
import numpy as np
import pytest
import zstandard
from conftest import make_sample
from PIL import Image

from augforge import bitmask
from augforge.store import codec
from augforge.store.codec import Encoding, decode_image, library_versions, pixel_digest

KINDS = [("uint8", 1), ("uint8", 3), ("uint8", 4), ("uint16", 1), ("uint16", 3), ("uint16", 4)]
PNG, JPEG = Encoding.png(), Encoding.jpeg(95)


def smooth(channels: int) -> np.ndarray:
    """An image that JPEG keeps well: ramps, another one in each channel."""
    y, x = np.mgrid[:40, :60]
    ramps = np.stack([x * 4, y * 6, 255 - x * 4, y + x], axis=-1).astype(np.uint8)
    return ramps[..., 0] if channels == 1 else ramps[..., :channels]


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("size", [(48, 64), (1, 1), (3, 1), (17, 31)])
def test_png_round_trip(size: tuple[int, int], dtype: str, channels: int) -> None:
    image = make_sample(*size, dtype=dtype, channels=channels).image
    back = decode_image(PNG.encode(image))
    assert back.dtype == image.dtype and back.flags.c_contiguous
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_memory_layout_does_not_matter(dtype: str, channels: int) -> None:
    image = make_sample(dtype=dtype, channels=channels).image
    for view in (image[::-1, ::-1], image[5:20, 7:30], np.asfortranarray(image)):
        view.setflags(write=False)
        np.testing.assert_array_equal(decode_image(PNG.encode(view)), view)


def test_decodes_from_a_memory_view() -> None:
    image = make_sample(channels=3).image
    np.testing.assert_array_equal(decode_image(memoryview(PNG.encode(image))), image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_other_readers_decode_png_alike(channels: int) -> None:
    image = make_sample(channels=channels).image
    with Image.open(io.BytesIO(PNG.encode(image))) as seen:
        assert (seen.format, seen.mode) == ("PNG", {1: "L", 3: "RGB", 4: "RGBA"}[channels])
        np.testing.assert_array_equal(np.asarray(seen), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_other_readers_decode_jpeg_alike(channels: int) -> None:
    image = smooth(channels)
    data = JPEG.encode(image)
    back = decode_image(data)
    assert back.shape == image.shape and back.dtype == np.uint8
    np.testing.assert_allclose(back, image.astype(int), atol=12)
    with Image.open(io.BytesIO(data)) as seen:
        assert (seen.format, seen.mode) == ("JPEG", {1: "L", 3: "RGB"}[channels])
        np.testing.assert_allclose(np.asarray(seen).astype(int), back.astype(int), atol=3)


def test_jpeg_quality_changes_the_size() -> None:
    image = make_sample().image
    assert len(Encoding.jpeg(30).encode(image)) < len(JPEG.encode(image))


@pytest.mark.parametrize(("dtype", "channels"), [("uint16", 1), ("uint16", 3), ("uint8", 4)])
def test_jpeg_refuses_16_bits_and_alpha(dtype: str, channels: int) -> None:
    with pytest.raises(ValueError, match=rf"jpeg cannot hold {dtype} .*; set `output.image: png`"):
        JPEG.encode(make_sample(dtype=dtype, channels=channels).image)


def test_encodings_have_different_texts() -> None:
    assert [str(e) for e in (PNG, JPEG, Encoding.jpeg(80))] == ["png", "jpeg-95", "jpeg-80"]
    assert PNG.lossless and not JPEG.lossless


@pytest.mark.parametrize("data", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"{len(data)} bytes are no image .*the data is damaged"):
        decode_image(data)


@pytest.mark.parametrize("encoding", [PNG, JPEG], ids=str)
def test_truncated_images_are_refused(encoding: Encoding) -> None:
    data = encoding.encode(make_sample().image)
    for length in (len(data) // 10, len(data) // 2, len(data) - 20):
        with pytest.raises(ValueError, match="the data is damaged"):
            decode_image(data[:length])


def test_one_wrong_bit_in_a_png_is_refused_or_harmless() -> None:
    image = make_sample(16, 16).image
    data = PNG.encode(image)
    refused = 0
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 16
        try:
            np.testing.assert_array_equal(decode_image(bytes(broken)), image)
        except ValueError:
            refused += 1
    assert refused > 0.95 * len(data)


# The digest of decoded pixels


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_digest_depends_on_every_pixel(dtype: str, channels: int) -> None:
    sample = make_sample(dtype=dtype, channels=channels, classes=29)
    digests = {pixel_digest(sample.image, sample.masks)}
    for place in ((0, 0), (47, 63), (20, 31)):
        image = sample.image.copy()
        image[place] ^= 1
        digests.add(pixel_digest(image, sample.masks))
        for plane in range(4):
            masks = sample.masks.copy()
            at = (*place, plane)
            masks[at] ^= 128
            digests.add(pixel_digest(sample.image, masks))
    assert len(digests) == 1 + 3 * 5


def test_digest_depends_on_dtype_and_shape() -> None:
    zeros = np.zeros((8, 12), np.uint8)
    variants: list[tuple[np.ndarray, bitmask.Planes]] = [
        (zeros, bitmask.empty(8, 12, 8)),
        (zeros.reshape(12, 8), bitmask.empty(12, 8, 8)),
        (zeros.astype(np.uint16), bitmask.empty(8, 12, 8)),
        (zeros.reshape(8, 4, 3), bitmask.empty(8, 4, 8)),
        (zeros, bitmask.empty(8, 12, 9)),
        (np.zeros((4, 12), np.uint16), bitmask.empty(4, 12, 16)),
    ]
    assert len({pixel_digest(*variant) for variant in variants}) == len(variants)


def test_digest_does_not_depend_on_memory_layout() -> None:
    sample = make_sample(classes=29, channels=3)
    expected = pixel_digest(sample.image, sample.masks)
    planar = np.moveaxis(bitmask.planar(sample.masks), 0, -1)
    assert not planar.flags.c_contiguous
    assert pixel_digest(np.asfortranarray(sample.image), planar) == expected
    framed = np.pad(sample.masks, ((1, 1), (2, 2), (0, 0)))[1:-1, 2:-2]
    assert pixel_digest(sample.image, framed) == expected
    decoded = bitmask.decode(bitmask.encode(sample.masks), 48, 64, 29)
    assert pixel_digest(decode_image(PNG.encode(sample.image)), decoded) == expected


def test_digest_is_stable() -> None:
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    masks = np.arange(24, dtype=np.uint8).reshape(3, 4, 2)
    assert pixel_digest(image, masks) == "220dcf3f04d78bc33d4c401f50f20c69"


def test_library_versions_name_what_decides_bytes() -> None:
    versions = library_versions()
    assert versions["opencv"] == cv2.__version__ and versions["zstandard"] == zstandard.__version__
    assert all(isinstance(value, str) and value for value in versions.values()) and "cpu" in versions


def test_library_versions_name_installed_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(package: str) -> str:
        if package in ("nibabel", "imagecodecs"):
            raise PackageNotFoundError(package)
        return f"{package}-7"

    monkeypatch.setattr(codec, "version", installed)
    versions = library_versions()
    assert versions["pydicom"] == "pydicom-7" and versions["pylibjpeg-openjpeg"] == "pylibjpeg-openjpeg-7"
    assert not {"nibabel", "imagecodecs"} & versions.keys()

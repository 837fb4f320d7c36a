"""The dicom adapter: the picture that a viewer shows, frames, groups, tags, masks, and every kind of bad input."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makedata import block, broken, known_of, load, masks_of, put_pixels, put_text, rejected, scan, spy
from makemedical import dicom, put_dicom, uninstall
from PIL import Image
from pydantic import ValidationError
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from augforge.cache.filecache import FileCache
from augforge.errors import MissingExtra, SourceError
from augforge.sources.formats.dicom import file as dicom_file
from augforge.sources.formats.dicom import packing as dicom_packing
from augforge.sources.formats.dicom.source import Dicom
from augforge.sources.scan.recent_files import RECENT_FILES

KIND = "dicom"
RAMP = np.arange(20 * 16, dtype=np.uint16).reshape(16, 20) * 12  # 0 to 3828 of 4095
HEART = block(2, 2, 6, 5)


def shown(root: Path, pixels: Any, photometric: str = "MONOCHROME2", bits: int = 0, **tags: Any) -> np.ndarray:
    """The picture of a file by the recipe options ``window`` and ``bits_out`` among the tags."""
    options = {key: tags.pop(key) for key in ("window",) if key in tags}
    if (depth := tags.pop("depth", None)) is not None:
        options["bits"] = depth
    put_dicom(root / "images/a.dcm", pixels, photometric, bits, **tags)
    return load(KIND, root, masks=None, **options)["a"].image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two patients of three files; one heart."""
    put_dicom(tmp_path / "images/x/a.dcm", RAMP, bits=12, PatientID="P1", PatientSex="F", KVP="60", Laterality="")
    put_dicom(tmp_path / "images/y/IM0001", RAMP, bits=12, PatientID="P1 ")
    put_dicom(tmp_path / "images/z/1.2.840.7", RAMP, bits=12)
    put_pixels(tmp_path / "masks/heart/x/a.png", HEART)
    return tmp_path


def test_listing(root: Path) -> None:
    listing = scan(KIND, root, tags=["PatientSex", "KVP", "Laterality"])
    assert listing.classes == ("heart",)
    assert [(r.name, r.group, r.split) for r in listing.records] == [
        ("x/a", "P1", None),
        ("y/IM0001", "P1", None),
        ("z/1.2.840.7", "z", None),
    ]
    assert listing.refused == ()
    assert [dict(r.metadata) for r in listing.records] == [{"PatientSex": "F", "KVP": 60.0}, {}, {}]
    first = listing.records[0]
    assert (first.width, first.height, first.bytes) == (20, 16, (root / "images/x/a.dcm").stat().st_size)


def test_masks(root: Path) -> None:
    samples = load(KIND, root)
    np.testing.assert_array_equal(masks_of(samples["x/a"], ("heart",))["heart"], HEART > 0)
    assert not samples["y/IM0001"].masks.any()
    assert known_of(samples["y/IM0001"], ("heart",)) == ["heart"]


def test_nothing_is_known_without_masks(root: Path) -> None:
    assert scan(KIND, root, masks=None).classes == ("ignore",)
    sample = load(KIND, root, masks=None, classes=["heart", "lung"])["x/a"]
    assert known_of(sample, ("heart", "lung")) == []
    (root / "masks/heart").rename(root / "masks/x")
    broken(KIND, root, "masks: label 'x' is not in classes", classes=["heart"])
    (root / "masks").rename(root / "elsewhere")
    broken(KIND, root, str(root / "masks"), "masks: null")


@pytest.mark.parametrize("spelled", ["./images", "images/", "images/."])
def test_a_folder_may_be_spelled_otherwise(root: Path, spelled: str) -> None:
    put_dicom(root / "images/z/cine.dcm", np.stack([RAMP, RAMP]))
    assert scan(KIND, root, images=spelled, masks="./masks") == scan(KIND, root)


def test_a_split_without_any_mask_is_unlabelled(root: Path) -> None:
    before = {record.name: record.content for record in scan(KIND, root).records}
    put_dicom(root / "images/test/cine.dcm", np.stack([RAMP, RAMP]), bits=12)
    listing = scan(KIND, root)
    assert "test: none of 2 images has a mask, so they are taken for unlabelled" in listing.warnings
    samples = load(KIND, root)
    assert [known_of(samples[name], ("heart",)) for name in ("test/cine/0000", "y/IM0001")] == [[], ["heart"]]
    bare = {record.name: record.content for record in listing.records}
    assert before.items() <= bare.items()
    put_pixels(root / "masks/heart/test/cine/0001.png", HEART)
    assert known_of(load(KIND, root)["test/cine/0000"], ("heart",)) == ["heart"]
    after = {record.name: record.content for record in scan(KIND, root).records}
    assert {name for name in after if after[name] != bare[name]} == {"test/cine/0000", "test/cine/0001"}


# ---- pixels ----------------------------------------------------------------------------------------------------------


def test_the_range_of_the_data(tmp_path: Path) -> None:
    """Without a window black is the least value and white the greatest."""
    np.testing.assert_array_equal(shown(tmp_path, RAMP, bits=12), np.rint(RAMP / RAMP.max() * 255))
    np.testing.assert_array_equal(shown(tmp_path, RAMP, bits=12, depth=16), np.rint(RAMP / RAMP.max() * 65535))
    np.testing.assert_array_equal(shown(tmp_path, RAMP, bits=12, window="full"), np.rint(RAMP / 4095 * 255))
    signed = RAMP.astype(np.int16) - 2048
    np.testing.assert_array_equal(shown(tmp_path, signed, bits=12, window="full"), np.rint(RAMP / 4095 * 255))
    assert not shown(tmp_path, np.full((4, 4), 7, np.uint16)).any()


def test_eight_bits_stay_as_they_are(tmp_path: Path) -> None:
    pixels = (RAMP % 251).astype(np.uint8)
    np.testing.assert_array_equal(shown(tmp_path, pixels, window="full"), pixels)


def test_padding_is_no_value(tmp_path: Path) -> None:
    values = RAMP.astype(np.int16)
    padded = np.where(block(0, 0, 20, 3), -2000, values).astype(np.int16)
    picture = shown(tmp_path, padded, PixelPaddingValue=-2000)
    low = float(values[3:].min())
    np.testing.assert_array_equal(picture[3:], np.rint((values[3:] - low) / (values.max() - low) * 255))
    assert not picture[:3].any()
    wide = np.where(padded == -2000, -1990, padded).astype(np.int16)
    limits: dict[str, Any] = {"PixelPaddingValue": -1980, "PixelPaddingRangeLimit": -2000}
    np.testing.assert_array_equal(shown(tmp_path, wide, **limits), picture)
    assert not shown(tmp_path, np.full((4, 4), 7, np.uint16), PixelPaddingValue=7).any()


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = shown(tmp_path, RAMP, bits=12)
    np.testing.assert_array_equal(shown(tmp_path, RAMP, "MONOCHROME1", bits=12), np.rint(255 - RAMP / 3828 * 255))
    assert plain[0, 0] == 0 and shown(tmp_path, RAMP, "MONOCHROME1", bits=12)[0, 0] == 255


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": "0.5", "RescaleIntercept": "-1024"}])
def test_windows_are_those_of_the_standard(
    tmp_path: Path, function: str, photometric: str, rescale: dict[str, str]
) -> None:
    """pydicom's windowing, brought from the range of the stored bits to 0 to 1, is the oracle."""
    tags = {"WindowCenter": ["300", "1"], "WindowWidth": ["777", "2"], "VOILUTFunction": function, **rescale}
    stored = RAMP.astype(np.int16)
    picture = shown(tmp_path, stored, photometric, bits=13, depth=16, **tags)
    ds = dicom(stored, photometric, 13, **tags)
    expected = apply_windowing(apply_modality_lut(stored, ds), ds)
    low, high = (
        v * float(rescale.get("RescaleSlope", 1)) + int(rescale.get("RescaleIntercept", 0)) for v in (-4096, 4095)
    )
    expected = (expected - low) / (high - low)
    expected = 1 - expected if photometric == "MONOCHROME1" else expected
    np.testing.assert_allclose(picture / 65535, expected, atol=1e-5)
    assert len(np.unique(picture)) > 20


def test_the_recipes_window_goes_before_the_files(tmp_path: Path) -> None:
    tags = {"WindowCenter": "1", "WindowWidth": "2", "RescaleSlope": "1", "RescaleIntercept": "-1000"}
    picture = shown(tmp_path, RAMP, bits=12, window=[100, 401], **tags)
    np.testing.assert_array_equal(picture, np.rint(np.clip((RAMP - 1000.0 - (99.5 - 200)) / 400, 0, 1) * 255))
    with pytest.raises(ValidationError, match="width of 1 or more"):
        Dicom(path=".", window=[100, 0])


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_lookup_tables(tmp_path: Path, depth: int) -> None:
    """Two tables of 1024 entries, falling and then squared; pydicom's is the oracle where its indices do not wrap."""
    modality, voi = Dataset(), Dataset()
    modality.LUTDescriptor, modality.LUTData = [1024, 100, 16], [1023 - k for k in range(1024)]
    voi.LUTDescriptor, voi.LUTData = [1024, 0, depth], [(2**depth - 1) * k * k // 1023**2 for k in range(1024)]
    for item in (modality, voi):
        item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    stored = (RAMP // 3).astype(np.uint16)
    tags: dict[str, Any] = {
        "ModalityLUTSequence": [modality],
        "VOILUTSequence": [voi],
        "WindowCenter": "5",
        "WindowWidth": "5",
    }
    picture = shown(tmp_path, stored, depth=16, **tags)
    index = 1023 - np.clip(stored.astype(int) - 100, 0, 1023)
    expected = np.array(voi.LUTData)[index]
    np.testing.assert_allclose(picture / 65535, expected / (2**depth - 1), atol=1e-5)
    if depth > 8:
        ds = dicom(stored, **tags)
        np.testing.assert_array_equal(apply_voi(apply_modality_lut(stored, ds), ds), expected)


def test_a_table_that_is_too_short(tmp_path: Path) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [1024, 0, 12], [1, 2, 3]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    with pytest.raises(SourceError, match=r"a\.dcm is damaged: a lookup table has 3 entries"):
        shown(tmp_path, RAMP, VOILUTSequence=[item])


def test_a_window_without_width_is_none(tmp_path: Path) -> None:
    picture = shown(tmp_path, RAMP, bits=12, WindowCenter="40", WindowWidth="0")
    np.testing.assert_array_equal(picture, np.rint(RAMP / RAMP.max() * 255))


def test_unused_high_bits_do_not_count(tmp_path: Path) -> None:
    """Old files keep an overlay there."""
    np.testing.assert_array_equal(shown(tmp_path, RAMP | 0x8000, bits=12), shown(tmp_path, RAMP, bits=12))


@pytest.mark.parametrize("signed", [False, True])
def test_stored_bits_may_lie_high(tmp_path: Path, signed: bool) -> None:
    stored = RAMP.astype(np.int16) - 2048 if signed else RAMP
    expected = shown(tmp_path, stored, bits=12)
    high = (stored << 4) | 5  # what lies below the stored bits does not count
    np.testing.assert_array_equal(shown(tmp_path, high, bits=12, HighBit=15), expected)
    broken(KIND, put_dicom(tmp_path / "x/images/a.dcm", RAMP, bits=12, HighBit=16).parents[1], "highest 16", masks=None)


def test_frames_of_single_bits_begin_anywhere(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 2, (5, 3, 5), dtype=np.uint8)
    packed = np.packbits(frames.reshape(-1), bitorder="little").tobytes()
    tags: dict[str, Any] = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": packed}
    put_dicom(tmp_path / "images/a.dcm", frames, **tags)
    samples = load(KIND, tmp_path, masks=None)
    for k in range(5):
        np.testing.assert_array_equal(samples[f"a/{k:04d}"].image, frames[k] * 255)


def test_packed_values_lie_low_whatever_the_header_says(tmp_path: Path) -> None:
    """JPEG and its kind pack the values alone, so that only the wrong number can stand there."""
    data = packed(RAMP // 16, "JPEG")
    put_packed(tmp_path / "images/a.dcm", [data], JPEGBaseline8Bit, RAMP // 16, HighBit=3)
    picture = load(KIND, tmp_path, masks=None, window="full")["a"].image
    np.testing.assert_array_equal(picture, np.asarray(Image.open(io.BytesIO(data))))


def test_the_first_folder_is_the_patient(tmp_path: Path) -> None:
    for place in ("P1/visit1/a", "P1/visit2/a", "P2/a"):
        put_dicom(tmp_path / f"images/{place}.dcm", RAMP)
    listing = scan(KIND, tmp_path, masks=None)
    assert [r.group for r in listing.records] == ["P1", "P1", "P2"] and not listing.warnings
    put_dicom(tmp_path / "images/P1/visit2/a.dcm", RAMP, PatientID="X7")
    (warning,) = scan(KIND, tmp_path, masks=None).warnings
    assert "such as P1" in warning and "source.group" in warning
    assert not scan(KIND, tmp_path, masks=None, group={"folder": 1}).warnings


def test_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(shown(tmp_path, pixels, "RGB"), pixels)
    np.testing.assert_array_equal(shown(tmp_path, pixels, "RGB", depth=16), pixels.astype(np.uint16) * 257)
    gray = np.repeat(pixels[..., :1], 3, axis=2)
    gray[..., 1:] = 128
    np.testing.assert_array_equal(shown(tmp_path, gray, "YBR_FULL"), np.repeat(pixels[..., :1], 3, axis=2))


def test_palettes(tmp_path: Path) -> None:
    tags: dict[str, Any] = {}
    for number, colour in enumerate(("Red", "Green", "Blue")):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = np.array([0, 65535, 257 * number, 0], "<u2").tobytes()
    picture = shown(tmp_path, np.array([[0, 1], [2, 3]], np.uint8), "PALETTE COLOR", **tags)
    assert picture.tolist() == [[[0, 0, 0], [255, 255, 255]], [[0, 1, 2], [0, 0, 0]]]


def test_compressed_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "images/a.dcm"
    path.parent.mkdir()
    ds = dicom(RAMP, bits=12)
    ds.compress(RLELossless)
    ds.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(load(KIND, tmp_path, masks=None)["a"].image, np.rint(RAMP / RAMP.max() * 255))
    path.write_bytes(path.read_bytes()[:-40])
    broken(KIND, tmp_path, str(path), "is damaged", masks=None)


def put_packed(path: Path, streams: list[bytes], syntax: str, pixels: Any = RAMP, **tags: Any) -> Path:
    """A file of codestreams with the header of some pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds = dicom(np.asarray(pixels, np.uint8), **tags)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.PixelData = encapsulate(streams)
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path, enforce_file_format=True)
    return path


def packed(pixels: Any, suffix: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, suffix)
    return buffer.getvalue()


@pytest.mark.parametrize(("suffix", "syntax"), [("JPEG", JPEGBaseline8Bit), ("JPEG2000", JPEG2000Lossless)])
def test_a_codestream_of_another_size(tmp_path: Path, suffix: str, syntax: str) -> None:
    """Decoders look at as many values as the header says, and put them in its rows."""
    gray = (RAMP // 16).astype(np.uint8)
    put_packed(tmp_path / "images/a.dcm", [packed(gray, suffix)], syntax, gray)
    assert load(KIND, tmp_path, masks=None)["a"].image.shape == (16, 20)
    path = put_packed(tmp_path / "images/a.dcm", [packed(gray.T, suffix)], syntax, gray)
    broken(KIND, tmp_path, str(path), "frame 0 holds 16x20 pixels, its header says 20x16", masks=None)


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_codestreams(tmp_path: Path, count: int) -> None:
    gray = (RAMP // 16).astype(np.uint8)
    streams, pixels = [packed(gray, "JPEG")] * count, np.stack([gray, gray])
    path = put_packed(tmp_path / "images/a.dcm", streams, JPEGBaseline8Bit, pixels)
    broken(KIND, tmp_path, str(path), "is damaged", "frame", masks=None)


@pytest.mark.parametrize("tag", ["PixelRepresentation", "BitsStored", "SamplesPerPixel"])
def test_headers_without_what_decoding_needs(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "images/a.dcm"
    path.parent.mkdir()
    ds = dicom(RAMP)
    delattr(ds, tag)
    ds.save_as(path, enforce_file_format=True)
    broken(KIND, tmp_path, str(path), "is damaged", tag, masks=None)


def test_deflated_files_are_not_unpacked_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "images/a.dcm"
    path.parent.mkdir()
    ds = dicom(np.zeros((512, 512), np.uint8))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    assert path.stat().st_size < 2000
    assert load(KIND, tmp_path, masks=None)["a"].image.shape == (512, 512)
    monkeypatch.setattr(dicom_packing, "MAX_INFLATED", 1 << 17)
    broken(KIND, tmp_path, str(path), "unpacks to more than 131072 bytes", masks=None)


def test_a_file_that_only_names_deflation(tmp_path: Path) -> None:
    put_dicom(tmp_path / "images/a.dcm", RAMP, InstanceCreatorUID=DeflatedExplicitVRLittleEndian)
    assert len(scan(KIND, tmp_path, masks=None).records) == 1


def test_frames_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_dicom(tmp_path / "images/a.dcm", np.zeros((9, 1, 1), np.uint8))
    assert len(scan(KIND, tmp_path, masks=None).records) == 9
    monkeypatch.setattr(dicom_file, "MAX_FRAMES", 8)
    broken(KIND, tmp_path, str(path), "9 frames of 1x1 pixels", "in 8 frames", masks=None)


# ---- frames ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cine(tmp_path: Path) -> Path:
    frames = np.stack([RAMP, RAMP // 2, RAMP // 4])
    put_dicom(tmp_path / "images/P1/cine.dcm", frames, bits=12)
    put_pixels(tmp_path / "masks/heart/P1/cine/0001.png", HEART)
    return tmp_path


def test_frames(cine: Path) -> None:
    listing = scan(KIND, cine)
    assert [(r.name, r.group, r.metadata["frame"]) for r in listing.records] == [
        (f"P1/cine/{k:04d}", "P1", k) for k in range(3)
    ]
    assert len({r.content for r in listing.records}) == 2  # the frame stands in the name; one has a mask
    samples = load(KIND, cine)
    for k in range(3):
        np.testing.assert_array_equal(samples[f"P1/cine/{k:04d}"].image, np.rint((RAMP // 2**k) / 3828 * 255))
        assert samples[f"P1/cine/{k:04d}"].masks.any() == (k == 1)


def test_frames_stay_together(tmp_path: Path) -> None:
    put_dicom(tmp_path / "images/cine.dcm", np.stack([RAMP, RAMP]))
    assert {r.group for r in scan(KIND, tmp_path, masks=None).records} == {"cine"}


def test_a_file_of_frames_is_read_once(cine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Dicom(path=str(cine))
    listing = source.scan(FileCache())
    RECENT_FILES._things.clear()
    times: list[str] = []
    monkeypatch.setattr(Path, "read_bytes", spy(Path.read_bytes, times, lambda self: self.name))
    for record in listing.records:
        source.load(record, listing.classes)
    assert times.count("cine.dcm") == 1


def test_windows_of_enhanced_files_stand_a_frame(tmp_path: Path) -> None:
    def groups(center: int, slope: str | None = None) -> Dataset:
        item, voi, rescale = Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 1001
        item.FrameVOILUTSequence = [voi]
        if slope is not None:
            rescale.RescaleSlope, rescale.RescaleIntercept = slope, "0"
            item.PixelValueTransformationSequence = [rescale]
        return item

    put_dicom(
        tmp_path / "images/a.dcm",
        np.stack([RAMP, RAMP]),
        SharedFunctionalGroupsSequence=[groups(0, "2")],
        PerFrameFunctionalGroupsSequence=[groups(500), groups(2500)],
    )
    samples = load(KIND, tmp_path, masks=None)
    for k, low in enumerate((-0.5, 1999.5)):
        expected = np.rint(np.clip((2.0 * RAMP - low) / 1000, 0, 1) * 255)
        np.testing.assert_array_equal(samples[f"a/{k:04d}"].image, expected)


# ---- identity --------------------------------------------------------------------------------------------------------


def test_content_is_that_of_file_masks_and_view(root: Path) -> None:
    def contents(**options: Any) -> list[str]:
        return [record.content for record in scan(KIND, root, **options).records]

    before = contents()
    assert contents(tags=["KVP"]) == before
    for options in ({"window": "full"}, {"window": [1, 2]}, {"bits": 16}):
        assert not set(contents(**options)) & set(before)
    put_pixels(root / "masks/heart/y/IM0001.png", HEART)
    assert [one == two for one, two in zip(before, contents(), strict=True)] == [True, False, True]


def test_nothing_is_decoded_and_nothing_read_twice(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pydicom.pixels.utils

    monkeypatch.setattr(pydicom.pixels.utils, "pixel_array", lambda *_: pytest.fail("decoded"))
    cache = FileCache(tmp_path / "facts.db")
    first = scan(KIND, root, cache)
    cache.save()
    monkeypatch.setattr(Path, "read_bytes", lambda *_: pytest.fail("read"))
    assert scan(KIND, root, FileCache(tmp_path / "facts.db")) == first


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 100, 140, 300, -5])
def test_cut_files(root: Path, keep: int) -> None:
    path = root / "images/x/a.dcm"
    path.write_bytes(path.read_bytes()[:keep])
    broken(KIND, root, str(path))
    assert rejected(KIND, root)[0] == ("x/a", "broken DICOM")
    assert [r.name for r in scan(KIND, root, on_error="reject").records] == ["y/IM0001", "z/1.2.840.7"]


def test_what_is_no_image_is_refused(root: Path) -> None:
    ds = dicom(RAMP)
    del ds.PixelData, ds.SOPClassUID
    ds.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    ds.save_as(root / "images/DICOMDIR", enforce_file_format=True)
    put_text(root / "images/LICENSE", "x" * 200)
    put_text(root / "images/x/notes.txt", "x")
    found = {row.name: (row.reason, row.detail) for row in scan(KIND, root).refused}
    assert found == {
        "DICOMDIR": ("no pixels", "images/DICOMDIR Media Storage Directory Storage"),
        "LICENSE": ("not a DICOM file", "images/LICENSE"),
        "x/notes.txt": ("not a DICOM file", "images/x/notes.txt"),
    }
    ds = dicom(RAMP)
    del ds.PixelData
    path = root / "images/b.dcm"
    ds.save_as(path, enforce_file_format=True)
    broken(KIND, root, str(path), "Secondary Capture Image Storage without pixels")
    put_text(path, "x" * 200)
    broken(KIND, root, str(path), "lacks the mark DICM")


@pytest.mark.parametrize(
    ("uid", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "a segmentation, not a picture"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "a segmentation, not a picture"),
        ("1.2.840.10008.5.1.4.1.1.66.8", "a segmentation, not a picture"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "a radiation dose, not a picture"),
    ],
)
def test_segmentations_and_doses_are_no_pictures(root: Path, uid: str, reason: str) -> None:
    before = scan(KIND, root, masks=None).records
    put_dicom(root / "images/x/seg.dcm", np.stack([RAMP] * 3), SOPClassUID=uid)
    listing = scan(KIND, root, masks=None)
    assert listing.records == before
    assert [(row.name, row.reason) for row in listing.refused] == [("x/seg", reason)]


def test_too_many_pixels(root: Path) -> None:
    ds = dicom(RAMP)
    ds.Rows = ds.Columns = 60_000
    path = root / "images/b.dcm"
    ds.save_as(path, enforce_file_format=True)
    broken(KIND, root, str(path), "1 frames of 60000x60000 pixels; at most")
    ds.Rows, ds.Columns, ds.NumberOfFrames = 16_000, 16_000, 1_000_000
    ds.save_as(path, enforce_file_format=True)
    broken(KIND, root, str(path), "1000000 frames")


def test_unreadable_compression_names_a_decoder(root: Path) -> None:
    ds = dicom(RAMP)
    ds.compress(RLELossless)
    ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    path = root / "images/b.dcm"
    ds.save_as(path, enforce_file_format=True)
    if not rejected(KIND, root):
        pytest.skip("a decoder for JPEG-LS is installed")
    broken(KIND, root, str(path), "JPEG-LS Lossless", "pip install pylibjpeg")


def test_a_window_function_that_nobody_knows(root: Path) -> None:
    put_dicom(root / "images/x/a.dcm", RAMP, WindowCenter=100, WindowWidth=50, VOILUTFunction="FOO")
    with pytest.raises(SourceError, match=r"a\.dcm names the window function FOO; expected LINEAR.*source\.window"):
        load(KIND, root)
    assert load(KIND, root, window="data")


def test_warnings_of_pydicom_are_not_told(root: Path) -> None:
    with disable_value_validation():
        put_dicom(root / "images/x/a.dcm", RAMP, PatientID="P" * 70)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert load(KIND, root)
    assert not told


def test_colours_that_are_not_read(root: Path) -> None:
    path = put_dicom(root / "images/b.dcm", RAMP, "HSV")
    broken(KIND, root, str(path), "1 channels, HSV")


def test_mask_of_another_size_and_without_image(root: Path) -> None:
    path = put_pixels(root / "masks/heart/y/IM0001.png", block(0, 0, 1, 1, size=(5, 4)))
    broken(KIND, root, str(path), "5x4", "20x16")
    put_pixels(root / "masks/heart/y/b.png", HEART)
    assert rejected(KIND, root) == [("y/IM0001", "size differs"), ("y/b", "no image")]


def test_two_files_of_one_name(root: Path) -> None:
    other = put_dicom(root / "images/x/a.ima", RAMP)
    broken(KIND, root, str(other), "share the name x/a")
    put_dicom(root / "images/y.dcm", np.stack([RAMP] * 2))
    put_dicom(root / "images/y/0001.dcm", RAMP)
    assert ("y/0001", "name stands twice") in rejected(KIND, root)


def test_unknown_and_odd_tags(root: Path) -> None:
    with pytest.raises(SourceError, match=r"no tag 'PatientSecs'.*Did you mean"):
        scan(KIND, root, tags=["PatientSecs"])
    broken(KIND, root, "no plain value (OW)", tags=["PixelData"])


def test_tags_of_several_values_are_lists(root: Path) -> None:
    """However many a file gives, so that a table of them has columns of one type."""
    put_dicom(root / "images/x/a.dcm", RAMP, ImageType=["DERIVED", "SECONDARY"], WindowCenter="40", KVP="60")
    put_dicom(root / "images/y/IM0001", RAMP, ImageType="DERIVED", WindowCenter=["40", "1"])
    one, two, three = (dict(r.metadata) for r in scan(KIND, root, tags=["ImageType", "WindowCenter", "KVP"]).records)
    assert one == {"ImageType": ["DERIVED", "SECONDARY"], "WindowCenter": [40.0], "KVP": 60.0}
    assert two == {"ImageType": ["DERIVED"], "WindowCenter": [40.0, 1.0]}
    assert three == {}


def test_file_changed_since_the_listing(root: Path) -> None:
    source = Dicom(path=str(root))
    listing = source.scan(FileCache())
    path = put_dicom(root / "images/x/a.dcm", RAMP[:4])
    with pytest.raises(SourceError, match="20x4 now; expected 20x16") as caught:
        source.load(listing.records[0], listing.classes)
    assert str(path) in str(caught.value)


def test_without_pydicom(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall("pydicom", monkeypatch)
    with pytest.raises(MissingExtra, match=r"augforge\[medical\]"):
        scan(KIND, root)

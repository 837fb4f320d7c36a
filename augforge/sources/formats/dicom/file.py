"""Reading DICOM files: checking headers, and decoding frames. Errors name the file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import MissingExtra, SourceError
from augforge.sources.formats.dicom.packing import check_frames, check_inflated
from augforge.sources.scan.headers import conversion_error, damaged_error
from augforge.sources.scan.images import MAX_PIXELS, read_bytes
from augforge.sources.scan.parsing import parsing
from augforge.sources.scan.recent_files import RECENT_FILES

MAX_VOXELS = 1 << 30
"""Most voxels of all frames or slices of a file; a header that claims more is refused before anything is decoded."""

MAX_FRAMES = 1 << 16
"""Most frames of a file; each becomes a sample."""

Padding = tuple[int, int] | None
"""The least and the greatest stored value that only fill up an image, or None."""

ENDINGS = (".dcm", ".dicom", ".ima")
GRAY = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})
_PALETTE = [
    f"{begin}PaletteColorLookupTable{end}"
    for colour in ("Red", "Green", "Blue")
    for begin, end in ((colour, "Descriptor"), (colour, "Data"), (f"Segmented{colour}", "Data"))
]
_TAGS = [
    *("SOPClassUID", "SeriesInstanceUID", "PatientID", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows"),
    *("Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", *_PALETTE),
    *("PaletteColorLookupTableUID", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("DimensionIndexSequence", "SegmentSequence", "SegmentationType"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
]
"""All tags that are parsed: errors in other parts of a file do not matter."""


# ---- headers ----


def check_header(dataset: Any, path: Path) -> None:
    """Raise SourceError for pixels that, by their header, cannot be read or are more than allowed."""
    rows, columns, frames = int(dataset.Rows), int(dataset.Columns), frame_count(dataset)
    if rows < 1 or columns < 1 or frames < 1:
        raise damaged_error(path, f"its header says {frames} frames of {columns}x{rows} pixels")
    if rows * columns > MAX_PIXELS or rows * columns * frames > MAX_VOXELS or frames > MAX_FRAMES:
        raise SourceError(
            f"{path}: the header says {frames} frames of {columns}x{rows} pixels; at most {MAX_PIXELS} a frame and "
            f"{MAX_VOXELS} together are read, in {MAX_FRAMES} frames. Remove the file, or cut it into parts."
        )
    photometric, samples = str(dataset.PhotometricInterpretation), int(dataset.SamplesPerPixel)
    one = photometric in GRAY or photometric == "PALETTE COLOR"
    if photometric not in GRAY | COLOUR or samples != (1 if one else 3):
        fact = f"is a DICOM file of {samples} channels, {photometric}"
        raise conversion_error(path, fact, "Its colours have to be decided on")
    _check_bits(dataset, path)
    _check_data(dataset, path)


def _check_bits(dataset: Any, path: Path) -> None:
    """Raise SourceError unless the stored bits lie within the allocated ones."""
    if not 1 <= int(dataset.BitsStored) <= _high_bit(dataset) + 1 <= int(dataset.BitsAllocated) <= 32:
        raise damaged_error(
            path,
            f"its header says {dataset.BitsStored} of {dataset.BitsAllocated} bits, the highest {_high_bit(dataset)}",
        )
    if int(dataset.PixelRepresentation) not in (0, 1):
        raise damaged_error(path, f"its header says PixelRepresentation {dataset.PixelRepresentation}")


def _high_bit(dataset: Any) -> int:
    """The number of the highest stored bit. Codestreams such as JPEG's have no bits below the stored ones."""
    from pydicom.uid import RLELossless

    syntax, usual = dataset.file_meta.TransferSyntaxUID, int(dataset.BitsStored) - 1
    plain = _is_native(syntax) or syntax == RLELossless
    high = dataset.get("HighBit") if plain else None
    return usual if high is None else int(high)


def _check_data(dataset: Any, path: Path) -> None:
    """Raise SourceError for pixel data that is truncated, or compressed in a way that no installed decoder reads."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import get_expected_length

    syntax, held = dataset.file_meta.TransferSyntaxUID, len(dataset.PixelData)
    if _is_native(syntax):
        expected = get_expected_length(dataset)
        if held < expected:
            raise damaged_error(path, f"it has {held} bytes of pixels, not {expected}")
        return
    try:
        ready = get_decoder(syntax).is_available
    except NotImplementedError:
        ready = False
    if not ready:
        raise _undecodable_error(path, syntax, "nothing is installed that reads it")
    check_frames(dataset, path, frame_count(dataset))


def _undecodable_error(path: Path, syntax: Any, fact: str) -> SourceError:
    return SourceError(
        f"{path} is compressed as {syntax.name}, and {fact}. Install a decoder: pip install pylibjpeg "
        "pylibjpeg-libjpeg pylibjpeg-openjpeg; or decompress the file (dcmdjpeg, gdcmconv --raw), if it is not damaged."
    )


def frame_count(dataset: Any) -> int:
    """Number of frames; 1 if the file does not say."""
    return int(dataset.get("NumberOfFrames") or 1)


# ---- reading ----


def require_pydicom(what: str) -> None:
    """Raise MissingExtra if pydicom, which ``what`` needs, is not installed."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise MissingExtra("pydicom", "medical", what) from error
    warnings.filterwarnings(
        "ignore", module=r"pydicom\."
    )  # it warns of values that it repairs; what counts here is checked


def read_dataset(data: bytes, path: Path, tags: Sequence[str] = ()) -> Any:
    """The pydicom Dataset of a file's bytes, with the tags that are needed here and some more."""
    require_pydicom(f"reading {path}")
    import pydicom

    with parsing(path, "DICOM"):
        check_inflated(data, path)
        return pydicom.dcmread(io.BytesIO(data), specific_tags=[*_TAGS, *tags])


@dataclass(frozen=True, eq=False)
class DicomFile:
    """A DICOM file in memory, with its pixels still compressed. Raises SourceError for what cannot be read."""

    path: Path
    dataset: Any

    @property
    def nbytes(self) -> int:
        return len(self.dataset.PixelData)

    @property
    def photometric(self) -> str:
        return str(self.dataset.PhotometricInterpretation)

    def stored(self, frame: int) -> NDArray[Any]:
        """The stored values of a frame: (H, W), or (H, W, 3) for RGB and palette colours."""
        from pydicom.pixels.processing import apply_color_lut

        with parsing(self.path, "DICOM"):
            pixels = self._decode(frame)
            pixels = pixels if pixels.ndim == 3 else _used_bits(pixels, self.dataset)
            return apply_color_lut(pixels, self.dataset) if self.photometric == "PALETTE COLOR" else pixels

    def _decode(self, frame: int) -> NDArray[Any]:
        from pydicom.pixels.utils import pixel_array

        syntax = self.dataset.file_meta.TransferSyntaxUID
        if int(self.dataset.BitsAllocated) == 1 and _is_native(syntax):
            return _unpack_bits(self.dataset, frame)
        unused: dict[str, Any] = {"correct_unused_bits": False} if int(self.dataset.SamplesPerPixel) == 1 else {}
        try:
            # Unused bits are removed in `_used_bits`: pydicom assumes that the stored bits are the lowest ones
            return pixel_array(self.dataset, index=frame, **unused)
        except RuntimeError as error:
            if not syntax.is_compressed:
                raise
            raise _undecodable_error(
                self.path, syntax, f"cannot be decoded ({' '.join(str(error).split())})"
            ) from error

    def described(self, frame: int, sequence: str) -> Any:
        """The item that holds a frame's window, rescaling or position; in enhanced files per frame or once for all."""
        with parsing(self.path, "DICOM"):
            frames = self.dataset.get("PerFrameFunctionalGroupsSequence") or ()
            shared = self.dataset.get("SharedFunctionalGroupsSequence") or ()
            for groups in (*frames[frame : frame + 1], *shared[:1]):
                if groups.get(sequence):
                    return groups[sequence].value[0]
            return self.dataset

    def rescale(self, frame: int) -> tuple[float, float]:
        """Slope and intercept that turn stored values into a frame's units; 1 and 0 if they are missing."""
        holder = self.described(frame, "PixelValueTransformationSequence")
        with parsing(self.path, "DICOM"):
            slope, intercept = holder.get("RescaleSlope"), holder.get("RescaleIntercept")
            return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)

    def modality(self, frame: int, stored: NDArray[Any]) -> NDArray[Any]:
        """Stored values in the units that windows are given in, such as Hounsfield units (PS3.3 C.11.1)."""
        holder = self.described(frame, "PixelValueTransformationSequence")
        if holder.get("ModalityLUTSequence"):
            return self.looked_up(stored, holder.ModalityLUTSequence)[0]
        slope, intercept = self.rescale(frame)
        return stored if (slope, intercept) == (1, 0) else stored * slope + intercept

    def looked_up(self, values: NDArray[Any], tables: Any) -> tuple[NDArray[Any], int]:
        """The values in the first of some lookup tables, and the number of their bits.

        Values before the table's first or after its last entry get that entry.
        """
        with parsing(self.path, "DICOM"):
            count, first, depth = tables[0].LUTDescriptor
            count, data = count or 1 << 16, tables[0].LUTData
            if isinstance(data, bytes):
                order = "<" if self.dataset.original_encoding[1] else ">"
                data = np.frombuffer(data, f"{order}u2" if len(data) >= 2 * count else "u1")
            table = np.asarray(data)[:count]
            if len(table) < count or not 1 <= depth <= 16:
                raise damaged_error(self.path, f"a lookup table has {len(table)} entries of {depth} bits, not {count}")
            return table[np.clip(np.rint(values).astype(np.int64) - first, 0, count - 1)], depth

    @cached_property
    def least_and_greatest(self) -> tuple[float, float]:
        """The range of values of all frames, in their units, without padding around the image (C.7.5.1.1.2)."""
        ranges = [range_ for k in range(frame_count(self.dataset)) for range_ in self._value_ranges(k)]
        return (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else (0.0, 0.0)

    def _value_ranges(self, frame: int) -> list[tuple[float, float]]:
        """Least and greatest value of a frame, in its units; an empty list if all of it is padding."""
        stored = self.stored(frame)
        values = self.modality(frame, stored)[~is_padding(stored, self.padding)]
        return [(float(values.min()), float(values.max()))] if values.size else []

    @property
    def padding(self) -> Padding:
        """The least and the greatest stored value that only fill up the image, or None."""
        with parsing(self.path, "DICOM"):
            first, last = (self.dataset.get(f"PixelPadding{end}") for end in ("Value", "RangeLimit"))
            if first is None:
                return None
            low, high = sorted((int(first), int(first if last is None else last)))
            return low, high


def is_padding(stored: NDArray[Any], padding: Padding) -> NDArray[np.bool_]:
    """Where stored values only fill up the image."""
    low, high = padding or (1, 0)
    return (stored >= low) & (stored <= high)


def open_dicom(path: Path, keep: bool = False) -> DicomFile:
    """Open a listed file; ``keep`` keeps it for its next frame. Raises SourceError if it cannot be read."""
    return (
        RECENT_FILES.get(path, "dicom", lambda: _open_file(path), lambda file: file.nbytes)
        if keep
        else _open_file(path)
    )


def _open_file(path: Path) -> DicomFile:
    dataset = read_dataset(read_bytes(path), path)
    with parsing(path, "DICOM"):
        check_header(dataset, path)
    return DicomFile(path, dataset)


def _is_native(syntax: Any) -> bool:
    """Whether pixels are uncompressed, at least once the file is inflated."""
    return not syntax.is_compressed or syntax.is_deflated


def _unpack_bits(dataset: Any, frame: int) -> NDArray[np.uint8]:
    """A frame of one bit per pixel (PS3.5 8.1.1). pydicom 3.0 loses bits of frames that begin within a byte."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    start, size = frame * rows * columns, rows * columns
    held = np.frombuffer(dataset.PixelData, np.uint8)[start // 8 : (start + size + 7) // 8]
    return np.unpackbits(held, bitorder="little")[start % 8 :][:size].reshape(rows, columns)


def _used_bits(pixels: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Stored values alone: old files keep other things, such as overlays, in the bits above and below."""
    width, bits = 8 * pixels.dtype.itemsize, int(dataset.BitsStored)
    return (pixels << (width - 1 - _high_bit(dataset))) >> (width - bits) if bits < width else pixels

"""Reading volumes in NIfTI files and TIFF stacks: headers for the listing, values for loading. Errors name the file."""

from __future__ import annotations

import gzip
import logging
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import MissingExtra, SourceError
from augforge.files import file_sha256
from augforge.sources.formats.dicom.file import MAX_VOXELS, Padding, is_padding
from augforge.sources.formats.volume.grid import Grid
from augforge.sources.scan.headers import TIFF_PLAIN, check_inflated, conversion_error, damaged_error
from augforge.sources.scan.images import MAX_PIXELS
from augforge.sources.scan.parsing import parsing
from augforge.sources.scan.records import name_of

VOLUME_FACTS = "volume@3"
"""The kind of `volume_facts` in a file cache; renamed when `volume_facts` changes."""

_SPARE = 1 << 24
"""How many bytes a NIfTI file may hold after its voxels."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume in memory.

    Attributes:
        values: as stored; real numbers, three dimensions.
        slope, inter: stored value * slope + inter is the real value.
        grid: shape, and position in space.
        padding: stored values that only fill up the slices.
        stack: how it is composed of DICOM slices (`stack_slices`); None for other files.
        ranges: computed value ranges by their percentiles.
    """

    values: NDArray[Any]
    slope: float
    inter: float
    grid: Grid
    padding: Padding = None
    stack: Mapping[str, Any] | None = None
    ranges: dict[tuple[float, float], tuple[float, float]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    def real_values(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Real values of stored ones; NaN for padding."""
        values: NDArray[np.float64] = stored.astype(np.float64) * self.slope + self.inter
        values[is_padding(stored, self.padding)] = np.nan
        return values

    def range(self, percentiles: tuple[float, float]) -> tuple[float, float]:
        """Two percentiles of all real values that are finite and no padding; equal if there are none."""
        if percentiles not in self.ranges:
            counted = self._values_that_count()
            ends = np.array([0.0, 0.0])
            if counted.size:
                whole = percentiles == (0, 100)
                ends = np.array([counted.min(), counted.max()] if whole else np.percentile(counted, percentiles), float)
            low, high = sorted((ends * self.slope + self.inter).tolist())
            self.ranges[percentiles] = low, high
        return self.ranges[percentiles]

    def _values_that_count(self) -> NDArray[Any]:
        counted = self.values
        if counted.dtype.kind == "f":
            counted = counted[np.isfinite(counted)]
        elif self.padding is not None:
            counted = counted[~is_padding(counted, self.padding)]
        return counted


def volume_name(place: str, folder: str) -> str:
    """The name of a volume: its place below a folder, without .nii.gz or another suffix."""
    name = name_of(place, folder)
    return name_of(name) if place.lower().endswith(".nii.gz") else name


def is_volume(place: str) -> bool:
    """Whether a file is a volume by its suffix."""
    return _kind(place) is not None


def _kind(place: str) -> str | None:
    return next((kind for ending, kind in _KINDS.items() if place.lower().endswith(ending)), None)


def volume_facts(path: Path) -> dict[str, Any]:
    """Facts of a file for the listing, JSON-like: ``shape``, ``affine`` or None, ``bytes`` and ``sha256``.

    For a file of several volumes of that shape, such as modalities, their number is in ``volumes``. No value is
    decoded, but the file's bytes are read for the digest, and a gzip file is unpacked to its end, where its checksum
    is.
    """
    size = path.stat().st_size
    if not size:
        raise SourceError(f"{path} is empty (0 bytes). Copy it again from the original.")
    kind = _kind(path.name) or "NIfTI"
    with parsing(path, kind):
        facts = _HEADERS[kind](path, size)
    return {**facts, "bytes": size, "sha256": file_sha256(path)}


def read_volume(path: Path) -> Volume:
    """The volume in a file, or the first one, decoded as a whole."""
    return read_volumes(path, (0,))[0]


def read_volumes(path: Path, numbers: Sequence[int]) -> list[Volume]:
    """Volumes of a file by their numbers, counted from 0; the file is decoded once, as a whole."""
    kind = _kind(path.name) or "NIfTI"
    with parsing(path, kind):
        grid = Grid.of(_HEADERS[kind](path, path.stat().st_size))
        values, slope, inter = _VALUES[kind](path)
        if values.shape[:3] != grid.shape:
            raise damaged_error(path, f"its values have shape {values.shape}, its header says {grid.shape}")
        held = values.reshape(*grid.shape, -1)
        alone = held.shape[3] == 1
        return [Volume(held[..., k] if alone else held[..., k].copy("K"), slope, inter, grid) for k in numbers]


def check_shape(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], volumes: int = 1) -> None:
    """Raise SourceError unless volumes have three dimensions of real numbers, and are not too large."""
    if len(shape) != 3 or min(*shape, volumes) < 1:
        raise SourceError(
            f"{path} has the dimensions {list(shape)}; expected three. Save each volume of a series in a file of its "
            "own, and single pictures for another format (augforge sources)."
        )
    if dtype.kind not in "iufb":
        raise conversion_error(
            path, f"holds values of type {dtype}", "Colours and complex numbers have to be decided on"
        )
    if np.prod(shape, dtype=float) * volumes > MAX_VOXELS or np.prod(sorted(shape)[1:], dtype=float) > MAX_PIXELS:
        several = f" in each of {volumes} volumes" if volumes > 1 else ""
        raise SourceError(
            f"{path}: the header says {list(shape)} voxels{several}; at most {MAX_VOXELS} are read, {MAX_PIXELS} "
            "a slice. Remove the file, or cut the volume into parts."
        )


# ---- NIfTI -----------------------------------------------------------------------------------------------------------


def _nifti(path: Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra("nibabel", "medical", f"reading {path}") from error
    logging.getLogger("nibabel").setLevel(
        logging.CRITICAL
    )  # it warns of headers that it repairs; what counts here is checked below
    image = nibabel.load(path, mmap=False)
    if not isinstance(image, nibabel.Nifti1Image | nibabel.Nifti2Image):
        raise damaged_error(path, f"it is {type(image).__name__} and no NIfTI")
    return image


def _nifti_header(path: Path, size: int) -> dict[str, Any]:
    image = _nifti(path)
    shape, dtype, proxy = tuple(image.shape), image.get_data_dtype(), image.dataobj
    several = [side for side in shape[3:] if side != 1]  # modalities or times are in one of the further dimensions
    check_shape(path, shape if len(several) > 1 else shape[:3], dtype, *several[:1])
    needed = int(proxy.offset) + int(np.prod(shape)) * dtype.itemsize
    held = _gzip_size(path, needed) if path.suffix.lower() == ".gz" else size
    if held < needed:
        raise damaged_error(path, f"it has {held} bytes, not {needed}")
    affine = np.asarray(image.affine, float)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not abs(np.linalg.det(affine)) > 0:
        raise damaged_error(path, f"its affine is {affine.tolist()}, which places no volume")
    volumes = {"volumes": int(several[0])} if several else {}
    return {"shape": [int(side) for side in shape[:3]], "affine": affine.tolist(), **volumes}


def _gzip_size(path: Path, needed: int) -> int:
    """Unpacked size of a gzip file, which is unpacked to its end, where its checksum is; refused if too large."""
    held = 0
    with gzip.open(path) as unpacked:
        while block := unpacked.read(1 << 20):
            held += len(block)
            if held > needed + _SPARE:
                raise damaged_error(path, f"it unpacks to more than {needed} bytes, which its header tells")
    return held


def _nifti_values(path: Path) -> tuple[NDArray[Any], float, float]:
    image = _nifti(path)
    values = np.asarray(image.dataobj.get_unscaled())
    return values, float(image.dataobj.slope), float(image.dataobj.inter)


# ---- TIFF ------------------------------------------------------------------------------------------------------------


def _tiff_header(path: Path, size: int) -> dict[str, Any]:
    import tifffile

    with tifffile.TiffFile(path, _multifile=False) as file:
        series, page = file.series, file.series[0].keyframe
        axes = series[0].axes
        if len(series) == len(file.pages) == 1 and axes == "YX":
            raise SourceError(
                f"{path} is a TIFF of one page; expected a stack. Read pictures as another format (augforge sources), "
                "or remove it."
            )
        if len(series) != 1 or len(axes) != 3 or axes[1:] != "YX" or page.photometric != 1:
            shapes = ", ".join(f"{one.axes} {list(one.shape)}" for one in series)
            raise conversion_error(
                path, f"holds {shapes}, {getattr(page.photometric, 'name', '?')}", "Save a gray stack"
            )
        check_shape(path, series[0].shape, series[0].dtype)
        if page.compression not in TIFF_PLAIN:
            _require_codecs(path, page)
        if not _chain_is_whole(file, size) or _pixels_end(series[0]) > size:
            raise damaged_error(path, f"the TIFF ends at byte {size}, before its pages do")
        return {"shape": list(series[0].shape), "affine": None}


def _require_codecs(path: Path, page: Any) -> None:
    if find_spec("imagecodecs") is None:
        raise SourceError(
            f"{path} is compressed by {getattr(page.compression, 'name', '?')}, and nothing is installed that reads "
            "it. Install it: pip install imagecodecs; or save the stack with deflate."
        )


def _chain_is_whole(file: Any, size: int) -> bool:
    """Whether the chain of pages ends properly: tifffile silently skips the pages that a truncated file lost."""
    form, stream, offset, seen = file.tiff, file.filehandle, file.pages[0].offset, set[int]()
    while offset and offset not in seen:
        seen.add(offset)
        if offset + form.tagnosize > size:
            return False
        stream.seek(offset)
        (count,) = struct.unpack(form.tagnoformat, stream.read(form.tagnosize))
        stream.seek(count * form.tagsize, 1)
        following = stream.read(form.offsetsize)
        if len(following) < form.offsetsize:
            return False
        (offset,) = struct.unpack(form.offsetformat, following)
    return True


def _pixels_end(series: Any) -> int:
    if series.dataoffset is not None:
        return int(series.dataoffset + series.nbytes)
    return max((start + count for start, count in _strips(series)), default=0)


def _strips(series: Any) -> Iterator[tuple[int, int]]:
    """Where each strip or tile of the pages begins, and how many bytes it has."""
    for page in series.pages:
        if page is not None:
            yield from zip(page.dataoffsets, page.databytecounts, strict=True)


def _tiff_values(path: Path) -> tuple[NDArray[Any], float, float]:
    import tifffile

    with tifffile.TiffFile(path, _multifile=False) as file:
        check_inflated(file.series[0].keyframe, _stored_strips(file), path)
        return file.series[0].asarray(), 1.0, 0.0


def _stored_strips(file: Any) -> Iterator[bytes]:
    """The strips or tiles of the pages."""
    for start, count in _strips(file.series[0]):
        file.filehandle.seek(start)
        yield file.filehandle.read(count)


_KINDS = {".nii": "NIfTI", ".nii.gz": "NIfTI", ".tif": "TIFF", ".tiff": "TIFF"}
_HEADERS: Mapping[str, Callable[[Path, int], dict[str, Any]]] = {"NIfTI": _nifti_header, "TIFF": _tiff_header}
_VALUES: Mapping[str, Callable[[Path], tuple[NDArray[Any], float, float]]] = {
    "NIfTI": _nifti_values,
    "TIFF": _tiff_values,
}

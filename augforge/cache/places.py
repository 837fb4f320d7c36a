"""Files of a work area, in a folder or behind a URL: reading, size, listing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from augforge.errors import DatasetError, StorageError, first_line
from augforge.files import is_url
from augforge.urls.access import naming
from augforge.urls.reading import Range, list_objects, read_if_there, read_ranges, size_if_there


def read_place(place: Path | str) -> bytes:
    """The bytes of a file, or of what is behind a URL, where nothing has none.

    Raises:
        OSError: there is no such file.
        DatasetError: the URL does not answer.
    """
    if isinstance(place, Path):
        return place.read_bytes()
    with naming(place):
        return read_if_there(place) or b""


def size_of_place(place: str) -> int:
    """Size in bytes of a file, or of what is behind a URL, where nothing has 0; raises as `read_place` does."""
    if not is_url(place):
        return Path(place).stat().st_size
    with naming(place):
        return size_if_there(place)


def files_in(work: Path | str, suffix: str) -> Sequence[Path | str]:
    """The files of a work area whose names end so, sorted: paths, or URLs if it is a URL."""
    if not is_url(work):
        return sorted(Path(work).glob(f"*{suffix}"))
    with naming(str(work)):
        return [f"{work}/{name}" for name in sorted(list_objects(str(work))) if name.endswith(suffix)]


def read_pair(url: str, first: Range, second: Range) -> tuple[bytes, bytes]:
    """Two parts of an object, in one request if they lie side by side.

    Raises:
        DatasetError: the object is gone, or ends before they do.
        StorageError: the store does not answer, so that nothing is known of them.
    """
    side_by_side = first.end == second.start
    ranges = [Range(first.start, first.length + second.length)] if side_by_side else [first, second]
    try:
        data = b"".join(read_ranges(url, ranges))
    except (FileNotFoundError, EOFError) as error:
        raise DatasetError(f"{url} is missing, or was cut off ({first_line(error)})") from error
    except Exception as error:  # each file system raises what its client raises
        raise StorageError(
            f"{url} cannot be read ({type(error).__name__}: {first_line(error)}). Check the network, then run the same "
            "command again"
        ) from error
    return data[: first.length], data[first.length :]

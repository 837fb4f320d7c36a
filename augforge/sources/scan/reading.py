"""Reading many files at once: large ones in threads, while small ones are read by whoever asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

_CHUNK = 256
_LARGE = 1 << 16
"""Bytes of the smallest file that is read in a thread; handing a smaller one over takes longer than reading it."""

File = TypeVar("File")
Read = Callable[[], Any]


def readers_of(
    files: Iterable[File],
    path_of: Callable[[File], Path],
    is_known: Callable[[Path], bool],
    read: Callable[[Path], Any],
) -> Iterator[tuple[File, Read]]:
    """Each file with a function that gives what was read: a thread reads a large file already, the function a small.

    Args:
        files: in the order in which they come out.
        path_of: the path of a file.
        is_known: whether reading it takes no time, as it was read before.
        read: reads one; what it raises is raised by the function that is given.
    """
    rest = iter(files)
    with ThreadPoolExecutor(4) as pool:
        while chunk := list(islice(rest, _CHUNK)):
            readers = [_begin(pool, path_of(file), is_known, read) for file in chunk]
            yield from zip(chunk, readers, strict=True)


def _begin(pool: ThreadPoolExecutor, path: Path, is_known: Callable[[Path], bool], read: Callable[[Path], Any]) -> Read:
    if _takes_time(path, is_known):
        return pool.submit(read, path).result
    return partial(read, path)


def _takes_time(path: Path, is_known: Callable[[Path], bool]) -> bool:
    try:
        return path.stat().st_size >= _LARGE and not is_known(path)
    except OSError:  # whoever reads it reports it
        return False

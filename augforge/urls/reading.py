"""Reading objects: in ranges that are fetched side by side, and tried again where a connection stalls or breaks off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augforge.urls.access import attempt, open_file_system

BLOCK = 8 << 20
"""Bytes of an object that are fetched at once."""
CONNECTIONS = 4
"""Blocks that are fetched at a time."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of an object: from `start`, as many as `length`."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.length


def size_of(url: str) -> int | None:
    """Size of an object in bytes; None if the server does not tell it. FileNotFoundError if there is none."""
    file_system, path = open_file_system(url)
    file_system.invalidate_cache()
    size: int | None = attempt(lambda: file_system.size(path))
    return size


def size_if_there(url: str) -> int:
    """Size of an object in bytes; 0 if there is none, or if the server does not tell it."""
    try:
        return size_of(url) or 0
    except FileNotFoundError:
        return 0


def exists(url: str) -> bool:
    """Whether there is an object, or something below the URL."""
    file_system, path = open_file_system(url)
    file_system.invalidate_cache()
    try:  # fsspec's own `exists` takes every error for an absent object
        attempt(lambda: file_system.info(path))
    except FileNotFoundError:
        return False
    return True


def read_object(url: str) -> bytes:
    """All bytes of a small object, as they are now."""
    file_system, path = open_file_system(url)
    file_system.invalidate_cache()
    data: bytes = attempt(lambda: file_system.cat_file(path))
    return data


def read_if_there(url: str) -> bytes | None:
    """All bytes of a small object, as they are now; None if there is none."""
    try:
        return read_object(url)
    except FileNotFoundError:
        return None


def list_names(url: str) -> list[str]:
    """The names of what lies directly below a URL. FileNotFoundError if there is nothing."""
    file_system, path = open_file_system(url.rstrip("/"))
    file_system.invalidate_cache()
    found: list[str] = attempt(lambda: file_system.ls(path, detail=False))
    return [name.rstrip("/").rpartition("/")[2] for name in found]


def list_objects(url: str) -> dict[str, int]:
    """All objects below a URL: their sizes by their names, relative to it. Empty if there is nothing."""
    file_system, path = open_file_system(url.rstrip("/"))
    file_system.invalidate_cache()
    found: dict[str, dict[str, Any]] = attempt(lambda: file_system.find(path, detail=True))
    root = path.rstrip("/") + "/"
    return {name[len(root) :]: int(info["size"] or 0) for name, info in found.items() if name.startswith(root)}


def read_ranges(url: str, ranges: Sequence[Range]) -> list[bytes]:
    """Several parts of an object, fetched side by side.

    Raises:
        EOFError: the object ends before a range does, at each of several attempts.
    """
    file_system, path = open_file_system(url)
    if len(ranges) == 1:
        return [_read_range(file_system, path, ranges[0])]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(lambda wanted: _read_range(file_system, path, wanted), ranges))


def _read_range(file_system: Any, path: str, wanted: Range, size: int | None = None) -> bytes:
    """A part of an object; of a server that knows no ranges, it is cut out of the whole.

    Args:
        file_system, path: of the object.
        wanted: the part.
        size: of the object, if it is known.
    """
    if wanted.length == 0:
        return b""

    def read() -> bytes:
        data: bytes = file_system.cat_file(path, start=wanted.start, end=wanted.end)
        if len(data) > wanted.length and (size is None or len(data) == size):
            data = data[wanted.start : wanted.end]
        if len(data) != wanted.length:  # a connection that was cut may look like the end of the object
            raise EOFError(f"{len(data)} bytes came of {wanted.length} from byte {wanted.start}")
        return data

    return attempt(read)


def download(url: str, part: Path) -> None:
    """Fetch an object into a file, after the bytes that the file holds already.

    Args:
        url: of the object.
        part: the file; what an earlier download left in it is believed, so the caller compares a digest.
    """
    file_system, path = open_file_system(url)
    size: int | None = attempt(lambda: file_system.size(path))
    if size is None:  # of a server that does not say where an object ends
        part.write_bytes(read_object(url))
        return
    done = part.stat().st_size if part.exists() else 0
    if done > size:
        part.unlink()
        done = 0
    with part.open("ab") as stream:
        for block in _read_blocks(file_system, path, list(_blocks(done, size)), size):
            stream.write(block)
            stream.flush()  # so that a killed download goes on from here


def _blocks(start: int, end: int) -> Iterator[Range]:
    return (Range(at, min(BLOCK, end - at)) for at in range(start, end, BLOCK))


def _read_blocks(file_system: Any, path: str, blocks: Sequence[Range], size: int) -> Iterator[bytes]:
    """Blocks in order, with some fetched ahead, so that memory holds a few of them whatever the object's size."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        ahead = [pool.submit(_read_range, file_system, path, block, size) for block in blocks[:CONNECTIONS]]
        try:
            for number in range(len(blocks)):
                yield ahead.pop(0).result()
                if number + CONNECTIONS < len(blocks):
                    ahead.append(pool.submit(_read_range, file_system, path, blocks[number + CONNECTIONS], size))
        finally:
            for future in ahead:
                future.cancel()

"""A tar archive whose files are compared with stated digests while they are written, and that is the same each time."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from augforge.errors import AugforgeError, DatasetError
from augforge.files import make_folder, open_named, remove_temporary_files, replacing, sync_folder, writing

_TIME = 315_532_800  # 1980-01-01, the same for all files; tar warns of 1970
_COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive.

    Attributes:
        name: in the archive.
        source: its content, or the file that has it.
        size, sha256: what they have to be; None if nobody says.
    """

    name: str
    source: Path | bytes
    size: int | None = None
    sha256: str | None = None


class Sink(io.RawIOBase):
    """Passes an archive on to a stream.

    Attributes:
        size, digest: bytes of the archive, and their SHA-256.
        content: bytes of the files in it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.size, self.content, self.digest = stream, 0, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]  # tarfile writes bytes alone
        """Write bytes."""
        self._stream.write(data)
        self.size += len(data)
        self.digest.update(data)
        return len(data)


class _CheckedReader(io.RawIOBase):
    """Reads a file, and keeps the digest of what was read; DatasetError if it cannot be read."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path, self.stream, self.digest = path, stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        try:
            data = self.stream.read(size)
        except OSError as error:  # a failing read names no file, and would pass for a failing write of the archive
            raise DatasetError(f"{self.path} cannot be read ({error.strerror}). Check its disk") from error
        self.digest.update(data)
        return data


def check_archive_name(out: Path) -> None:
    """Raise AugforgeError if a path cannot be that of a plain tar archive."""
    if out.suffix.lower() in _COMPRESSED:
        raise AugforgeError(
            f"{out} would be a compressed archive, and only plain tar is written: images and masks are compressed "
            f"already. Name it {out.name.partition('.')[0]}.tar"
        )
    if out.is_dir():
        raise AugforgeError(f"{out} is a folder. Name the archive to write, such as {out / 'dataset.tar'}")


@contextmanager
def archive_file(out: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file when the block succeeds; what a killed process left there is deleted.

    Raises:
        AugforgeError: another process is writing the same archive.
        StorageError: it cannot be written.
    """
    lock = out.with_name(f".{out.name}.lock")
    try:
        with writing(lock):
            make_folder(out.absolute().parent)
            held = FileLock(lock, timeout=0).acquire()
    except Timeout:
        raise AugforgeError(
            f"another process is writing {out}. Wait until it has ended, or name another file"
        ) from None
    try:
        with held:
            remove_temporary_files(out.parent, f"{out.name}.*")
            with replacing(out, durable=True) as temporary, open_named(temporary) as stream:
                yield stream
            sync_folder(out.absolute().parent)
    finally:
        with suppress(OSError):  # somebody else may have it by now
            lock.unlink(missing_ok=True)


def write_members(stream: BinaryIO, members: Iterable[Member]) -> Sink:
    """Write an archive. Files have no owner and one fixed time, so the same members give the same bytes.

    Raises:
        DatasetError: a file has another size or digest than it should, or cannot be read. It is named.
        FileNotFoundError: a file is missing.
    """
    sink = Sink(stream)
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            sink.content += _add(archive, member)
    return sink


def _add(archive: tarfile.TarFile, member: Member) -> int:
    """Add a file; its number of bytes."""
    info = tarfile.TarInfo(member.name)
    info.mtime, info.mode = _TIME, 0o644
    if isinstance(member.source, bytes):
        info.size = len(member.source)
        archive.addfile(info, io.BytesIO(member.source))
        return info.size
    with member.source.open("rb") as stream:
        info.size = os.fstat(stream.fileno()).st_size
        if member.size not in (None, info.size):
            raise DatasetError(f"{member.source} is damaged: it has {info.size} bytes, the manifest says {member.size}")
        reader = _CheckedReader(member.source, stream)
        archive.addfile(info, reader)
    if member.sha256 not in (None, reader.digest.hexdigest()):
        raise DatasetError(f"{member.source} is damaged: its SHA-256 is not the manifest's")
    return info.size

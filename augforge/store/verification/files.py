"""The files of a dataset that is verified, in a folder or behind a URL."""

from __future__ import annotations

from pathlib import Path

from augforge.errors import DatasetError
from augforge.files import file_sha256, is_url, read_limited
from augforge.store.manifest import MAX_BYTES, Manifest, read_manifest, versions
from augforge.store.remote import Remote
from augforge.store.verification.report import Fault
from augforge.store.versions import find_version


class DatasetFiles:
    """The files of a dataset: where they lie, how messages name them, and what is wrong with their bytes.

    Files behind a URL are fetched unless there is an intact copy; then the size of the remote file is compared.
    """

    def __init__(self, place: str | Path) -> None:
        self.remote = Remote(str(place)) if is_url(place) else None
        self.folder = self.remote.folder if self.remote else Path(place).expanduser()

    def display_path(self, path: str) -> str:
        """A file as messages name it: its URL, or its path in the dataset's folder."""
        return self.remote.url_of(path) if self.remote else path

    def read_manifest(self, version: str | None = None) -> Manifest:
        """The manifest of a version or the current one; DatasetError if it cannot be read."""
        return self.remote.fetch_manifest(version) if self.remote else read_manifest(self.folder, version)

    def find_version(self, version: str) -> str:
        """The whole name of a version that is given by a tag, or by its beginning; DatasetError for no such one."""
        return self.remote.fetch_manifest(version).version if self.remote else find_version(self.folder, version)

    def versions(self) -> list[str]:
        """All versions."""
        return self.remote.list_versions() if self.remote else versions(self.folder)

    def read_text_file(self, path: str) -> bytes | None:
        """The bytes of a small file that is fetched anew each time; None if there is none."""
        if self.remote is not None and not self.remote.fetch_anew(path):
            return None
        try:
            return read_limited(self.folder / path, MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError:  # a pipe, a folder, or far too large: it has no seal
            return b""

    def byte_faults(self, path: str, size: int | None, sha256: str) -> list[Fault]:
        """What is wrong with the bytes of a file: that it is missing, or its size or its SHA-256; empty if nothing is.

        Args:
            path: relative to the dataset.
            size: in bytes; None if the manifest does not state it.
            sha256: as the manifest states it.
        """
        shown = self.display_path(path)
        try:
            return self._remote_faults(path, size, sha256) or _local_faults(self.folder / path, shown, size, sha256)
        except OSError as error:
            return [Fault(shown, "damaged", f"cannot be read: {error.strerror}")]

    def _remote_faults(self, path: str, size: int | None, sha256: str) -> list[Fault]:
        if self.remote is None:
            return []
        shown = self.display_path(path)
        try:
            found = self.remote.size_of(path)
            if size is not None and found not in (None, size):
                return [Fault(shown, "damaged", f"has {found} bytes, the manifest says {size}")]
            self.remote.fetch_intact_shard(path, sha256)
        except DatasetError as error:
            if " holds no " in str(error):
                return [Fault(shown, "missing", "is missing")]
            return [Fault(shown, "damaged", str(error).removeprefix(shown).strip())]
        return []


def _local_faults(file: Path, shown: str, size: int | None, sha256: str) -> list[Fault]:
    if not file.exists():
        return [Fault(shown, "missing", "is missing")]
    found = file.stat().st_size
    if size is not None and found != size:
        return [Fault(shown, "damaged", f"has {found} bytes, the manifest says {size}")]
    if file_sha256(file) != sha256:
        return [Fault(shown, "damaged", "its SHA-256 is not the manifest's; its bytes were changed")]
    return []

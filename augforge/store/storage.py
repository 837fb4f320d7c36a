"""Where a dataset that is written to lies: in a folder, or behind a URL with a folder that mirrors its small files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from augforge.cache.filecache import FileCache
from augforge.errors import DatasetError
from augforge.files import is_url, write_text
from augforge.store.card import write_card
from augforge.store.copies import cache_folder
from augforge.store.log import LOG, append_entry
from augforge.store.manifest import Manifest, read_manifest, write_manifest
from augforge.store.remote import Remote
from augforge.store.shard import is_intact
from augforge.store.tags import TAGS, write_tags
from augforge.urls.access import naming
from augforge.urls.reading import list_objects, read_if_there
from augforge.urls.writing import AnotherCommit, check_writable, put_file, replace_object

MANIFEST = "manifest.yaml"
LOG_ATTEMPTS = 5


def open_storage(place: str | Path) -> Storage:
    """The storage of a dataset: its folder, or its URL.

    Raises:
        DatasetError: nothing can be written to such a URL.
        MissingExtra: the package for such URLs is not installed.
    """
    return UrlStorage(str(place)) if is_url(place) else Storage(Path(place).expanduser())


class Storage:
    """A dataset's folder.

    Attributes:
        folder: where files are written and small ones read on this machine.
        place: of the dataset, as messages name it.
        work: the work area, a folder or a URL.
        is_far: whether it lies behind a URL.
    """

    is_far = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)
        self.work: Path | str = folder / "work"

    def pull(self) -> None:
        """Bring the small files in `folder` up to date with the dataset."""

    def locate(self, path: str) -> str:
        """Where a file of the dataset is read from: a path or a URL."""
        return str(self.folder / path)

    def size_of(self, path: str) -> int | None:
        """Size in bytes of a file of the dataset; None if it is not there."""
        file = self.folder / path
        return file.stat().st_size if file.exists() else None

    def has(self, path: str, size: int, sha256: str, files: FileCache) -> bool:
        """Whether a shard is there as the manifest states it; it is hashed unless it is known to be untouched."""
        return is_intact(self.folder / path, size, sha256, files)

    def deliver(self, path: str) -> None:
        """See that a file that was written in `folder` is in the dataset."""

    def commit(self, manifest: Manifest) -> None:
        """Make a new version the current one; all that it names was delivered."""
        write_manifest(self.folder, manifest)
        self._present(manifest)

    def make_current(self, manifest: Manifest, text: str) -> None:
        """Make a version the current one whose manifest was written before, as this text."""
        write_text(self.folder / MANIFEST, text)
        self._present(manifest)

    def _present(self, manifest: Manifest) -> None:
        write_card(self.folder, manifest)
        self.announce(manifest.version)

    def replace_tags(self, tags: dict[str, str]) -> None:
        """Write the tags, and note them in the log, by which `augforge verify` sees that the file was lost."""
        write_tags(self.folder, tags)
        self.deliver(TAGS)
        self.append_log({"version": None, "tags": tags})

    def announce(self, version: str) -> None:
        """See that the version whose manifest and card are in `folder` is the dataset's current one."""

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let errors name the dataset's place where they name the folder that mirrors it."""
        try:
            yield
        except DatasetError as error:
            if type(error) is not DatasetError or self.place == str(self.folder):
                raise
            raise DatasetError(str(error).replace(str(self.folder), self.place)) from None

    def append_log(self, entry: Mapping[str, Any]) -> None:
        """Append an entry to the dataset's log."""
        append_entry(self.folder, entry)


class UrlStorage(Storage):
    """A dataset behind a URL that fsspec writes to.

    The folder, one per URL in the cache folder of this machine, mirrors manifests, tables, tags and log. Shards are
    written there and sent away at once. Objects appear whole, and in the order of a local commit: shards and tables,
    then ``versions/<version>.yaml``, then ``manifest.yaml``, if it is still the one that this process has read.
    """

    is_far = True

    def __init__(self, url: str) -> None:
        check_writable(url)
        self._remote = Remote(url)
        plain = url.rstrip("/")
        super().__init__(cache_folder() / "written" / self._remote.folder.name)
        self.place, self.work = plain, f"{plain}/work"
        self._before: bytes | None = None
        self._sizes: dict[str, int] | None = None

    def pull(self) -> None:
        """Bring manifests, tables, tags and log in `folder` up to date.

        Raises:
            DatasetError: the URL cannot be read, or holds something else than a dataset.
        """
        mirror = Remote(self.place, self.folder)
        self._sizes = None
        names = mirror.fetch_texts()
        there = (self.folder / MANIFEST).exists()
        self._before = (self.folder / MANIFEST).read_bytes() if there else None
        if not there and (foreign := self._foreign_names()):
            raise DatasetError(
                f"{self.place} is not empty and holds no dataset, but {', '.join(foreign[:3])}. Choose another URL"
            )
        for name in names:
            with suppress(DatasetError):  # an older version that cannot be read costs time, never a build
                self._pull_tables(mirror, read_manifest(self.folder, name))

    def _pull_tables(self, mirror: Remote, manifest: Manifest) -> None:
        for entry in manifest.files:
            mirror.fetch_intact_shard(entry.path, entry.sha256)

    def _foreign_names(self) -> list[str]:
        own = {"work", "shards", "index", "versions", "README.md", LOG, f"{MANIFEST}.lock"}
        with naming(self.place):
            return sorted({name.partition("/")[0] for name in list_objects(self.place)} - own)

    def locate(self, path: str) -> str:
        """The URL of a file of the dataset."""
        return f"{self.place}/{path}"

    def size_of(self, path: str) -> int | None:
        """Size in bytes of an object of the dataset, as it was when `pull` was called; None if there was none."""
        if self._sizes is None:
            with naming(self.place):
                self._sizes = list_objects(self.place)
        return self._sizes.get(path)

    def has(self, path: str, size: int, sha256: str, files: FileCache) -> bool:
        """Whether there is an object of this name, which is that of its content, and of this size."""
        return self.size_of(path) == size

    def deliver(self, path: str) -> None:
        """Send a file; a shard is deleted here then, since nothing on this machine needs it."""
        with naming(self.locate(path), deed="written"):
            put_file(self.folder / path, self.locate(path))
        if path.startswith("shards/"):
            (self.folder / path).unlink()

    def announce(self, version: str) -> None:
        """Send the manifest, unless somebody else has made another version current since `pull`; then the card.

        Raises:
            DatasetError: another command has.
            StorageError: the URL cannot be written.
        """
        self.deliver(f"versions/{version}.yaml")
        text = (self.folder / MANIFEST).read_bytes()
        try:
            with naming(self.locate(MANIFEST), deed="written"):
                replace_object(self.locate(MANIFEST), text, self._before)
        except AnotherCommit:
            raise DatasetError(
                f"{self.place}: another command has made another version current while this one ran. What this one "
                "made is kept there: run it again"
            ) from None
        self._before = text
        self.deliver("README.md")

    def append_log(self, entry: Mapping[str, Any]) -> None:
        """Append an entry to the log behind the URL, beside what others append now."""
        url = self.locate(LOG)
        for attempts_left in reversed(range(LOG_ATTEMPTS)):
            with naming(url, deed="written"):
                before = read_if_there(url)
                (self.folder / LOG).write_bytes(before or b"")
                append_entry(self.folder, entry)
                try:
                    return replace_object(url, (self.folder / LOG).read_bytes(), before)
                except AnotherCommit:
                    if not attempts_left:
                        raise
        return None

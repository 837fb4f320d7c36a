"""Packing one version of a dataset for somebody else: a tar archive of its files alone, checked while it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import polars as pl

from augforge.errors import DatasetError
from augforge.progress import Progress, Silent
from augforge.store.archive import Member, archive_file, check_archive_name, write_members
from augforge.store.card import card_text
from augforge.store.contents import version_files
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import read_manifest
from augforge.store.tags import TAGS, read_tags, tags_text
from augforge.store.versions import removed_version


@dataclass(frozen=True, slots=True)
class PackSummary:
    """What an archive holds.

    Attributes:
        name, version, samples: of the dataset.
        path: of the archive, ``-`` for a stream; its files are in the folder ``folder``.
        files, bytes: number and total size of the files.
        archive_bytes, archive_sha256: of the archive itself.
        metadata: names of the metadata columns that go along; they may be personal data.
        tags: names of this version that go along.
        unchecked: files whose digest the manifest does not have, as in format 1.
    """

    name: str
    version: str
    samples: int
    path: str
    folder: str
    files: int
    bytes: int
    archive_bytes: int
    archive_sha256: str
    metadata: list[str]
    tags: list[str]
    unchecked: list[str]


def pack(
    place: str | Path, out: str | Path | BinaryIO, version: str | None = None, progress: Progress | None = None
) -> PackSummary:
    """Write one version of a dataset into a tar archive, which unpacks to a dataset with that version alone.

    The archive holds the manifest, the tables, the shards, the card and the tags of the version: no work area, no other
    version, and no log, which says where and by whom it was built. The same version gives the same bytes: files
    are sorted, with the manifest last, so that an archive that was cut off unpacks to no dataset at all. Nothing is
    compressed, since images and masks are already.

    Args:
        place: folder of the dataset, or its URL.
        out: the archive, which appears when it is complete; or a binary stream to write to.
        version: a tag, a version, or the beginning of one; None for the current one.
        progress: advances with each file.

    Raises:
        DatasetError: there is no dataset, no such version, or a file is missing or damaged, which is named.
        StorageError: the archive cannot be written.
        AugforgeError: the archive's name is that of a compressed one, or another process writes to it.
    """
    path = Path(out) if isinstance(out, (str, Path)) else None
    if path is not None:
        check_archive_name(path)
    dataset = open_dataset(place, version)
    members, progress = _members(dataset, version), progress or Silent()
    folder = dataset.name if re.fullmatch(r"\w[\w .@+-]*", dataset.name) else "dataset"
    progress.start("pack", len(members))
    try:
        with archive_file(path) if path is not None else nullcontext(out) as stream:
            sink = write_members(stream, _prepared(dataset, members, folder, progress))  # type: ignore[arg-type]
    except (FileNotFoundError, DatasetError) as error:
        raise _not_packed(dataset, error) from error
    return PackSummary(
        name=dataset.name,
        version=dataset.version,
        samples=len(dataset),
        path="-" if path is None else str(path),
        folder=folder,
        files=len(members),
        bytes=sink.content,
        archive_bytes=sink.size,
        archive_sha256=sink.digest.hexdigest(),
        metadata=_metadata_columns(dataset),
        tags=sorted(_tags_of(dataset)),
        unchecked=[each.name for each in members if isinstance(each.source, Path) and each.sha256 is None],
    )


def _metadata_columns(dataset: Dataset) -> list[str]:
    """The names of the metadata that samples carry, from the index: manifests of format 1 do not say them."""
    kind = dataset.index.schema.get("metadata")
    return [field.name for field in kind.fields] if isinstance(kind, pl.Struct) else []


def _members(dataset: Dataset, version: str | None) -> list[Member]:
    """All files of the archive in order: sorted, with the manifest last."""
    manifest = dataset.manifest
    text = _manifest_text(dataset, version)
    made = {"README.md": card_text(manifest), "manifest.yaml": text, f"versions/{manifest.version}.yaml": text}
    if tags := _tags_of(dataset):
        made[TAGS] = tags_text(tags)
    # Format 1 has a digest of shards and index alone.
    stated: dict[str, tuple[int | None, str | None]] = {manifest.index_path: (None, manifest.index_sha256)}
    stated |= {entry.path: (entry.bytes, entry.sha256) for entry in manifest.entries()}
    stored = [name for name in version_files(manifest) if name not in made and (name in stated or _has(dataset, name))]
    members = [Member(name, text.encode()) for name, text in made.items()]
    members += [Member(name, dataset.folder / name, *stated.get(name, (None, None))) for name in stored]
    return sorted(members, key=lambda member: (member.name == "manifest.yaml", member.name))


def _manifest_text(dataset: Dataset, version: str | None) -> str:
    """The text of the manifest that was opened; DatasetError if another one has taken its place meanwhile."""
    own = dataset.folder / "versions" / f"{dataset.version}.yaml"
    # Behind a URL, the copy that was fetched just now is the right one.
    path = own if own.exists() and (version or not dataset.remote) else dataset.folder / "manifest.yaml"
    with suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8")
        if read_manifest(dataset.folder, dataset.version if path == own else None) == dataset.manifest:
            return text
    raise removed_version(dataset.folder, dataset.version) or DatasetError(
        f"{path} was changed while the dataset was packed. Pack it again"
    )


def _tags_of(dataset: Dataset) -> dict[str, str]:
    """The tags that name this version; none behind a URL, where nobody asks for them."""
    tags = {} if dataset.remote else read_tags(dataset.folder)
    return {name: version for name, version in tags.items() if version == dataset.version}


def _has(dataset: Dataset, name: str) -> bool:
    """Whether there is a table of which the manifest says nothing; behind a URL only two are asked for."""
    manifest = dataset.manifest
    if dataset.remote:
        return name in (manifest.rejected_path, manifest.stages_path)
    return (dataset.folder / name).exists()


def _prepared(dataset: Dataset, members: list[Member], folder: str, progress: Progress) -> Iterator[Member]:
    """The members as the archive names them; those behind a URL are fetched first."""
    for member in members:
        if dataset.remote is not None and isinstance(member.source, Path):
            _fetch(dataset, member)
        yield replace(member, name=f"{folder}/{member.name}")
        progress.advance(1)


def _fetch(dataset: Dataset, member: Member) -> None:
    remote, manifest = dataset.remote, dataset.manifest
    assert remote is not None
    if member.sha256:
        remote.fetch_intact_shard(member.name, member.sha256)
    elif member.name == manifest.rejected_path:
        remote.fetch_rejected(manifest)
    else:
        remote.fetch_stages(manifest)


def _not_packed(dataset: Dataset, error: FileNotFoundError | DatasetError) -> DatasetError:
    """The error for a file that is missing or damaged: what it is, and what to do about it."""
    if dataset.remote is not None:
        return DatasetError(f"{error}, so nothing was packed. {dataset.remote.remedy}")
    remedy = f"so nothing was packed. See what else is: augforge verify {dataset.folder}"
    if isinstance(error, FileNotFoundError):
        missing = DatasetError(f"{error.filename} is missing, {remedy}")
        return removed_version(dataset.folder, dataset.version) or missing
    return DatasetError(f"{error}, {remedy}")

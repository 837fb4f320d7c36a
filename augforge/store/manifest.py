"""The manifest: what a dataset version is. Written last, atomically: it is the commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from augforge.errors import DatasetError, nearest
from augforge.files import write_text
from augforge.keys import canonical_json, digest
from augforge.store.shard import FORMAT_VERSION
from augforge.yamlfile import dump_yaml, read_yaml


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecipeEntry(_Frozen):
    """The recipe verbatim, and the digest of what it says (white space, comments and the source's path left out)."""

    digest: str
    text: str


class SourceEntry(_Frozen):
    """The source: how it was read, the digest over its samples' ids, and how many they are."""

    format: str
    digest: str
    samples: int


class ShardEntry(_Frozen):
    """A shard: its path in the dataset, rows, bytes and digest."""

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str


class Manifest(_Frozen):
    """A dataset version. `version` digests format, class and label tables, shards, rejections and tags; no more.

    `plugins` says of each op, and of the source, that a plugin defines, where its code came from.
    """

    format: int
    name: str
    version: str
    samples: int
    splits: dict[str, int]
    classes: list[str]
    labels: list[str]
    encoding: str
    source: SourceEntry
    fitted: dict[str, Any]
    rejected: dict[str, int]
    rejected_digest: str
    tags_digest: str = ""
    ops: dict[str, int]
    plugins: dict[str, str] = Field(default_factory=dict)
    made_by: dict[str, str]
    index_sha256: str
    recipe: RecipeEntry
    shards: list[ShardEntry]

    @property
    def index_path(self) -> str:
        return f"index/{self.version}.parquet"

    @property
    def rejected_path(self) -> str:
        return f"index/{self.version}.rejected.parquet"

    def expected_version(self) -> str:
        return version_of(self.classes, self.labels, self.shards, self.rejected_digest, self.tags_digest)


def version_of(
    classes: Iterable[str],
    labels: Iterable[str],
    shards: Iterable[ShardEntry],
    rejected_digest: str,
    tags_digest: str = "",
) -> str:
    """The version: 16 hexadecimal digits over what the dataset holds and what filters said of it."""
    names = sorted(shard.sha256 for shard in shards)
    return digest(FORMAT_VERSION, list(classes), list(labels), names, rejected_digest, tags_digest)[:16]


def rejected_digest(rejected: Iterable[Mapping[str, Any]]) -> str:
    return digest(sorted(canonical_json(row) for row in rejected))


def tags_digest(tags: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Digest of (sample name, tags) for every tagged sample; empty where none is."""
    tagged = sorted([name, list(said)] for name, said in tags if said)
    return digest("tags", tagged) if tagged else ""


def reasons(rejected: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Rejections counted by ``step: reason``."""
    return dict(sorted(Counter(f"{row['step']}: {row['reason']}" for row in rejected).items()))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``versions/<version>.yaml``, then ``manifest.yaml``: from then on the version is the current one."""
    text = dump_yaml(manifest.model_dump())
    write_text(folder / "versions" / f"{manifest.version}.yaml", text)
    write_text(folder / "manifest.yaml", text)


def read_manifest(folder: Path, version: str | None = None) -> Manifest:
    """The current manifest of a dataset, or that of a version (a unique beginning of it is enough).

    Raises:
        DatasetError: no dataset there, no such version, or a manifest that cannot be read.
    """
    path = folder / "manifest.yaml" if version is None else _version_file(folder, version)
    if not path.exists():
        raise DatasetError(f"{folder} holds no manifest.yaml, so it is no dataset. Build one: augforge build RECIPE")
    file = read_yaml(path, DatasetError)
    if file.data.get("format") != FORMAT_VERSION:
        raise DatasetError(
            f"{path} is of format {file.data.get('format')}, this augforge reads format {FORMAT_VERSION}. "
            "Update augforge, or build the dataset again"
        )
    try:
        return file.check(Manifest, file.data)
    except DatasetError as error:
        newest = next(reversed(versions(folder)), "<version>")
        raise DatasetError(
            f"{str(error).splitlines()[0]}. The manifest is damaged: copy versions/{newest}.yaml over it, "
            "or build the dataset again in another folder"
        ) from None


def versions(folder: Path) -> list[str]:
    """All versions whose manifests are there."""
    return sorted(path.stem for path in (folder / "versions").glob("*.yaml"))


def _version_file(folder: Path, version: str) -> Path:
    known = versions(folder)
    found = [name for name in known if name.startswith(version)]
    if len(found) != 1:
        problem = "has no version" if not found else "has several versions that begin with"
        raise DatasetError(f"{folder} {problem} '{version}'.{nearest(version, known)}")
    return folder / "versions" / f"{found[0]}.yaml"

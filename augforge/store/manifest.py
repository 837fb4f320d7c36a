"""The manifest: what a dataset version is. It is written last and atomically: writing it is the commit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from augforge.errors import DatasetError, shorten
from augforge.files import sync_folder, write_text
from augforge.keys import canonical_json, digest
from augforge.store.sides import SidesEntry
from augforge.store.values import SHARD_PATH, Count, DatasetName, Labels, Names, Sha256, SplitName, Version
from augforge.store.values import Frozen as _Frozen

FORMAT_VERSION = 2
"""Version of the on-disk format. Raise it when an older augforge can no longer read what this one writes."""
MAX_BYTES = 64 << 20
"""Of a manifest: that is some 300,000 shards."""
READABLE_FORMATS = (1, 2)
"""Format 1 has no seal, no digests but those of shards and index, and no payload digests: it is read, but unchecked."""


class RecipeEntry(_Frozen):
    """The recipe verbatim, the digest of its content, without white space, comments and source path; and overrides.

    The overrides are what ``--set`` changed, by key, but for the source's path.
    """

    digest: str
    text: str
    overrides: dict[str, Any] = Field(default_factory=dict)


class LicenceEntry(_Frozen):
    """A licence of source images, its key in the index, and how many samples show some; one may show several."""

    licence: str
    name: str
    url: str
    attribution: str
    samples: int


class ReviewEntry(_Frozen):
    """The review file verbatim, and the digest of its verdicts, without white space and comments."""

    digest: str
    text: str


class FindingEntry(_Frozen):
    """Something implausible, the first of the ``count`` names that it is about, and why the recipe accepts it."""

    kind: str
    message: str
    remedy: str
    names: list[str] = Field(default_factory=list)
    count: int = 0
    accepted: str | None = None


class SourceEntry(_Frozen):
    """The source: the format it was read as, a digest over the ids of its samples, and their number."""

    format: str
    digest: str
    samples: int


class ShardEntry(_Frozen):
    """A shard: its path relative to the dataset, split, rows, size in bytes and SHA-256."""

    path: str
    split: SplitName
    rows: Count
    bytes: Count
    sha256: Sha256

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        if not re.fullmatch(SHARD_PATH, value):
            raise ValueError(f"the path {shorten(value)} leaves the dataset's shards; expected shards/NAME.parquet")
        return value


class FileEntry(_Frozen):
    """A table beside the shards: its path relative to the dataset, size in bytes and SHA-256."""

    path: str
    bytes: Count
    sha256: Sha256

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        if not re.fullmatch(r"index/[^/\\\x00-\x1f]+\.parquet", value):
            raise ValueError(f"the path {shorten(value)} leaves the dataset's tables; expected index/NAME.parquet")
        return value


class Manifest(_Frozen):
    """A dataset version. `version` digests format, class and label tables, shards, rejections and tags; no more.

    `metadata_columns` are the metadata that samples carry: they may be personal data, so card and `pack` name them.
    `augforge` is the version that made it. `files` are the tables: index, rejected samples, stages, ledger.
    `plugins` says of each op, and of the source, that a plugin defines, where its code came from. `licences` are those
    of the source images. `findings` are what was implausible about source and splits when the version was built.
    """

    format: int
    name: DatasetName
    version: Version
    samples: Count
    splits: dict[SplitName, Count]
    classes: Names
    labels: Labels
    metadata_columns: list[str] = Field(default_factory=list)
    encoding: str
    source: SourceEntry
    fitted: dict[str, Any]
    rejected: dict[str, int]
    rejected_digest: str
    tags_digest: str = ""
    ops: dict[str, int]
    plugins: dict[str, str] = Field(default_factory=dict)
    augforge: str = ""
    made_by: dict[str, str]
    index_sha256: Sha256
    recipe: RecipeEntry
    review: ReviewEntry | None = None
    licences: list[LicenceEntry] = Field(default_factory=list)
    findings: list[FindingEntry] = Field(default_factory=list)
    sides: SidesEntry | None = None
    files: list[FileEntry] = Field(default_factory=list)
    shards: list[ShardEntry]

    @property
    def index_path(self) -> str:
        """The index, relative to the dataset."""
        return self._table_path("index")

    @property
    def rejected_path(self) -> str:
        """The table of rejected samples, relative to the dataset."""
        return self._table_path("rejected")

    @property
    def stages_path(self) -> str:
        """The samples between stages, relative to the dataset."""
        return self._table_path("stages")

    @property
    def ledger_path(self) -> str:
        """What the build found out, relative to the dataset."""
        return self._table_path("ledger")

    def _table_path(self, table: str) -> str:
        return next((e.path for e in self.files if table_of(e.path) == table), table_path(self.version, table))

    @property
    def table_paths(self) -> tuple[str, str, str, str]:
        """All tables, relative to the dataset."""
        return self.index_path, self.rejected_path, self.stages_path, self.ledger_path

    def entries(self) -> list[FileEntry | ShardEntry]:
        """All files that the manifest describes: path, size and SHA-256 of each."""
        return [*self.files, *self.shards]

    def file_entry(self, path: str) -> FileEntry | None:
        """Size and digest of a table; None for one that the manifest does not describe, as in format 1."""
        return next((entry for entry in self.files if entry.path == path), None)

    def expected_version(self) -> str:
        """The version that the manifest's content gives; another one in `version` means that somebody edited it."""
        return version_of(self.classes, self.labels, self.shards, self.rejected_digest, self.tags_digest, self.format)


def table_path(version: str, table: str, mark: str = "") -> str:
    """Where a table of a version lies: ``index/<version>.parquet`` for the index, ``index/<version>.ledger.parquet``.

    Args:
        version: of the dataset.
        table: ``index``, ``rejected``, ``stages`` or ``ledger``.
        mark: tells two tables of one version apart, when the name without it is taken.
    """
    return "index/" + ".".join([version, *([mark] if mark else []), *([table] if table != "index" else []), "parquet"])


def table_of(path: str) -> str:
    """Which table lies at a path."""
    last = path.split(".")[-2] if path.count(".") > 1 else ""
    return last if last in ("rejected", "stages", "ledger") else "index"


def version_of(
    classes: Iterable[str],
    labels: Iterable[str],
    shards: Iterable[ShardEntry],
    rejected_digest: str,
    tags_digest: str = "",
    format_version: int = FORMAT_VERSION,
) -> str:
    """The version of a dataset with this content: 16 hexadecimal digits.

    It covers what the dataset holds and what filters decided: paths, times and the recipe's text do not enter.
    """
    names = sorted(shard.sha256 for shard in shards)
    return digest(format_version, list(classes), list(labels), names, rejected_digest, tags_digest)[:16]


def rejected_digest(rejected: Iterable[Mapping[str, Any]]) -> str:
    """Digest of the rows of the rejected table, in any order: 32 hexadecimal digits."""
    return digest(sorted(canonical_json(row) for row in rejected))


def tags_digest(tags: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Digest of (sample name, tags) of all tagged samples: 32 hexadecimal digits, or empty text if there are none."""
    tagged = sorted([name, list(texts)] for name, texts in tags if texts)
    return digest("tags", tagged) if tagged else ""


def write_manifest(folder: Path, manifest: Manifest, make_current: bool = True) -> None:
    """Commit a version: write ``versions/<version>.yaml``, then ``manifest.yaml``, which makes it the current one.

    The files that the manifest names are on disk already; now their names become so too, before the manifest does.
    After a power cut a durable manifest therefore never stands over files that are empty or gone.
    """
    from augforge.store.manifesttext import dump_manifest  # as in `read_manifest`
    from augforge.store.seal import seal

    text = seal(dump_manifest(manifest.model_dump()))
    for names in (folder / "shards", folder / "index", folder, folder.parent):
        if names.is_dir():  # a dataset without samples has no shards
            sync_folder(names)
    write_text(folder / "versions" / f"{manifest.version}.yaml", text)
    if make_current:
        write_text(folder / "manifest.yaml", text)


def read_manifest(folder: Path, version: str | None = None) -> Manifest:
    """Read the current manifest of a dataset, or that of another version.

    Args:
        folder: of the dataset.
        version: a tag, a version, or the beginning of one if it is unique; None for the current one.

    Raises:
        DatasetError: there is no dataset, no such version, or the manifest cannot be read.
    """
    # A process that loads data unpickles manifests and reads none, so it does not load the YAML library.
    from augforge.store.manifesttext import parse_manifest
    from augforge.store.versions import datasets_near, find_version
    from augforge.yamlfile import read_yaml_text

    path = folder / ("manifest.yaml" if version is None else f"versions/{find_version(folder, version)}.yaml")
    if not path.exists():
        if versions(folder):
            raise DatasetError(f"{path} is missing, but other files of a dataset are there. {_repair_advice(folder)}")
        raise DatasetError(f"{folder} holds no manifest.yaml, so it is no dataset.{datasets_near(folder)}")
    if not path.is_file():
        raise DatasetError(f"{path} is no regular file; expected a manifest. Get the dataset again from where it came")
    file = parse_manifest(read_yaml_text(path, DatasetError, MAX_BYTES), str(path), DatasetError, MAX_BYTES)
    if file.data.get("format") not in READABLE_FORMATS:
        raise DatasetError(
            f"{path} is of format {file.data.get('format')}, this augforge reads format "
            f"{' and '.join(map(str, READABLE_FORMATS))}. Update augforge, or build the dataset again"
        )
    try:
        manifest = file.check(Manifest, file.data)
        _check_seal(path, file.text, manifest)
        if version is not None and manifest.version != path.stem:
            raise DatasetError(f"{path}: it is the manifest of version {manifest.version}")
    except DatasetError as error:
        advice = _repair_advice(folder)
        raise DatasetError(f"{str(error).splitlines()[0]}. The manifest is damaged. {advice}") from None
    return manifest


def _check_seal(path: Path, text: str, manifest: Manifest) -> None:
    from augforge.store.seal import is_sealed, seal_problem  # as in `read_manifest`

    data = text.encode()
    problem = seal_problem(data) if manifest.format > 1 or is_sealed(data) else None
    if problem:
        raise DatasetError(f"{path}: {problem}")


def _repair_advice(folder: Path) -> str:
    return f"Put it right: augforge repair {folder}; or build the dataset again in another folder"


def versions(folder: Path) -> list[str]:
    """All versions that have a manifest, sorted by name; a file of another name among the manifests is no version."""
    paths = (folder / "versions").glob("*.yaml")
    return sorted(path.stem for path in paths if re.fullmatch("[0-9a-f]{16}", path.stem))

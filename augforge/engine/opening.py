"""Opening a recipe: list its source, assign its splits, and gather what earlier builds left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augforge.cache.filecache import FileCache
from augforge.cache.work import PLACES, Payload, read_batches
from augforge.engine.backends import on_cluster
from augforge.engine.findings import Findings, brings_twins_together, gather_findings
from augforge.engine.jobs import WorkerContext, step_errors
from augforge.engine.named import check_named, placed, placed_columns
from augforge.engine.outcome import Outcome, Pool
from augforge.engine.pipeline import Pipeline
from augforge.engine.registering import with_registered_licence
from augforge.engine.sides import settle_steps, with_sides
from augforge.engine.sourcecache import DEFAULT_MB
from augforge.engine.sourcetable import SourceTable, source_table
from augforge.errors import DatasetError, SourceError
from augforge.files import file_sha256, is_url
from augforge.planning.steps import Step
from augforge.progress import Progress
from augforge.recipe.recipe import Recipe, Verdict
from augforge.sources import Listing, Source
from augforge.store.codec import library_versions
from augforge.store.manifest import Manifest, read_manifest, versions
from augforge.store.storage import Storage, open_storage
from augforge.store.versions import is_table_intact

OWN_FILES = {"work", "shards", "index", "versions", "README.md", ".lock", "log.jsonl"}
"""What a build that was stopped before its manifest may leave in a dataset's folder."""


def _with_absolute_paths(source: Source) -> Source:
    """A source, or a union of some, that reads the same files from any current folder."""

    def absolute(path: str) -> str:
        return path if is_url(path) else str(Path(path).absolute())

    members = getattr(source, "sources", None)
    changes: dict[str, Any] = {"path": absolute(source.path)}
    if isinstance(members, list):
        changes["sources"] = [{**each, "path": absolute(each["path"])} if "path" in each else each for each in members]
    return source.model_copy(update=changes)


def storage_of_workers(storage: Storage) -> Storage:
    """A storage by a path that leads workers to it too: those of a cluster run in other folders."""
    return Storage(storage.folder.absolute()) if on_cluster() and not storage.is_far else storage


@dataclass(frozen=True, slots=True)
class Opened:
    """A recipe with its source listed, ready to build.

    Attributes:
        recipe: the checked recipe.
        storage: of the dataset.
        listing: what the source holds.
        table: its rows and warnings.
        pool: results and payloads of earlier builds.
        libraries: versions of the libraries that decide pixels.
        files: facts of source files and shards.
        findings: what is implausible about source and splits.
        cache_bytes: of source samples that each worker keeps at most.
    """

    recipe: Recipe
    storage: Storage
    listing: Listing
    table: SourceTable
    pool: Pool
    libraries: dict[str, str]
    files: FileCache
    findings: Findings = field(default_factory=Findings)
    cache_bytes: int = DEFAULT_MB << 20

    @property
    def folder(self) -> Path:
        """The dataset's folder; of one behind a URL, the folder that mirrors its small files."""
        return self.storage.folder

    def worker_context(self) -> WorkerContext:
        """What all jobs of the build share."""
        listing, source = self.listing, self.recipe.source
        if on_cluster():  # whose workers run in other folders
            source = _with_absolute_paths(source)
        return WorkerContext(
            source,
            listing.classes,
            listing.labels,
            self.recipe.seed,
            storage_of_workers(self.storage).work,
            self.libraries,
            self.cache_bytes,
        )

    def pipeline(self, steps: Sequence[Step], jobs: int, progress: Progress) -> Pipeline:
        """The recipe's pipeline, of all its steps or of the first ones."""
        recipe = self.recipe
        return Pipeline(
            self.worker_context(),
            steps,
            recipe.output.encoding,
            self.listing.records,
            self.files,
            self.pool,
            review=self._review(),
            jobs=jobs,
            progress=progress,
            hashing=self.compares_pictures,
        )

    @property
    def compares_pictures(self) -> bool:
        """Whether a build compares pictures of different splits: it may have one split, or bring twins together."""
        splits = {row.split for row in self.table.rows}
        return self.recipe.split.compare == "auto" and len(splits) > 1 and not brings_twins_together(self.recipe)

    def _review(self) -> Mapping[str, Verdict]:
        """A person's verdicts, without those on samples that a light experiment leaves out."""
        if self.recipe.fraction is None:
            return self.recipe.review
        left_out = {record.name for record in self.listing.records} - {row.name for row in self.table.rows}
        return {name: verdict for name, verdict in self.recipe.review.items() if name not in left_out}

    def make_samples(self, pipeline: Pipeline, dry: bool = False, encode: bool = True) -> Outcome:
        """Take the source's rows through a pipeline; see `Pipeline.make_samples`.

        Raises:
            SourceError: a source file was changed since it was listed, so that its id would stand for other pixels.
                What was made from other files is kept.
        """
        try:
            return pipeline.make_samples(self.table.rows, dry, encode)
        finally:  # a changed file may also be why the pipeline failed, and is the better message
            changed = [] if dry else self.files.changed_files()
            if changed:
                more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
                raise SourceError(f"{changed[0]}{more}: changed while the build ran. {self._keep_valid()}; build again")

    def _keep_valid(self) -> str:
        """Delete what may have been made from a source file that was changed, and say what is kept.

        Workers look at a sample's files after they have read them, and store nothing if one was changed. Only for a
        source that does not say which files it reads, such as a plugin's, is that not enough.
        """
        source = self.recipe.source
        if all(source.files_of(record) is not None for record in self.listing.records):
            return "What was made from other files is kept"
        self.pool.remove_new_batches()
        return "Nothing new was kept"


def open_recipe(
    recipe: Recipe,
    place: Path | Storage,
    *,
    reuse: bool = True,
    rehash: bool = False,
    remember: bool = True,
    enforce: bool = True,
) -> Opened:
    """List the source, assign the splits, and gather what earlier builds left.

    Args:
        recipe: the recipe.
        place: folder or storage of its dataset.
        reuse: take over what earlier versions and interrupted builds made, and the stored facts of files.
        rehash: read every source file again instead of trusting its size and modification time.
        remember: keep facts of the source's files even if that creates the dataset's folder.
        enforce: raise what a strict recipe forbids; otherwise it is only found.

    Raises:
        SourceError, PlanError: the source is broken, or the recipe does not fit it.
    """
    storage = place if isinstance(place, Storage) else Storage(place)
    folder = storage.folder
    files, libraries = FileCache(folder / "work" / "files.sqlite", trust=reuse and not rehash), library_versions()
    listing = list_source(recipe, files)
    recipe, table = settle_steps(recipe, listing), source_table(listing, recipe)
    findings = gather_findings(recipe, listing, table, files)
    if enforce:
        findings.enforce(recipe)
    pool = _pool(storage, libraries, files) if reuse else Pool()
    if remember or folder.exists():
        files.save()
    return Opened(recipe, storage, listing, table, pool, libraries, files, findings)


def list_source(recipe: Recipe, files: FileCache) -> Listing:
    """What the recipe's source holds. Raises SourceError, or PlanError if a step does not fit the class table."""
    with placed(recipe, ("source",)), placed_columns(recipe), step_errors(recipe.source.adapter(), "scan"):
        source, warning = with_registered_licence(recipe.source)
        listing = source.scan(files)
    listing = with_sides(recipe, listing)
    if warning is not None:
        listing = replace(listing, warnings=(*listing.warnings, warning))
    check_named(recipe, listing)
    return listing


def dataset_storage(out: str | Path | None, name: str) -> Storage:
    """The storage of a dataset: the folder or URL asked for, or ``datasets/<name>``; see `open_storage`."""
    return open_storage(out if out is not None else Path("datasets") / name)


def dataset_folder(out: str | Path | None, name: str) -> Path:
    """The folder of a dataset: the one asked for, or ``datasets/<name>``."""
    return Path(out).expanduser() if out is not None else Path("datasets") / name


def check_folder(folder: Path, name: str, rename: bool = False) -> None:
    """Raise DatasetError unless the folder is new, empty, left by an interrupted build, or holds this dataset.

    Args:
        folder: of the dataset.
        name: of the recipe.
        rename: accept a dataset of another name, which gets this one with the next version.
    """
    if (folder / "manifest.yaml").exists():
        other = read_manifest(folder).name
        if other != name and not rename:
            raise DatasetError(
                f"{folder} holds dataset '{other}', not '{name}'. Choose another folder with --out; or, if that "
                "dataset is to go on under the new name, build it with --rename"
            )
    elif folder.exists() and not (folder.is_dir() and _names(folder) <= OWN_FILES):
        if folder.is_dir() and versions(folder):
            read_manifest(folder)  # says that it is lost, and how it is restored
        raise DatasetError(f"{folder} is not empty and holds no dataset. Choose another folder with --out")


def _names(folder: Path) -> set[str]:
    """Names in a folder, without temporary files that a killed build left."""
    return {path.name for path in folder.iterdir() if not (path.name.startswith(".") and path.name.endswith(".tmp"))}


_DAMAGE = (DatasetError, OSError, ValueError, TypeError, LookupError, MemoryError, pa.ArrowException)
"""What reading damaged files raises: a flipped bit may be a wrong size, key or character."""


def _pool(storage: Storage, libraries: dict[str, str], files: FileCache) -> Pool:
    """What earlier versions and interrupted builds left, as far as the same libraries made it."""
    pool, storage = Pool(), storage_of_workers(storage)
    folder = storage.folder
    for version in versions(folder):
        # An older version that cannot be read costs time, never a build: its samples are made again.
        with suppress(*_DAMAGE):
            manifest = read_manifest(folder, version)
            if manifest.made_by == libraries and is_table_intact(folder, manifest, manifest.ledger_path):
                pool.ledger.load(folder / manifest.ledger_path)
                _add_shards(pool, storage, manifest, files)
    for batch in read_batches(storage.work, libraries):
        pool.add(batch, used=False)
    return pool


def _add_shards(pool: Pool, storage: Storage, manifest: Manifest, files: FileCache) -> None:
    """Payloads of a version's shards, but for those that were damaged since; none if the index was."""
    index_path = storage.folder / manifest.index_path
    if file_sha256(index_path) != manifest.index_sha256:  # reading it might even crash Polars
        return
    sound = {s.path for s in manifest.shards if storage.has(s.path, s.bytes, s.sha256, files)}
    paths = {shard: storage.locate(shard) for shard in sound}
    with pq.ParquetFile(index_path) as index:
        for batch in index.iter_batches(1024, columns=["id", "shard", *PLACES], use_threads=False):
            rows = zip(*(batch[name].to_pylist() for name in ("id", "shard", *PLACES)), strict=True)
            found = [
                ((id, manifest.encoding), Payload(paths[shard], *place)) for id, shard, *place in rows if shard in paths
            ]
            pool.payloads.update(found, earlier=True)

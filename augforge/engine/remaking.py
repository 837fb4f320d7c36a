"""Making the shards and tables of a version again, to the same SHA-256, from its recorded recipe and its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from augforge.cache.work import PLACES, Payload
from augforge.engine.finished import Finished
from augforge.engine.finished import shard_columns as planned_columns
from augforge.engine.opening import Opened, open_recipe
from augforge.engine.outcome import Outcome
from augforge.engine.pipeline import Pipeline
from augforge.engine.publish import write_shards, write_version
from augforge.engine.recorded import find_source, recorded_recipe
from augforge.engine.versioning import version_with
from augforge.errors import AugforgeError, DatasetError
from augforge.files import sync_folder
from augforge.planning.rows import Row
from augforge.progress import Progress
from augforge.store.index import read_index, shard_columns
from augforge.store.manifest import Manifest, ShardEntry, read_manifest, versions, write_manifest
from augforge.store.shard import ShardPlan, ShardRow, write_shard
from augforge.store.verification.shards import SMALL_COLUMNS, payloads_sound


class Remaker:
    """Makes again what is damaged in a version. The source is listed when the first sample has to be made.

    Attributes:
        reasons: why something could not be made as it was.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, scratch: Path, source: str | None, jobs: int, progress: Progress
    ) -> None:
        self._folder, self._manifest, self._scratch = folder, manifest, scratch
        self._source, self._jobs, self._progress = source, jobs, progress
        self.reasons: list[str] = []

    # ---- The recorded build ------------------------------------------------------------------------------------------

    @cached_property
    def _opened(self) -> Opened:
        source = find_source(self._folder, self._manifest, self._source)
        return open_recipe(recorded_recipe(self._folder, self._manifest, source, self._scratch), self._folder)

    @cached_property
    def _pipeline(self) -> Pipeline:
        return self._opened.pipeline(self._opened.recipe.steps, self._jobs, self._progress)

    @cached_property
    def _outcome(self) -> Outcome:
        """The plan; tasks are performed only if the plan depends on what they give."""
        outcome = self._opened.make_samples(self._pipeline, dry=True)
        return outcome if outcome.counts.exact else self._opened.make_samples(self._pipeline, encode=False)

    @cached_property
    def _planned(self) -> Mapping[str, Row]:
        return {row.id: row for row in self._outcome.rows}

    @cached_property
    def _index(self) -> pl.DataFrame:
        return read_index(self._folder / self._manifest.index_path)

    # ---- Shards ------------------------------------------------------------------------------------------------------

    def remake_shard(self, shard: ShardEntry) -> None:
        """Put a damaged shard together anew: intact samples are copied from it, and the others are made again.

        The index of the version must be intact. If a sample cannot be made, or the bytes differ, the shard stays as it
        is, and `reasons` says why.
        """
        path = self._folder / shard.path
        rows = self._index.filter(pl.col("shard") == shard.path).sort("id")
        stored = dict(stored_columns(path))
        sound = dict(payloads_sound(path, rows)) if path.exists() else {}
        payloads = {}
        for row in rows.iter_rows(named=True):
            payload = _payload_in(path, row) if sound.get(row["name"]) else self._made_payload(row)
            if payload is None:
                return
            payloads[row["id"]] = payload
        # What the index says of a sample may be less exact than what its shard says: 57 becomes 57.0 in a column with
        # other numbers; and a damaged footer may tell wrong things. The SHA-256 tells which are right. The last
        # two need the source.
        for known, columns_of in (
            (stored, self._indexed_columns),
            (stored, self._whole_columns),
            ({}, self._indexed_columns),
            ({}, self._whole_columns),
            (stored, self._planned_columns),
            ({}, self._planned_columns),
        ):
            try:
                made = [
                    ShardRow(known.get(row["id"]) or columns_of(row), *payloads[row["id"]])
                    for row in rows.iter_rows(named=True)
                ]
                if self._put_together(shard, tuple(made)):
                    return
            except AugforgeError as error:
                self.reasons.append(str(error))
                return
        self.reasons.append(
            f"{shard.path} was put together anew, but to other bytes: pyarrow is {pa.__version__}, and was "
            f"{self._manifest.made_by.get('pyarrow')} when it was written, or recipe and source say other things of "
            "its samples than they did"
        )

    def _indexed_columns(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return shard_columns(row, self._manifest.encoding)

    def _whole_columns(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The same with 57 for 57.0."""
        metadata = {
            key: int(value) if isinstance(value, float) and value.is_integer() else value
            for key, value in (row.get("metadata") or {}).items()
        }
        return self._indexed_columns({**row, "metadata": metadata})

    def _planned_columns(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What recipe and source say of the sample now; its pixels are made for that, unless they are known."""
        planned = self._planned.get(row["id"])
        if planned is None:
            return self._indexed_columns(row)
        self._pipeline.make_payload(planned)
        return planned_columns(Finished(self._opened, self._outcome), planned)

    def _made_payload(self, row: Mapping[str, Any]) -> tuple[Payload, str] | None:
        """The payload of a sample that is made again; None, with a reason, if that cannot be done."""
        planned = self._planned.get(row["id"])
        if planned is None:
            self.reasons.append(
                f"{row['name']} cannot be made again: recipe and source no longer give the sample with its id. Its "
                "image, its annotation, or another image that shows in it was changed"
            )
            return None
        payload, facts = self._pipeline.make_payload(planned)
        expected = row.get("payload_digest") or facts["payload"]  # format 1 has none; the shard's SHA-256 decides
        if facts["payload"] != expected:
            self.reasons.append(
                f"{row['name']} was made again, but to other bytes: other versions of libraries made it then "
                "(made_by in the manifest), or other pixels under the same name"
            )
            return None
        return payload, facts["payload"]

    def _put_together(self, shard: ShardEntry, rows: tuple[ShardRow, ...]) -> bool:
        """Write the shard of these rows, and put it in place if it has the SHA-256 that the manifest states."""
        made = write_shard(ShardPlan(shard.split, rows, "repair"), self._scratch)
        if made.sha256 != shard.sha256:
            (self._scratch / made.path).unlink()
            return False
        (self._scratch / made.path).replace(self._folder / shard.path)
        sync_folder(self._folder / "shards")
        return True

    # ---- Tables ------------------------------------------------------------------------------------------------------

    def remake_tables(self) -> None:
        """Write index, stages, rejected samples and ledger again, and the shards that are damaged still.

        Index, stages and rejected samples must come out with the digests that the manifest states. A ledger may know
        less than the one that was lost; then the manifest is written again with its digest.
        """
        before = set((self._folder / "shards").glob("*.parquet"))
        try:
            finished = self._finish()
            written = write_shards(finished, self._jobs, self._progress)
            if version_with(finished, written.entries) != self._manifest.version:
                self.reasons.append(
                    "the tables cannot be made again: recipe, source and libraries give another version now. What "
                    "changed: augforge explain RECIPE"
                )
                return
            made = write_version(finished, written)
        finally:
            _remove_unnamed(self._folder, before)
        others = _differing_tables(made, self._manifest)
        for path in others - {self._manifest.ledger_path}:
            self.reasons.append(
                f"{path} comes out with another digest: a review, a licence or metadata was changed since, which is no "
                "part of the version. Build the recipe again, or take the table from a copy with --from"
            )
        if others == {self._manifest.ledger_path}:
            self._write_manifest(made)
        else:
            _remove_other_tables(self._folder, made)

    def _finish(self) -> Finished:
        """All samples, with their payloads in the pool."""
        pipeline = self._opened.pipeline(self._opened.recipe.steps, self._jobs, self._progress)
        return Finished(self._opened, self._opened.make_samples(pipeline))

    def _write_manifest(self, made: Manifest) -> None:
        changes = {"files": made.files, "index_sha256": made.index_sha256}
        current = read_manifest(self._folder)
        write_manifest(self._folder, self._manifest.model_copy(update=changes), current.version == made.version)


def _remove_unnamed(folder: Path, before: set[Path]) -> None:
    """Delete shards that were just written and that no version names."""
    named = {folder / shard.path for name in versions(folder) for shard in read_manifest(folder, name).shards}
    for path in set((folder / "shards").glob("*.parquet")) - before - named:
        path.unlink()


def _differing_tables(made: Manifest, manifest: Manifest) -> set[str]:
    """Paths in the manifest of the tables that were made with another digest than it states."""
    pairs = zip(made.table_paths, manifest.table_paths, strict=True)
    entries = ((made.file_entry(new), manifest.file_entry(old)) for new, old in pairs)
    return {old.path for new, old in entries if new and old and new.sha256 != old.sha256}


def _remove_other_tables(folder: Path, made: Manifest) -> None:
    """Delete the tables that were just written and that no manifest names."""
    named = {path for name in versions(folder) for path in read_manifest(folder, name).table_paths}
    named |= set(read_manifest(folder).table_paths)
    for path in set(made.table_paths) - named:
        (folder / path).unlink(missing_ok=True)


def _payload_in(path: Path, row: Mapping[str, Any]) -> tuple[Payload, str]:
    return Payload(str(path), *(row[name] for name in PLACES)), row["payload_digest"]


def stored_columns(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and columns besides the payload of a damaged shard's rows, from the row groups that can still be read."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException):
        return
    for group in range(file.num_row_groups):
        try:
            rows = file.read_row_group(group, columns=[*SMALL_COLUMNS, "image.path"]).to_pylist()
            found = [(row["id"], {**row, "image": row["image"]["path"]}) for row in rows]
        except (OSError, ValueError, LookupError, TypeError, DatasetError, pa.ArrowException):
            continue  # names of columns in a footer may be damaged too
        yield from found

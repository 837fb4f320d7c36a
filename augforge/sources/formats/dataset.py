"""Another augforge dataset as a source, so that recipes can be chained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.cache.work import PLACES, DamagedPayload, Payload
from augforge.errors import DatasetError, SourceError
from augforge.files import file_sha256, is_url
from augforge.keys import digest
from augforge.ops.sides import Sides
from augforge.sample import Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, Record, Source, source
from augforge.sources.licences import Licence
from augforge.sources.loading import make_sample, with_ignore
from augforge.sources.looks import as_it_looks
from augforge.sources.raster.remapping import Mapping as ClassMapping
from augforge.sources.raster.remapping import remap_sample
from augforge.sources.scan.scanning import Scan
from augforge.store.codec import decode_image
from augforge.store.dataset import Dataset
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.remote import Remote
from augforge.store.sides import sides_of
from augforge.store.versionfiles import VersionFiles

_COLUMNS = (
    "id",
    "name",
    "group",
    "groups",
    "split",
    "width",
    "height",
    "label",
    "area",
    "metadata",
    "pixel_digest",
    "licences",
)
_DIGEST = "payload_digest"
_PLACE = ("shard", *PLACES)


@source
class AugforgeDataset(Source):
    """Reads a dataset that augforge built, so that one recipe continues where another one ended.

    Samples keep their name, group, split, labels, metadata, licences and known classes. Each is a root of its own: the
    lineage starts again. Masks are taken as they are stored. ``class_map`` renames, merges and leaves out classes; a
    merged class is known in a sample if all its parts are.

    Every shard is checked against the manifest's SHA-256 when it is first seen and when it changes. Shards of a
    dataset at a URL, such as ``s3://bucket/datasets/hands`` (``pip install 'augforge[s3]'``), are downloaded once, into
    ``$AUGFORGE_CACHE`` or the user's cache folder.
    """

    adapter_version: ClassVar[int] = 2
    takes_urls: ClassVar[bool] = True
    names_are_places: ClassVar[bool] = False
    layout: ClassVar[str] = """\
ROOT/                          source.path or URL, as augforge build made it
  manifest.yaml                the current version
  versions/3f0a9c1b2d4e5f60.yaml    others, for source.version
  index/3f0a9c1b2d4e5f60.parquet
  shards/train-0c5d....parquet"""

    format: Literal["dataset"] = "dataset"
    path: str = Field(description="folder of the dataset, relative to the recipe, or a URL")
    version: str | None = Field(
        None, description="another version than the current one; a unique beginning of it is enough"
    )
    own_splits: bool = Field(
        True, description="samples stay in their splits, whatever the recipe's `split` says; false deals them out anew"
    )
    separator: str = Field(
        "~",
        pattern=r"^[^/\\]+$",
        description="stands for the ~ in names that the first recipe's steps made; with another one, such as +, a step "
        "can be repeated that kept its inputs there",
    )

    @property
    def root(self) -> Path:
        return self._remote.folder if self._remote else Path(self.path)

    @property
    def _remedy(self) -> str:
        return f"{self._remote.remedy}." if self._remote else _REMEDY

    @property
    def _remote(self) -> Remote | None:
        return Remote(self.path) if is_url(self.path) else None

    def scan(self, cache: FileCache) -> Listing:
        dataset = self._open(cache)
        scan = Scan(self, cache)
        table = class_table(self, dataset.classes, self.root, scan)
        whole = self._check_shards(scan, dataset.manifest, cache)
        self._check_index(scan, dataset)
        if not self.own_splits:
            self._check_groups(scan, dataset)
        scan.licences |= {
            each.licence: Licence(name=each.name, url=each.url, attribution=each.attribution)
            for each in dataset.manifest.licences
        }
        records = self._make_records(scan, dataset, table, whole)
        return replace(scan.make_listing(records, table.names, dataset.labels), sides=self._sides(dataset))

    def _sides(self, dataset: Dataset) -> Sides:
        """The sides that the dataset was built with, under the names that ``class_map`` gives them."""
        return sides_of(dataset.manifest).rename(lambda name: self.class_of(name) if name in dataset.classes else name)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        names = record.data["classes"]
        try:
            image, masks = self._read_payload(record)
            pixels = decode_image(image, (record.height, record.width))
            planes = bitmask.decode(masks, record.height, record.width, len(names))
            known = bitmask.select_bits(record.data["labelled"], len(names))
            label = None if record.data["label"] is None else np.array(record.data["label"], np.float32)
            sample = make_sample(record, pixels, bitmask.contiguous(planes), known, label)
        except (OSError, ValueError, DatasetError) as error:
            raise SourceError(
                f"{self.root / record.data['place'][0]}: sample {record.name} cannot be read ({error}). {self._remedy}"
            ) from error
        found = remap_sample(sample, self._class_mapping(names, classes), len(classes))
        return replace(found, known=with_ignore(found.known, classes))

    def _read_payload(self, record: Record) -> tuple[bytes, bytes]:
        """Encoded image and masks, compared with their digest; a damaged copy is fetched again."""
        place, payload_digest = record.data["place"], record.data[_DIGEST]
        payload = Payload(str(self.root / place[0]), *place[1:])
        if self._remote is not None:  # a worker may run on another machine than the listing did
            self._remote.fetch_shard(place[0], *record.data["whole"])
        if payload_digest is None:  # a dataset of format 1
            return payload.read()
        try:
            return payload.read_checked(payload_digest, record.name)
        except DamagedPayload:
            if self._remote is None:
                raise
        self._remote.fetch_intact_shard(place[0], record.data["whole"][0])
        return payload.read_checked(payload_digest, record.name)

    def _class_mapping(self, names: tuple[str, ...], classes: tuple[str, ...]) -> ClassMapping:
        targets = [self.require_class(name, classes, str(self.root)) for name in names]
        return [None if target is None else classes.index(target) for target in targets]

    # ---- what is there ----

    def _open(self, cache: FileCache) -> Dataset:
        """The dataset with its index, which is read only if its digest is the one in the manifest."""
        remote = self._remote
        try:
            manifest = remote.fetch_manifest(self.version) if remote else read_manifest(self.root, self.version)
            if manifest.expected_version() != manifest.version:
                raise DatasetError(
                    f"{self.path}: its manifest is damaged: what it names is version {manifest.expected_version()}, "
                    f"and it says {manifest.version}. {_REMEDY}"
                )
            path = remote.fetch_index(manifest) if remote else self.root / manifest.index_path
            if not path.exists() or cache.get(path, "sha256", file_sha256) != manifest.index_sha256:
                fact = "is damaged: its SHA-256 is not the manifest's" if path.exists() else "is missing"
                raise DatasetError(f"{path} {fact}. {_REMEDY}")
            return Dataset(VersionFiles(self.root, manifest, remote))
        except DatasetError as error:
            raise SourceError(str(error)) from error

    def _check_shards(self, scan: Scan, manifest: Manifest, cache: FileCache) -> dict[str, tuple[str, int]]:
        """SHA-256 and size of each sound shard by its place; shards that differ from the manifest are reported."""
        wanted = {shard.path: shard.sha256 for shard in manifest.shards}
        for place, problem in self._fetch_shards(wanted, cache):
            scan.bad_sample(place, "damaged shard", problem)
        there = [place for place in wanted if place not in scan.bad_names]
        found = scan.facts(((place, place) for place in there), "sha256", file_sha256, "damaged shard")
        for place in found:
            if found[place] != wanted[place]:
                message = f"{self.root / place} is damaged: its SHA-256 is not the manifest's"
                scan.bad_sample(place, "damaged shard", f"{message}; expected a whole shard. {_REMEDY}")
        return {s.path: (s.sha256, s.bytes) for s in manifest.shards if found.get(s.path) == s.sha256}

    def _fetch_shards(self, wanted: Mapping[str, str], cache: FileCache) -> list[tuple[str, str]]:
        """Download the shards of a dataset at a URL. Gives places and messages of those that cannot be downloaded."""

        def sha256(copy: Path) -> str:
            return str(cache.get(copy, "sha256", file_sha256))

        def problem(place: str) -> str | None:
            try:
                Remote(self.path).fetch_intact_shard(place, wanted[place], sha256)
            except DatasetError as error:
                return str(error)
            return None

        with ThreadPoolExecutor(4) as pool:
            problems = list(pool.map(problem, wanted if self._remote else ()))
        return [(place, message) for place, message in zip(wanted, problems, strict=False) if message]

    def _check_index(self, scan: Scan, dataset: Dataset) -> None:
        """Report a shard that is in the index but not in the manifest: its samples would be lost without a word."""
        stray = sorted(set(dataset.index["shard"]) - {shard.path for shard in dataset.manifest.shards})
        if stray:
            scan.source_error(f"{self.root}: its index names {stray[0]}, its manifest does not. {_REMEDY}")

    def _check_groups(self, scan: Scan, dataset: Dataset) -> None:
        """Report samples of several groups, which cannot be split anew: a group would end up on both sides."""
        mixed = [name for name, groups in dataset.index.select("name", "groups").iter_rows() if len(groups) > 1]
        if mixed:
            scan.source_error(
                f"{self.root}: {len(mixed)} samples show several groups, such as {mixed[0]}, so splitting anew would "
                "put a group on both sides. Set own_splits: true, or split where groups are still apart."
            )

    def _make_records(
        self, scan: Scan, dataset: Dataset, table: ClassTable, whole: dict[str, tuple[str, int]]
    ) -> Iterator[Record]:
        columns = [name for name in (*_COLUMNS, *_PLACE, _DIGEST) if name in dataset.index.columns]
        mapping = [self.class_of(name) for name in dataset.classes]
        for row in dataset.index.select(columns).iter_rows(named=True):
            if row["shard"] in whole:
                for class_ in self._covering_classes(row):
                    scan.note_covered(self._record_name(row), class_)
                yield self._make_record(row, dataset, table.content(mapping), whole[row["shard"]])
            elif scan.source.on_error == "reject":
                scan.bad_sample(
                    self._record_name(row), "damaged shard", f"{self.root / row['shard']} is damaged. {_REMEDY}"
                )

    def _record_name(self, row: Mapping[str, Any]) -> str:
        return str(row["name"]).replace("~", self.separator)

    def _make_record(self, row: Mapping[str, Any], dataset: Dataset, content: Any, whole: tuple[str, int]) -> Record:
        labelled = [c for c, area in enumerate(row["area"].values()) if area is not None]
        return Record(
            name=self._record_name(row),
            group=row["group"],
            split=row["split"] if self.own_splits else None,
            width=row["width"],
            height=row["height"],
            bytes=row["image_bytes"],
            content=digest(row["id"], row["pixel_digest"], labelled, row["label"], content),
            metadata={key: value for key, value in (row.get("metadata") or {}).items() if value is not None},
            data={
                "place": [row[name] for name in _PLACE],
                "whole": whole,
                "classes": dataset.classes,
                _DIGEST: row.get(_DIGEST),
                "labelled": labelled,
                "label": row["label"],
                "groups": [*map(as_it_looks, row["groups"])],
            },
            licences=tuple(row["licences"] or ()),
            drawn=(
                *sorted(self._drawn_classes(row, dataset.classes)),
                *sorted(_given_labels(row["label"], dataset.labels)),
            ),
        )

    def _covering_classes(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The classes that cover every pixel of a sample, by the areas in the index."""
        pixels = row["width"] * row["height"]
        return self.classes_of(name for name, area in row["area"].items() if area == pixels)

    def _drawn_classes(self, row: Mapping[str, Any], classes: tuple[str, ...]) -> tuple[str, ...]:
        """The classes that have pixels in a sample."""
        return self.classes_of(name for name, area in zip(classes, row["area"].values(), strict=True) if area)


def _given_labels(label: Sequence[float] | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that a sample has."""
    return () if label is None else tuple(name for name, weight in zip(names, label, strict=True) if weight)


_REMEDY = "Check it with augforge verify, and build the dataset again."

"""Datasets for the tests of exports: made of samples in memory, with all that formats find hard."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import pytest

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.cache.shelf import Shelf
from augforge.engine.builder import build
from augforge.export import ExportSummary, export
from augforge.keys import digest
from augforge.sample import Sample
from augforge.sources import SOURCES
from augforge.sources.core import Listing, Record, Records, Source
from augforge.store.dataset import Dataset, open_dataset

CLASSES = ("lung", "heart", "rib 1", "ignore", "never")


class InMemory(Source):
    """Gives the samples that a test made."""

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = "none"
    samples: ClassVar[dict[str, Sample]] = {}
    names: ClassVar[tuple[str, ...]] = CLASSES
    labels: ClassVar[tuple[str, ...]] = ()
    format: Literal["in-memory"] = "in-memory"

    def scan(self, cache: FileCache) -> Listing:
        records = [
            Record(
                name=name,
                group=sample.group,
                split="test" if sample.split == "test" else None,
                width=sample.width,
                height=sample.height,
                bytes=sample.image.nbytes,
                content=digest(name, sample.image.tolist(), sample.masks.tolist(), sample.known.tolist()),
                metadata=dict(sample.metadata),
            )
            for name, sample in sorted(self.samples.items())
        ]
        shelf: Shelf[Record] = Shelf()
        shelf.update((record.name, record) for record in records)
        return Listing(self.names, Records(shelf), labels=self.labels)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        return self.samples[record.name]


def dataset_of(folder: Path, samples: Iterable[Sample], classes: tuple[str, ...] = CLASSES, **more: Any) -> Dataset:
    """Build a dataset of samples; those of split ``val`` stay there."""
    held = {sample.name: sample for sample in samples}
    val = sorted({sample.group for sample in held.values() if sample.split == "val"})
    recipe = {
        "name": "box",
        "source": {"format": "in-memory", "path": str(folder)},
        "split": {"val": val} if val else {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(json.dumps({**recipe, "output": more.pop("output", {})}))
    with pytest.MonkeyPatch.context() as patch, SOURCES.restored():
        SOURCES.add("in-memory", InMemory, __name__)
        patch.setattr(InMemory, "samples", held)
        patch.setattr(InMemory, "names", classes)
        patch.setattr(InMemory, "labels", more.pop("labels", ()))
        build(folder / "recipe.yaml", folder / "dataset")
    return open_dataset(folder / "dataset")


def box_sample(
    name: str,
    seed: int,
    split: str = "train",
    known: Iterable[int] = range(len(CLASSES)),
    size: tuple[int, int] = (44, 61),
    overlap: bool = True,
    channels: int = 1,
    **more: Any,
) -> Sample:
    """A sample with holes, single pixels, lines, pieces, border pixels; ``never`` is absent."""
    rng = np.random.default_rng(seed)
    masks = [_speckled(rng, *size) for _ in CLASSES[:-1]] + [np.zeros(size, np.uint8)]
    if not overlap:
        masks = list(_apart(masks))
    known = list(known)
    planes = bitmask.from_masks([mask * (c in known) for c, mask in enumerate(masks)])
    shape = size if channels == 1 else (*size, channels)
    image = rng.integers(0, 255, shape, np.uint8, endpoint=True)
    group = name.split("/", maxsplit=1)[0]
    bits = bitmask.select_bits(known, len(CLASSES))
    return Sample(name, image, planes, bits, group, split, metadata={"age": seed + 0.5}, **more)


def _speckled(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
    cv2.ellipse(mask, centre, (int(rng.integers(6, 22)), int(rng.integers(6, 18))), 30, 0, 360, 1, -1)
    mask[rng.random(mask.shape) < 0.03] = 0  # holes
    mask[rng.random(mask.shape) < 0.01] = 1  # single pixels
    x, y = rng.integers(0, 20, 2)
    cv2.line(mask, (int(x), int(y)), (int(x) + 20, int(y) + 7), 1, 1)
    mask[0, :3] = 1
    return mask


def _apart(masks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    taken = np.zeros_like(next(iter(masks)))
    for mask in masks:
        yield mask & ~taken & 1
        taken |= mask


SAMPLES = (
    box_sample("P01/one", 1),
    box_sample("P01/two.5", 2, channels=3),
    box_sample("P02/a b~rotate-2@5,0", 3, split="val"),
    box_sample("P03/later", 4, split="test", known=()),
)


def read(source: str, path: Path, **options: Any) -> dict[str, Sample]:
    """The samples of a folder, as the source of that format gives them; nothing may be refused."""
    adapter = SOURCES[source].model_validate({"format": source, "path": str(path), **options})
    listing = adapter.scan(FileCache())
    assert [row for row in listing.refused if not row.name.endswith("samples.csv")] == []
    return {record.name: adapter.load(record, listing.classes) for record in listing.records}


def export_to(dataset: Dataset, out: Path, to: str, **options: Any) -> ExportSummary:
    splits = options.pop("splits", ())
    return export(dataset, out, to, splits=splits, options=options)


def assert_same(found: Sample, expected: Sample) -> None:
    """Image, planes and known agree."""
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.known, expected.known)
    np.testing.assert_array_equal(bitmask.contiguous(found.masks), bitmask.contiguous(expected.masks))


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


_built: dict[str, Dataset] = {}


@pytest.fixture(name="box", scope="session")
def box_fixture(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """`SAMPLES` as a dataset: two in train, one in val, one without labels in test."""
    if "box" not in _built:  # each module that imports a fixture has its own: build once for all
        _built["box"] = dataset_of(tmp_path_factory.mktemp("box"), SAMPLES)
    return _built["box"]

"""Making one sample of a dataset again, from its source through every step and its encoding, to compare the pixels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.cache.scratch import scratch_folder
from augforge.engine.opening import Opened, list_source
from augforge.engine.outcome import Outcome, Pool
from augforge.engine.pipeline import Pipeline
from augforge.engine.recorded import find_source, recorded_recipe
from augforge.engine.sides import settle_steps
from augforge.engine.sourcetable import source_table
from augforge.errors import AugforgeError, DatasetError, SourceError
from augforge.ops import OPS
from augforge.planning.rows import Row
from augforge.progress import Progress, Silent
from augforge.recipe.recipe import Recipe
from augforge.store.codec import decode_image, library_versions, pixel_digest
from augforge.store.dataset import Dataset
from augforge.store.storage import Storage
from augforge.store.versions import is_table_intact


@dataclass
class Replay:
    """What came of making a sample again.

    Attributes:
        name: of the sample.
        verdict: ``equal``, ``different``, or ``cannot be made``.
        reasons: why it is not equal, as far as that is known.
        pixels: pixel digests: ``recorded`` in the index, of the ``stored`` sample, and of the one ``made`` again.
        bytes_equal: whether the encoded image and masks are the stored ones too.
        image_equal, masks_equal: whether these pixels are equal.
        differing_pixels: of the image.
        source: where the source was read.
    """

    name: str
    verdict: str = "cannot be made"
    reasons: list[str] = field(default_factory=list)
    pixels: dict[str, str | None] = field(default_factory=dict)
    bytes_equal: bool | None = None
    image_equal: bool | None = None
    masks_equal: bool | None = None
    differing_pixels: int | None = None
    source: str | None = None


def replay_sample(
    dataset: Dataset, name: str, source: str | None = None, progress: Progress | None = None, jobs: int = 1
) -> Replay:
    """Make a sample of a dataset again, and compare its pixels with the stored ones.

    The recipe is that of the manifest with its overrides and review, the source the one of the last build. Only the
    tasks that the sample needs are performed, in a temporary folder: nothing is written to the dataset.

    Args:
        dataset: the dataset.
        name: of the sample.
        source: where the source is now, if it was moved.
        progress: is told how far the work is.
        jobs: worker processes.

    Raises:
        DatasetError: there is no such sample, or its stored bytes cannot be read.
    """
    position = dataset.position(name)
    found = Replay(name, pixels={"recorded": dataset.index["pixel_digest"][position], "stored": None, "made": None})
    with scratch_folder("augforge-replay-") as folder:
        try:
            found.source = find_source(dataset.folder, dataset.manifest, source)
            recipe = recorded_recipe(dataset.folder, dataset.manifest, found.source, folder)
            opened = _open(dataset, recipe, folder)
            _compare(dataset, position, opened, opened.pipeline(opened.recipe.steps, jobs, progress or Silent()), found)
        except AugforgeError as error:
            found.reasons.insert(0, str(error))
    if found.verdict != "equal":
        found.reasons += _changed_surroundings(dataset)
    return found


def _open(dataset: Dataset, recipe: Recipe, folder: Path) -> Opened:
    """List the source as a build would, but reuse no pixels: only what the version's ledger knows of them."""
    # Facts of files save reading every image again. A copy: a cache deletes its file if that is damaged.
    with suppress(OSError):
        shutil.copy(dataset.folder / "work" / "files.sqlite", folder)
    files = FileCache(folder / "files.sqlite")
    listing = list_source(recipe, files)
    libraries, pool = library_versions(), Pool()
    if dataset.manifest.made_by.get("findings") == libraries["findings"]:
        with suppress(OSError, pa.ArrowException, KeyError):  # without it, everything is measured again
            if is_table_intact(dataset.folder, dataset.manifest, dataset.manifest.ledger_path):
                pool.ledger.load(dataset.folder / dataset.manifest.ledger_path)
    recipe = settle_steps(recipe, listing)
    return Opened(recipe, Storage(folder), listing, source_table(listing, recipe), pool, libraries, files)


def _compare(dataset: Dataset, position: int, opened: Opened, pipeline: Pipeline, found: Replay) -> None:
    """Make the sample again and say how it compares; `found` is filled in."""
    outcome = opened.make_samples(pipeline, dry=True)
    if not outcome.counts.exact:  # measurements or results of tasks are missing: the plan depends on them
        outcome = opened.make_samples(pipeline, encode=False)
    row = _find_row(dataset, position, outcome)
    payload, facts = pipeline.make_payload(row)
    changed = opened.files.changed_files()
    if changed:
        raise SourceError(f"{changed[0]} changed while it was read. Try again")
    image, masks = payload.read_checked(facts["payload"], row.name)
    stored, stored_bytes = dataset[position], tuple(map(bytes, dataset.payload(position)))
    made_image = decode_image(image)
    made_masks = bitmask.decode(masks, row.height, row.width, len(dataset.classes))
    found.pixels |= {"stored": pixel_digest(stored.image, stored.masks), "made": facts["pixels"]}
    found.bytes_equal = stored_bytes == (image, masks)
    found.image_equal = np.array_equal(made_image, stored.image)
    found.masks_equal = np.array_equal(made_masks, stored.masks)
    if made_image.shape == stored.image.shape:
        differs = made_image != stored.image
        found.differing_pixels = int((differs.any(axis=2) if differs.ndim == 3 else differs).sum())
    found.verdict = "equal" if len({*found.pixels.values()}) == 1 else "different"
    if found.pixels["stored"] != found.pixels["recorded"]:
        found.reasons.append("the stored pixels are not those of the index: the shard is damaged. Run augforge verify")


def _find_row(dataset: Dataset, position: int, outcome: Outcome) -> Row:
    """The planned row of a sample; DatasetError if the recipe now makes another sample of that name, or none."""
    name, wanted = dataset.index["name"][position], dataset.index["id"][position]
    row = next((row for row in outcome.rows if row.name == name), None)
    if row is None:
        raise DatasetError(f"the recipe no longer makes a sample '{name}' of this source")
    if row.id == wanted:
        return row
    ids = {row.name: row.id for row in (outcome.tables[0] if outcome.tables else outcome.rows)}
    roots = [root["name"] for root in dataset.index["lineage"][position]["roots"]]
    gone = [root for root in roots if root not in ids]
    if gone:
        raise DatasetError(f"the source holds no '{gone[0]}' any more, which the sample was made from")
    raise DatasetError(
        f"its id was {wanted} and would be {row.id} now: something that decides its pixels was changed since, such as "
        "an image, an annotation, its partners or an op. Which one: augforge explain RECIPE"
    )


def _changed_surroundings(dataset: Dataset) -> Iterator[str]:
    """What else was different when the dataset was built, and may be the reason."""
    manifest = dataset.manifest
    for name, version in manifest.ops.items():
        now = OPS[name].version if name in OPS else None
        if now != version:
            yield f"the op {name} was version {version}; " + (f"it is version {now} now" if now else "it is gone")
    yield from _changed_libraries(manifest.made_by, library_versions())


def _changed_libraries(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) != now.get(name):
            yield f"{name} was {before.get(name) or 'not installed'}, and is {now.get(name) or 'not installed'}"

"""Checking pixels: every sample is decoded, and what the index says of its pixels is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from augforge import bitmask
from augforge.cache.work import PLACES
from augforge.store.codec import decode_image, pixel_digest
from augforge.store.index import class_columns
from augforge.store.manifest import ShardEntry
from augforge.store.verification.files import DatasetFiles
from augforge.store.verification.report import Fault
from augforge.store.verification.shards import map_file, slices


def pixel_faults(files: DatasetFiles, shard: ShardEntry, tables: Sequence[pl.DataFrame]) -> Iterator[Fault]:
    """Samples of a shard whose decoded pixels are not what an index says: digest, size, type, areas and boxes.

    Args:
        files: of the dataset.
        shard: whose file is there.
        tables: as for `augforge.store.verification.shards.shard_faults`. Each sample is decoded once for all of them.
    """
    shown, content = files.display_path(shard.path), map_file(files.folder / shard.path)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in (row for table in tables for row in table.to_dicts()):
        rows.setdefault(row["id"], []).append(row)
    for same in rows.values():
        # Versions that share a shard differ in what they say of a sample only if one of them is wrong.
        for row in same if any(other != same[0] for other in same) else same[:1]:
            yield from _sample_faults(shown, content, row)


def _sample_faults(shown: str, content: memoryview, row: Mapping[str, Any]) -> Iterator[Fault]:
    name, classes = row["name"], list(row["area"])
    try:
        encoded_image, encoded_masks = slices(content, [row[column] for column in PLACES])
        image = decode_image(encoded_image)
        masks = bitmask.decode(encoded_masks, row["height"], row["width"], len(classes))
    except ValueError as error:
        yield Fault(shown, "damaged", f"sample '{name}' cannot be decoded: {error}", (name,))
        return
    if pixel_digest(image, masks) != row["pixel_digest"]:
        message = f"the decoded pixels of {name} are not those that were stored"
        yield Fault(shown, "damaged", message, (name,))
        return
    areas, boxes = bitmask.areas_and_boxes(masks, len(classes))
    known = bitmask.flags_to_bits(np.array([area is not None for area in row["area"].values()]))
    facts = {"known": known.tobytes().hex(), "areas": areas.tolist(), "boxes": boxes.tolist()}
    found = {
        **class_columns(facts, classes),
        "width": image.shape[1],
        "height": image.shape[0],
        "channels": 1 if image.ndim == 2 else image.shape[2],
        "dtype": str(image.dtype),
    }
    for column, value in found.items():
        if row[column] != value:
            yield Fault(shown, "wrong", f"the index's {column} of {name} is not that of its pixels", (name,))

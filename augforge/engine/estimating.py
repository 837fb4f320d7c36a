"""How many bytes a planned dataset will need, before its pixels are made."""

from __future__ import annotations

from collections.abc import Sequence

from augforge import bitmask
from augforge.engine.finished import Finished
from augforge.errors import AugforgeError
from augforge.keys import hash64
from augforge.ops import Context
from augforge.planning.rows import Row
from augforge.sample import Sample
from augforge.sources import Record

ROW_BYTES = 1000
"""Rough number of bytes that a sample needs in a shard besides its image and masks: lineage, names."""
_TRIED, _TRIED_PIXELS = 8, 1 << 25
"""Source images that are encoded for an estimate: as many, or as few as hold so many pixels."""


def estimate_bytes(finished: Finished) -> int:
    """The bytes of the shards: of what is stored already as it is, of all else by images that are encoded to try.

    The size of a source's files says little of what is stored: a JPEG becomes a PNG of four times its size. So some
    source images, chosen by hash, are encoded as the dataset's are, with their masks, and the bytes of all images are
    taken to be in the same proportion to their files.
    """
    rows, pool = finished.outcome.rows, finished.pool
    stored = [pool.payloads[key] for row in rows if (key := (row.id, str(finished.encoding))) in pool.payloads]
    known = sum(payload.image_bytes + payload.masks_bytes for payload in stored)
    new = [row for row in rows if (row.id, str(finished.encoding)) not in pool.payloads]
    return round(known + (_bytes_of_new(finished, new) if new else 0)) + len(rows) * ROW_BYTES


def _bytes_of_new(finished: Finished, rows: Sequence[Row]) -> float:
    used = {row.name for row in finished.opened.table.rows}
    records = [record for record in finished.listing.records if record.name in used]
    pixels = sum(row.width * row.height for row in rows)
    per_pixel = sum(record.bytes for record in records) / sum(record.width * record.height for record in records)
    return pixels * per_pixel * _growth(finished, records)


def _growth(finished: Finished, records: Sequence[Record]) -> float:
    """Bytes a pixel of images as they will be stored, as a multiple of what they are in the source's files."""
    made = pixels = given = shown = 0
    for record in sorted(records, key=lambda record: hash64("estimate", record.name))[:_TRIED]:
        if shown >= _TRIED_PIXELS:
            break
        try:
            sample = finished.recipe.source.load(record, finished.listing.classes)
        except (AugforgeError, OSError):  # the build itself reports it
            continue
        tried = _resized(finished, sample)
        made += len(finished.encoding.encode(tried.image)) + len(bitmask.encode(tried.masks))
        pixels += tried.image.shape[0] * tried.image.shape[1]
        given += record.bytes
        shown += record.width * record.height
    return (made / pixels) / (given / shown) if given and pixels else 1.0


def _resized(finished: Finished, sample: Sample) -> Sample:
    """The sample in the size that it is stored in: finer pixels need more bytes, and bars beside a picture few."""
    recipe = finished.recipe
    if recipe.output.size is None:
        return sample
    context = Context(finished.listing.classes, finished.listing.labels)
    (made,) = recipe.steps[-1].bound.call([sample], context).results
    return made if isinstance(made, Sample) else sample

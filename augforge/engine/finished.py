"""A build whose samples are all made, and what its tables and shards say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augforge.cache.work import PLACES
from augforge.engine.findings import Findings
from augforge.engine.outcome import Outcome, Pool
from augforge.keys import canonical_json
from augforge.planning.rows import Row
from augforge.recipe.recipe import Recipe, Verdict
from augforge.sources import Listing, Refused
from augforge.store import index as index_store
from augforge.store.codec import Encoding

if TYPE_CHECKING:
    import pyarrow as pa

    from augforge.engine.opening import Opened


@dataclass(frozen=True, slots=True)
class Finished:
    """A build whose samples are all made; their payloads and facts are in the pool.

    ``findings`` are those that were there before, and those of the pictures.
    """

    opened: Opened
    outcome: Outcome
    findings: Findings = field(default_factory=Findings)

    @property
    def folder(self) -> Path:
        """The dataset's folder."""
        return self.opened.folder

    @property
    def recipe(self) -> Recipe:
        """The recipe that was built."""
        return self.opened.recipe

    @property
    def listing(self) -> Listing:
        """What the source holds."""
        return self.opened.listing

    @property
    def pool(self) -> Pool:
        """Where payloads and facts of the samples are."""
        return self.opened.pool

    @property
    def encoding(self) -> Encoding:
        """How the samples are stored."""
        return self.recipe.output.encoding

    def rejected(self) -> list[dict[str, Any]]:
        """Rows of the rejected table: what steps rejected and what the source refused, sorted."""
        rows = [*refused_rows([*self.listing.refused, *self.outcome.refused]), *self.outcome.rejected]
        return sorted(rows, key=lambda row: (row["name"], row["step"]))


def refused_rows(refused: Iterable[Refused]) -> list[dict[str, Any]]:
    """What the source refused, as rows of the rejected table with the step ``source``."""
    return [
        {"name": r.name, "id": "", "group": "", "split": "", "step": "source", "reason": r.reason, "detail": r.detail}
        for r in refused
    ]


def shard_columns(finished: Finished, row: Row) -> dict[str, Any]:
    """What a shard says of a sample besides its payload."""
    facts = finished.pool.facts(row.id, finished.encoding)
    return {
        "id": row.id,
        "name": row.name,
        "group": row.group,
        "split": row.split,
        "image": index_store.image_path(row.name, str(finished.encoding)),
        "known": bytes.fromhex(facts["known"]),
        "width": row.width,
        "height": row.height,
        "label": facts["label"],
        "lineage": canonical_json(row.lineage.to_json()),
        "metadata": canonical_json(dict(row.metadata or {})),
    }


Place = tuple[str, int, int, int, int]
"""A shard's path, and image offset, image bytes, masks offset, masks bytes of a row in it."""


def index_rows(
    finished: Finished, places: Callable[[str], Iterator[Place]], types: Mapping[str, pa.DataType]
) -> Iterator[dict[str, Any]]:
    """The rows of the index, sorted by id.

    Args:
        finished: the build.
        places: those of a split's rows, in the order of the ids.
        types: of the metadata of all rows.
    """
    rows = sorted(finished.outcome.rows, key=lambda row: row.id)
    by_split = {split: places(split) for split in {row.split for row in rows}}
    for row in rows:
        place = dict(zip(("shard", *PLACES), next(by_split[row.split]), strict=True))
        metadata = index_store.metadata_column(row.metadata or {}, types)
        yield {**_index_row(finished, row), "metadata": metadata, **place}


def _index_row(finished: Finished, row: Row) -> dict[str, Any]:
    facts = finished.pool.facts(row.id, finished.encoding)
    return {
        **index_store.common_columns(row),
        "step": _making_step(finished.recipe, row),
        "groups": row.groups,
        "channels": facts["channels"],
        "dtype": facts["dtype"],
        "label": facts["label"],
        "review": review_column(finished.recipe.review, row),
        "overruled": row.overruled or None,
        "licences": row.licences or None,
        "pixel_digest": facts["pixels"],
        "payload_digest": facts["payload"],
        **index_store.class_columns(facts, finished.listing.classes),
    }


def review_column(review: Mapping[str, Verdict], row: Row) -> list[dict[str, str]] | None:
    """A person's verdicts on the source images that show in a sample; None if there is none."""
    roots = dict.fromkeys(root.name for root in row.lineage.roots)
    found = [{"sample": name, **review[name].model_dump()} for name in roots if name in review]
    return found or None


def _making_step(recipe: Recipe, row: Row) -> str:
    """Label of the last step that changed a sample; the resize of `output.size` does not count."""
    labels = [step["step"] for step in row.lineage.steps]
    if recipe.output.size is not None and labels and labels[-1] == recipe.steps[-1].bound.label:
        labels.pop()
    return labels[-1] if labels else ""


def stage_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """The rows of the table of samples between stages."""
    for stage, table in enumerate(outcome.tables):
        for row in sorted(table, key=lambda row: row.name):
            yield {"stage": stage, **index_store.common_columns(row)}

"""The dataset card: a README for people, whose front matter tells `datasets.load_dataset(folder)` what to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from augforge.errors import visible
from augforge.files import write_text
from augforge.store.manifest import Manifest
from augforge.store.seal import seal
from augforge.yamlfile import dump_yaml

_CARD = """---
{front}---

# {name}

A dataset of {samples} annotated images in Parquet shards, built by augforge{by}. Version `{version}`.

| split | samples |
|---|---|
{splits}

{count} classes: {classes}.
{metadata}
The shards of this version are listed above; `shards/` may hold older ones too, so do not glob it.

```python
import augforge

# the path is this folder's
dataset = augforge.open_dataset("{name}")
sample = dataset[0]  # image (H, W[, C]), masks as bit-planes (H, W, P)
dataset.index  # Polars: areas, boxes, lineage of every sample

import datasets

datasets.load_dataset("{name}")  # decodes the image column
```

Masks are a zstd frame of planar bit-planes: class `c` is bit `c % 8` of plane `c // 8`, in the order above.

## Licences

{licences}

## Recipe

{fence}yaml
{recipe}
{fence}
"""


def write_card(folder: Path, manifest: Manifest) -> None:
    """Write ``README.md``, if it is not this card already."""
    path, text = folder / "README.md", card_text(manifest)
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)


def card_text(manifest: Manifest) -> str:
    """All that ``README.md`` holds: the card and its seal."""
    return seal(dataset_card(manifest), html=True)


def dataset_card(manifest: Manifest) -> str:
    """Text of ``README.md`` for a version, with the list of its shards as front matter."""
    files = [
        {"split": split, "path": [shard.path for shard in manifest.shards if shard.split == split]}
        for split in manifest.splits
    ]
    recipe = visible(manifest.recipe.text.rstrip(), lines=True)
    front = {"configs": [{"config_name": "default", "data_files": files}]}
    return _CARD.format(
        front=dump_yaml(front),
        name=manifest.name,
        version=manifest.version,
        by=f" {manifest.augforge}" if manifest.augforge else "",
        samples=manifest.samples,
        splits="\n".join(f"| {split} | {count} |" for split, count in manifest.splits.items()),
        count=len(manifest.classes),
        classes=", ".join(map(markdown, manifest.classes)),
        licences="\n".join(_licence_lines(manifest)),
        metadata=_metadata(manifest.metadata_columns),
        recipe=recipe,
        fence=_fence(recipe),
    )


def markdown(text: str) -> str:
    """A name as Markdown, in one line: it forms no table, link, HTML or code, and control characters are escaped."""
    return _SIGNS.sub(lambda found: _ENTITIES.get(found.group(), f"\\{found.group()}"), visible(text))


_SIGNS = re.compile(r"[\\`*{}\[\]|<>&~$]|^[#+!=-]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def _fence(text: str) -> str:
    """The backticks around a block of code that holds this text: more than it has in a row."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(3, longest + 1)


def _licence_lines(manifest: Manifest) -> Iterator[str]:
    """Each licence with its samples, as a list; or that none is stated."""
    for entry in manifest.licences:
        facts = [entry.name, entry.url, f"attribution: {entry.attribution}" if entry.attribution else ""]
        text = markdown(_one_line(", ".join(filter(None, facts))))
        yield f"- {text} ({entry.samples} sample{'s' * (entry.samples != 1)})"
    if not manifest.licences:
        yield "No licence is stated for the source images."


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _metadata(columns: list[str]) -> str:
    """A paragraph that names what may be personal data; nothing if there is no such column."""
    if not columns:
        return ""
    return f"\nSamples carry metadata, which may be personal data: {', '.join(map(markdown, columns))}.\n"

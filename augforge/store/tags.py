"""Names that people give to versions: `tags.yaml` beside the manifest, such as ``baseline: 3f0a9c1b2d4e5f60``.

A tag of a sample is something else: a filter's finding. This file is about tags of versions alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augforge.errors import DatasetError, nearest
from augforge.files import write_text
from augforge.store.seal import is_sealed, seal, seal_problem

TAGS = "tags.yaml"
_HEAD = "# Names of versions of this dataset. Written by `augforge tag`; tagged versions are kept by `augforge gc`.\n"


def is_version_prefix(text: str) -> bool:
    """Whether a text can be the beginning of a version: hexadecimal digits alone. No tag looks like that."""
    return re.fullmatch(r"[0-9a-f]*", text) is not None


def check_tag(name: str) -> None:
    """Raise DatasetError unless a text can name a version."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise DatasetError(f"'{name}' cannot be a tag; expected up to 100 letters, digits, '.', '_' and '-' alone")
    if is_version_prefix(name):
        raise DatasetError(
            f"'{name}' cannot be a tag: it could be the beginning of a version. Use a letter from g to z, or a '-'"
        )


def read_tags(folder: Path) -> dict[str, str]:
    """The version of each tag, sorted by tag; none if there is no file. DatasetError if the file is damaged."""
    from augforge.yamlfile import read_yaml  # a process that loads data needs no YAML library

    path = folder / TAGS
    if not path.is_file():
        return {}
    if not path.stat().st_size:
        raise DatasetError(f"{path}: is empty, so its tags are lost. Take it from a copy: augforge repair --from COPY")
    file = read_yaml(path, DatasetError)
    problem = seal_problem(file.text.encode()) if is_sealed(file.text.encode()) else None
    if problem:
        raise DatasetError(f"{path}: {problem}. Check its lines, and then take the last one away")
    return checked_tags(path, file.data)


def checked_tags(path: Path, tags: Mapping[str, Any]) -> dict[str, str]:
    """The version of each tag, sorted by tag. DatasetError, which begins with the path, if something is no tag."""
    for name, version in tags.items():
        _check_entry(path, name, version)
    return dict(sorted(tags.items()))


def _check_entry(path: Path, name: str, version: Any) -> None:
    if not isinstance(version, str) or not re.fullmatch(r"[0-9a-f]{16}", version) or is_version_prefix(name):
        raise DatasetError(
            f"{path}: {name} is not a tag with a version of 16 hexadecimal digits. Correct the line, or take it out"
        )


def write_tags(folder: Path, tags: dict[str, str]) -> None:
    """Replace the tags of a dataset, atomically."""
    write_text(folder / TAGS, tags_text(tags))


def tags_text(tags: dict[str, str]) -> str:
    """All that the file of these tags holds."""
    from augforge.yamlfile import dump_yaml

    return seal(_HEAD + dump_yaml(dict(sorted(tags.items()))))


def resolve_tag(folder: Path, version: str, known: Sequence[str] = ()) -> str:
    """The version that a tag names; the text itself if it may be the beginning of a version.

    DatasetError with the nearest tag or known version if there is none of that name.
    """
    if is_version_prefix(version) or version in known:
        return version
    tags = read_tags(folder)
    if version not in tags:
        raise DatasetError(
            f"{folder} has no version '{version}', and no tag of that name.{nearest(version, [*tags, *known])} "
            f"List both: augforge log {folder}"
        )
    return tags[version]

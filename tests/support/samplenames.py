"""Sample names from the paths of an export: `augforge.export.paths.sample_path` undone."""

from __future__ import annotations

from urllib.parse import unquote


def name_at(path: str) -> str:
    """The name of the sample whose files lie at a path (with ``/``, without suffix)."""
    return "/".join("" if part == "%" else unquote(part, errors="strict") for part in path.split("/"))

"""A build of what was built last: known by one look at the source's folder, without a listing or a plan.

A build notes in the work area what it was made of: recipe, code, libraries, and the state of the source's folder, which
is names, sizes, times and inodes of all files. The next build that finds all of that the same, and the version whole,
says so again. Whatever a look cannot vouch for is built in the ordinary way, which gives the same: plugins' sources,
URLs, links to folders, files outside of the source's folder, and files that were changed just before they were listed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import xxhash

import augforge
from augforge.cache.filecache import has_stored
from augforge.cache.lookout import FolderState, folder_state
from augforge.engine.registering import with_registered_licence
from augforge.engine.summary import Summary
from augforge.errors import AugforgeError, DatasetError
from augforge.files import file_sha256, is_url, write_text
from augforge.keys import canonical_json, digest
from augforge.planning.identity import op_identity
from augforge.recipe.recipe import Recipe
from augforge.sources import Source
from augforge.store.codec import library_versions
from augforge.store.contents import LAST_BUILD
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.versions import is_table_intact


class LastBuild(NamedTuple):
    """What the last build of a dataset gave."""

    summary: Summary
    manifest: Manifest


def find_unchanged(recipe: Recipe, folder: Path) -> LastBuild | None:
    """The last build of a dataset, if building now would give the same; None if it would not, or nobody knows."""
    noted = _read_note(folder)
    if noted is None or noted["texts"] != _text_digests(folder, noted["texts"]) or noted["made_of"] != _made_of(recipe):
        return None
    if noted["source"] != [state.digest for state in _source_states(recipe.source, folder) or ()]:
        return None
    try:
        manifest = read_manifest(folder)
    except DatasetError:
        return None
    if not _is_whole(folder, manifest):
        return None
    return LastBuild(Summary.of_same_build(noted["summary"]), manifest)


def remember_build(recipe: Recipe, folder: Path, summary: Summary, began_ns: int) -> None:
    """Note what a published build was made of, unless its source was changed when the build began, or later.

    Args:
        recipe: as it was loaded.
        folder: of the dataset.
        summary: what the build says of itself.
        began_ns: when it began, before it listed anything; ns since 1970.
    """
    (folder / LAST_BUILD).unlink(missing_ok=True)
    states = _source_states(recipe.source, folder)
    if states is None or not all(state.is_settled(began_ns) for state in states):
        return
    names = ("manifest.yaml", f"versions/{summary.version}.yaml", "README.md")
    note = {
        "made_of": _made_of(recipe),
        "source": [state.digest for state in states],
        "texts": _text_digests(folder, names),
        "summary": summary.to_json(),
    }
    text = json.dumps(note)
    with suppress(AugforgeError):  # a full disk costs the next build time
        write_text(folder / LAST_BUILD, f"{text}\n{_checksum(text)}\n", durable=False)


def _read_note(folder: Path) -> dict[str, Any] | None:
    """What the last build noted; None if it noted nothing, or the file is damaged."""
    try:
        text, checksum, _ = (folder / LAST_BUILD).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return None
    note: dict[str, Any] | None = json.loads(text) if checksum == _checksum(text) else None
    return note


def _checksum(text: str) -> str:
    return xxhash.xxh3_128(text.encode()).hexdigest()


def _made_of(recipe: Recipe) -> str:
    """Digest of everything but the source's files that decides what a build gives and says."""
    source, warning = with_registered_licence(recipe.source)
    return digest(
        [recipe.text, str(recipe.path), canonical_json(dict(recipe.overrides)), recipe.review_text, recipe.strict],
        [source.model_dump(mode="json"), source.adapter(), warning],
        [op_identity(step.bound) for step in recipe.steps],
        [library_versions(), version("polars"), sys.version],
        _code_state(),
    )


def _code_state() -> str:
    """Digest over augforge's own modules, by their sizes and times: who works on augforge is not told yesterday's."""
    package = Path(augforge.__file__).parent
    files = sorted(package.rglob("*.py"))
    states = ((file.relative_to(package).as_posix(), file.stat()) for file in files)
    return digest(str(package), [[name, status.st_size, status.st_mtime_ns] for name, status in states])


def _source_states(source: Source, folder: Path) -> list[FolderState] | None:
    """The state of each folder that a source reads; None if it may read something else, or it cannot be told."""
    parts = list(_parts(source))
    if any(part.origin() or is_url(part.path) or not part.root.is_dir() for part in parts):
        return None
    if any(folder.resolve().is_relative_to(part.root.resolve()) for part in parts):
        return None  # a build changes it
    if any(_leads_out(each.model_dump(mode="json", exclude=_NO_PLACES)) for each in (source, *parts)):
        return None
    states = [state for part in parts if (state := folder_state(part.root)) is not None]
    return states if len(states) == len(parts) else None


_NO_PLACES = {"path", "sources", "group"}
"""Options of a source that name no file in its folder, or are looked at by themselves."""


def _parts(source: Source) -> Iterator[Source]:
    """The sources that a source is made of; itself if it is no union."""
    members = getattr(source, "members", None)
    if members is None:
        yield source
    else:
        for member in members:
            yield from _parts(member.source)


def _leads_out(options: Any) -> bool:
    """Whether an option may name something outside of the source's folder."""
    if isinstance(options, str):
        path = PurePath(options)
        return path.is_absolute() or ".." in path.parts or options.startswith("~")
    values = options.values() if isinstance(options, Mapping) else options if isinstance(options, list) else ()
    return any(map(_leads_out, values))


def _text_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each of a dataset's text files; empty for one that cannot be read."""
    found = dict.fromkeys(names, "")
    for name in found:
        with suppress(OSError):
            found[name] = file_sha256(folder / name)
    return found


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether all files of a version are there: tables by their digests, shards as they were when they were hashed."""
    shards = ((folder / shard.path, "sha256", shard.sha256) for shard in manifest.shards)
    tables = all(is_table_intact(folder, manifest, path) for path in manifest.table_paths)
    return tables and has_stored(folder / "work" / "files.sqlite", shards)

"""Versions in a dataset's folder: finding one by its tag or beginning, and what became of those that are gone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from augforge.errors import DatasetError, nearest, some
from augforge.files import file_sha256, write_text
from augforge.store.card import write_card
from augforge.store.manifest import Manifest, read_manifest, versions


def find_version(folder: Path, version: str) -> str:
    """The whole name of a version that is given by a tag, or by its beginning; DatasetError if there is no such one."""
    from augforge.store.tags import resolve_tag  # as in `read_manifest`

    known = versions(folder)
    version = resolve_tag(folder, version, known)
    found = [name for name in known if name.startswith(version)]
    if len(found) != 1:
        problem = "has several versions that begin with" if found else "has no version"
        raise DatasetError(f"{folder} {problem} '{version}'.{nearest(version, known)}")
    return found[0]


def is_table_intact(folder: Path, manifest: Manifest, path: str) -> bool:
    """Whether a table is there and has the manifest's digest; in format 1, which has no digest, whether it is there."""
    entry, file = manifest.file_entry(path), folder / path
    return file.exists() and (entry is None or file_sha256(file) == entry.sha256)


def finish_commit(folder: Path, current: Manifest) -> None:
    """Do what a build that was killed in its commit, or beside it, may have left to do.

    It writes the card, and makes ``versions/<version>.yaml`` of the current version say what ``manifest.yaml`` says: a
    build that gives the same version again, with another review for example, may be stopped between both.
    """
    write_card(folder, current)
    text, copy = (folder / "manifest.yaml").read_text(encoding="utf-8"), folder / "versions" / f"{current.version}.yaml"
    if not copy.exists() or copy.read_text(encoding="utf-8") != text:
        write_text(copy, text)


def removed_version(folder: Path, version: str) -> DatasetError | None:
    """The error for whoever reads a version whose files are gone because the version is; None if it is not that."""
    known = versions(folder)
    with suppress(DatasetError):
        known = sorted({*known, read_manifest(folder).version})
    if version in known or not known:  # without any version, the whole dataset is gone
        return None
    return DatasetError(
        f"version {version} of {folder} is not there any more: augforge gc removed it while it was being read, or "
        f"before. There are: {some(known)}. Open one of these; a version with a tag (augforge tag) is never removed"
    )


def datasets_near(folder: Path) -> str:
    """The datasets in a folder that is none itself, or the one beside it whose name is nearest; else how to build."""
    inner = sorted(str(path.parent) for path in folder.glob("*/manifest.yaml"))
    if inner:
        return f" It holds datasets: {some(inner)}. Give one of them"
    beside = [path.parent.name for path in folder.parent.glob("*/manifest.yaml")] if not folder.exists() else []
    hint = nearest(folder.name, beside)
    return hint if "Did you mean" in hint else " Build one: augforge build RECIPE"

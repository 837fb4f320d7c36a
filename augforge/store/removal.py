"""What readers get when the version that they read is removed by gc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from augforge.errors import DatasetError, some
from augforge.store.manifest import read_manifest, versions


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


@contextmanager
def explain_removal(folder: Path, version: str, remote: object = None) -> Iterator[None]:
    """While a version is read from its folder: if gc has removed it, that is the error, and not the file it removed.

    Behind a URL (``remote``) the folder holds copies alone, which say nothing of what there is.
    """
    try:
        yield
    except (DatasetError, FileNotFoundError) as error:
        removed = None if remote else removed_version(folder, version)
        if removed is None:
            raise
        raise removed from error

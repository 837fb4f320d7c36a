"""Deleting what a dataset no longer needs: the work area, old versions, and shards that no version names."""

from __future__ import annotations

import shutil
from pathlib import Path

from augforge.errors import DatasetError
from augforge.files import is_url, sync_folder, writer_lock, writing
from augforge.store.card import write_card
from augforge.store.log import read_log
from augforge.store.manifest import read_manifest, versions
from augforge.store.remote import Remote
from augforge.store.tags import read_tags


def collect(place: str | Path, keep: int | None = None) -> dict[str, int]:
    """Delete what a dataset no longer needs.

    Args:
        place: folder of the dataset; a URL is refused.
        keep: how many versions to keep: the current one and then the newest; None keeps all. Versions with a tag are
            kept beside them.

    Returns:
        Number of ``files`` and ``bytes`` deleted.

    Raises:
        DatasetError: a URL, no dataset, or a build is writing to it.
    """
    if is_url(place):
        raise DatasetError(
            f"{place} is a URL, and gc takes folders alone. Run it on the folder that was uploaded, and mirror that to "
            f"the URL. Copies of what was read from the URL are in {Remote(str(place)).folder}, and may be deleted"
        )
    folder = Path(place)
    read_manifest(folder)  # refuses a folder that is no dataset, before a lock file is made in it
    with writer_lock(folder), writing(folder):
        # Read again: a build may have made another version current before the lock was taken.
        return _collect(folder, read_manifest(folder).version, keep)


def _collect(folder: Path, current: str, keep: int | None) -> dict[str, int]:
    kept = [current, *(version for version in _newest_first(folder) if version != current)][:keep]
    kept += [version for version in set(read_tags(folder).values()) & {*versions(folder)} if version not in kept]
    named = {shard.path for version in kept for shard in read_manifest(folder, version).shards}
    # Manifests go first, and for good: gc may be killed at any moment, and no manifest may name files that are gone.
    unwanted = [path for path in (folder / "versions").iterdir() if path.name.split(".")[0] not in kept]
    manifests = len(unwanted)
    unwanted += [path for path in (folder / "index").iterdir() if path.name.split(".")[0] not in kept]
    unwanted += [path for path in (folder / "shards").glob("*") if f"shards/{path.name}" not in named]
    unwanted += [path for path in (folder / "work").rglob("*") if path.is_file()]
    freed = {"files": len(unwanted), "bytes": sum(path.stat().st_size for path in unwanted)}
    write_card(folder, read_manifest(folder, current))  # a build that was killed may have left that of an older version
    for number, path in enumerate(unwanted):
        if number == manifests:
            sync_folder(folder / "versions")
        path.unlink()
    shutil.rmtree(folder / "work", ignore_errors=True)
    return freed


def _newest_first(folder: Path) -> list[str]:
    """All versions, by their last entry in the log; those without an entry count as the oldest."""
    last_entry = {entry.get("version"): number for number, entry in enumerate(read_log(folder).entries)}
    return sorted(versions(folder), key=lambda version: (-last_entry.get(version, -1), version))

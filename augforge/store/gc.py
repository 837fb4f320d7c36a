"""Sweeping a dataset: the work area, versions no longer wanted, and shards that no version names."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

from augforge.errors import DatasetError
from augforge.files import locked
from augforge.store.manifest import read_manifest, versions
from augforge.store.remote import Remote, is_url


def collect(place: str | Path, keep: int | None = None) -> dict[str, int]:
    """Remove what a dataset can do without.

    Args:
        place: folder of the dataset; a URL is refused.
        keep: how many versions stay, newest first, the current one always; None keeps all.

    Returns:
        Number of ``files`` and ``bytes`` removed.

    Raises:
        DatasetError: a URL, no dataset there, or a build is writing to it.
    """
    if is_url(place):
        raise DatasetError(
            f"{place} is a URL, and gc takes folders alone. Run it on the folder that was uploaded, and mirror that to "
            f"the URL. What was read from the URL lies in {Remote(str(place)).folder}, and may be deleted"
        )
    folder = Path(place)
    read_manifest(folder)  # so that no other folder is touched
    with locked(folder):
        return _collect(folder, read_manifest(folder).version, keep)


def _collect(folder: Path, current: str, keep: int | None) -> dict[str, int]:
    kept = [current, *(version for version in _newest_first(folder) if version != current)][:keep]
    wanted = {shard.path for version in kept for shard in read_manifest(folder, version).shards}
    doomed = [path for path in (folder / "work").rglob("*") if path.is_file()]
    doomed += [path for path in (folder / "shards").glob("*") if f"shards/{path.name}" not in wanted]
    for part in ("index", "versions"):
        doomed += [path for path in (folder / part).iterdir() if path.name.split(".")[0] not in kept]
    freed = {"files": len(doomed), "bytes": sum(path.stat().st_size for path in doomed)}
    for path in doomed:
        path.unlink()
    shutil.rmtree(folder / "work", ignore_errors=True)
    return freed


def _newest_first(folder: Path) -> list[str]:
    """Versions by their last entry in the log; those without one are the oldest."""
    log = folder / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    built: dict[str, int] = {}
    for place, line in enumerate(lines):
        with suppress(json.JSONDecodeError):  # a build that was killed may have left half a line
            built[json.loads(line)["version"]] = place
    return sorted(versions(folder), key=lambda version: (-built.get(version, -1), version))

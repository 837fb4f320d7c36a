"""What a dataset's folder holds: the names that augforge itself makes there, and which files belong to a version."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from augforge.cache.work import SCRATCH, sweep
from augforge.files import is_temporary, read_limited, remove_temporary_files
from augforge.store.manifest import MAX_BYTES, Manifest, versions

LAST_BUILD = "work/last-build.note"
"""What the last build was made of, so that the same build is known at a glance."""
_VERSION = "[0-9a-f]{16}"
OWN_NAMES = {
    "versions": rf"{_VERSION}\.yaml",
    "index": rf"{_VERSION}(\.[0-9a-f]{{8}})?(\.[a-z]+)?\.parquet",
    "shards": r"[^/]+-[0-9a-f]{16}\.parquet",
    "work": r"[0-9a-f]{16}\.(bin|json)|[a-z-]+\.sqlite(-[a-z]+)?|last-build\.note",
}
"""The names of the files that augforge makes in each folder of a dataset; what else lies there is somebody's own."""


def is_own_file(part: str, path: Path) -> bool:
    """Whether a path in a folder of `OWN_NAMES` is a file of augforge: its name says so, and it is no link."""
    named = re.fullmatch(OWN_NAMES[part], path.name) is not None or is_temporary(path)
    return named and path.is_file() and not path.is_symlink()


def is_scratch_folder(path: Path) -> bool:
    """Whether a path in the work area is a temporary folder that a process which was killed left there."""
    named = re.fullmatch(rf"{SCRATCH}[a-z0-9_]{{8}}", path.name) is not None
    return named and path.is_dir() and not path.is_symlink()


def version_files(manifest: Manifest) -> list[str]:
    """All files that belong to a version, relative to the dataset, sorted; some of them to other versions too."""
    named = (entry.path for entry in manifest.entries())
    return sorted({f"versions/{manifest.version}.yaml", *manifest.table_paths, *named})


def remove_leftovers(folder: Path) -> None:
    """Delete what a build that was killed left unfinished. The lock is held, so nobody is writing."""
    sweep(folder / "work")
    for part in ("shards", "index", "versions"):
        remove_temporary_files(folder / part)
    for name in ("manifest.yaml", "README.md", "tags.yaml"):  # the folder may hold files of other programs too
        remove_temporary_files(folder, f"{name}.*")


def disk_usage(folder: Path, manifest: Manifest) -> dict[str, int]:
    """Bytes of a dataset's folder by what they belong to.

    Returns:
        ``version``: this version's files, the manifest and the card, which is what `augforge pack` ships;
        ``other_versions``: what only other versions need; ``work``: the work area, a cache; ``rest``: everything else,
        such as the log, shards that no version names any more, and files of yours. Links are not followed.
    """
    own = {*version_files(manifest), "manifest.yaml", "README.md", "tags.yaml"}
    others = {name for version in versions(folder) for name in _names_in(folder / "versions" / f"{version}.yaml")}
    sizes: Counter[str] = Counter(version=0, other_versions=0, work=0, rest=0)
    for path in walk(folder):
        place = path.relative_to(folder).as_posix()
        kind = "version" if place in own else "other_versions" if place in others else "rest"
        with suppress(OSError):  # a build that runs creates and deletes files meanwhile
            sizes["work" if place.startswith("work/") else kind] += path.lstat().st_size
    return dict(sizes)


def _names_in(path: Path) -> list[str]:
    """Files that a manifest names, found without parsing it: dozens of manifests of thousands of shards take long."""
    usual = [f"index/{path.stem}{kind}.parquet" for kind in ("", ".rejected", ".stages", ".ledger")]  # of format 1
    named: list[str] = []
    with suppress(OSError, ValueError):  # that of another version may be damaged, or removed meanwhile
        named = re.findall(r"\b(?:shards|index)/[^/\s'\"]+\.parquet", read_limited(path, MAX_BYTES).decode())
    return [f"versions/{path.name}", *usual, *named]


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder that this user may list; links are neither followed nor given."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from walk(path)
        elif path.is_file():
            yield path

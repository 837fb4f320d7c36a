"""The history of a dataset: what its log says of builds, names of versions, and which version is the current one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augforge.errors import DatasetError, nearest
from augforge.files import is_url, writer_lock
from augforge.store.log import read_log
from augforge.store.manifest import Manifest, read_manifest, versions
from augforge.store.remote import Remote
from augforge.store.storage import Storage, open_storage
from augforge.store.tags import check_tag, read_tags


@dataclass
class HistoryEntry:
    """Something that happened to a dataset.

    Attributes:
        kind: ``version``, ``failed`` (a build), ``checkout`` (a version was made current again), ``gc`` or ``tag``
            (the names of versions were changed).
        time: of the last such build, as the log has it: UTC, ISO 8601. None if the log does not say.
        version: of a version, or the one that was checked out.
        parent: the version that was current before this one was first built.
        current: whether it is the current version.
        name: of the dataset in this version, which a build with ``--rename`` changes.
        tags: names of this version.
        exists: False if `augforge gc` removed it.
        recipe: ``path`` and ``digest``.
        overrides: what ``--set`` changed.
        augforge: the version of augforge that made it; empty in format 1.
        samples, splits: counts.
        builds: how many builds gave this version.
        seconds: of the last of them.
        failures: of a failed build: ``sample``, ``step`` and ``message`` of each task.
        problem: why the manifest cannot be read.
        removed: of a gc: number of ``files`` and ``bytes``, and the ``versions``.
        all_tags: after a change of tags, the version of each.
    """

    kind: str
    time: str | None = None
    version: str | None = None
    parent: str | None = None
    current: bool = False
    name: str | None = None
    tags: list[str] = field(default_factory=list)
    exists: bool = True
    recipe: dict[str, str | None] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    augforge: str = ""
    samples: int | None = None
    splits: dict[str, int] = field(default_factory=dict)
    builds: int = 0
    seconds: float | None = None
    failures: list[dict[str, str]] = field(default_factory=list)
    problem: str | None = None
    removed: dict[str, Any] | None = None
    all_tags: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What happened to a dataset, newest first; and the numbers of the log's damaged lines."""

    folder: str
    name: str
    current: str
    entries: list[HistoryEntry]
    damaged_lines: list[int]


def history(place: str | Path) -> History:
    """What happened to a dataset: versions, failed builds, checkouts, gc and changes of tags, newest first.

    A version that several builds gave stands at its last build. Versions without an entry in the log come last.

    Raises:
        DatasetError: no dataset, or a URL that cannot be read.
    """
    folder = _readable_folder(place)
    with _naming(place, folder):
        current, log, tags = read_manifest(folder), read_log(folder), read_tags(folder)
    parents = _parents(log.entries)
    found: dict[str, HistoryEntry] = {}
    for number, line in enumerate(log.entries):
        # A later build of a version replaces the earlier one, and moves to the end.
        key = _key(line, number)
        before = found.pop(key, None)
        found[key] = _from_log(line, 0 if before is None else before.builds)
    unlogged = [version for version in versions(folder) if version not in found]
    entries = [HistoryEntry("version", version=version) for version in unlogged] + list(found.values())
    for entry in entries:
        if entry.kind == "version" and entry.version:
            _describe_version(folder, entry, current, tags)
            entry.parent = parents.get(entry.version)
    return History(str(place), current.name, current.version, entries[::-1], list(log.damaged))


def _key(line: Mapping[str, Any], number: int) -> str:
    """Builds of one version share a key; everything else has its own."""
    return str(line["version"]) if line.get("version") else f"line {number}"


def _from_log(line: Mapping[str, Any], earlier_builds: int) -> HistoryEntry:
    recipe = {"path": line.get("recipe"), "digest": None}
    entry = HistoryEntry("version", line.get("time"), line.get("version"), recipe=recipe, seconds=line.get("seconds"))
    entry.overrides, entry.builds = dict(line.get("overrides") or {}), earlier_builds + 1
    if "checkout" in line:
        entry.kind, entry.version, entry.recipe, entry.builds = "checkout", line["checkout"], {}, 0
    elif "gc" in line:
        entry.kind, entry.recipe, entry.builds, entry.removed = "gc", {}, 0, dict(line["gc"])
    elif "tags" in line:
        entry.kind, entry.recipe, entry.builds, entry.all_tags = "tag", {}, 0, dict(line["tags"])
    elif entry.version is None:
        entry.kind, entry.builds, keys = "failed", 0, ("sample", "step", "message")
        entry.failures = [{key: str(failure.get(key, "")) for key in keys} for failure in line.get("failures") or ()]
    return entry


def _parents(lines: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """The version that was current before each version was first built, as far as the log says."""
    found: dict[str, str | None] = {}
    current: str | None = None
    for line in lines:
        version = line.get("checkout") or line.get("version")
        if version is None:
            continue
        if "checkout" not in line:
            found.setdefault(version, current)
        current = version
    return found


def _describe_version(folder: Path, entry: HistoryEntry, current: Manifest, tags: Mapping[str, str]) -> None:
    """Add what the manifest of a version says; a damaged one is a problem of this version, not of the log."""
    entry.current = entry.version == current.version
    entry.tags = [tag for tag, version in tags.items() if version == entry.version]
    if not (folder / "versions" / f"{entry.version}.yaml").exists() and not entry.current:
        entry.exists = False
        return
    try:
        manifest = current if entry.current else read_manifest(folder, entry.version)
    except DatasetError as error:
        entry.problem = str(error)
        return
    entry.recipe = {"path": entry.recipe.get("path"), "digest": manifest.recipe.digest}
    entry.name, entry.samples, entry.splits = manifest.name, manifest.samples, dict(manifest.splits)
    entry.augforge, entry.overrides = manifest.augforge, {**entry.overrides, **manifest.recipe.overrides}


def require_folder(place: str | Path, command: str) -> Path:
    """The folder of a dataset; DatasetError for a URL, with the remedy."""
    if is_url(place):
        raise DatasetError(
            f"{place} is a URL, and {command} takes folders alone. Copy it to a folder and back: augforge copy {place} "
            f"FOLDER; augforge {command} FOLDER; augforge copy FOLDER {place} --check"
        )
    return Path(place).expanduser()


def list_tags(place: str | Path) -> dict[str, str]:
    """The version of each tag of a dataset, sorted by tag. DatasetError if there is no dataset."""
    folder = _readable_folder(place)
    with _naming(place, folder):
        read_manifest(folder)
        return read_tags(folder)


def tag_version(place: str | Path, name: str, version: str | None = None) -> str:
    """Give a version a name, or give the name to another version.

    Args:
        place: folder or URL of the dataset.
        name: the tag.
        version: a tag, a version, or the beginning of one; None for the current version.

    Returns:
        The tagged version.

    Raises:
        DatasetError: no dataset, no such version, a name that could be a version, or a build is running.
    """
    check_tag(name)
    storage = open_storage(place)
    folder = storage.folder
    with storage.named():
        storage.pull()
        read_manifest(folder, version)  # refuses a folder that is no dataset, before a lock file is made in it
        with writer_lock(folder, "tag"):
            found = read_manifest(folder, version).version
            storage.replace_tags({**read_tags(folder), name: found})
    return found


def delete_tag(place: str | Path, name: str) -> str:
    """Take a name away; the version it named. DatasetError if there is no such tag."""
    storage = open_storage(place)
    folder = storage.folder
    with storage.named():
        storage.pull()
        read_manifest(folder)
        with writer_lock(folder, "tag"):
            tags = read_tags(folder)
            if name not in tags:
                raise DatasetError(f"{folder} has no tag '{name}'.{nearest(name, tags)}")
            version = tags.pop(name)
            storage.replace_tags(tags)
    return version


def _readable_folder(place: str | Path) -> Path:
    """The folder of a dataset; of one behind a URL, that of fresh copies of its manifests, tags and log."""
    if not is_url(place):
        return Path(place).expanduser()
    remote = Remote(str(place))
    remote.fetch_texts()
    return remote.folder


@contextmanager
def _naming(place: str | Path, folder: Path) -> Iterator[None]:
    """Let errors name a dataset's URL where they name the folder of its copies."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(str(error).replace(str(folder), str(place).rstrip("/"))) from None


def checkout(place: str | Path, version: str) -> Manifest:
    """Make a version the current one. Nothing is copied or removed, and readers see the old or the new manifest.

    Args:
        place: folder or URL of the dataset.
        version: a tag, a version, or the beginning of one.

    Raises:
        DatasetError: no dataset, no such version, files of it are missing, or a build is running.
    """
    storage = open_storage(place)
    folder = storage.folder
    with storage.named():
        storage.pull()
        read_manifest(folder, version)
        with writer_lock(folder, "checkout"):
            manifest = read_manifest(folder, version)
            missing = next(_missing_files(storage, manifest), None)
            if missing is not None:
                raise DatasetError(
                    f"version {manifest.version} cannot be made current: {missing}. Build it again from its recipe, "
                    f"which versions/{manifest.version}.yaml holds, or choose another: augforge log {folder}"
                )
            _make_current(storage, manifest)
    return manifest


def _make_current(storage: Storage, manifest: Manifest) -> None:
    folder = storage.folder
    before = read_manifest(folder).version
    text = (folder / "versions" / f"{manifest.version}.yaml").read_text(encoding="utf-8")
    storage.make_current(manifest, text)
    if before != manifest.version:
        # `version` stays null: whoever looks for the build of a version must not find this line.
        storage.append_log({"version": None, "checkout": manifest.version})


def _missing_files(storage: Storage, manifest: Manifest) -> Iterator[str]:
    for shard in manifest.shards:
        size = storage.size_of(shard.path)
        if size is None:
            yield f"{storage.locate(shard.path)} is missing"
        elif size != shard.bytes:
            yield f"{storage.locate(shard.path)} has {size} bytes, expected {shard.bytes}"
    if storage.size_of(manifest.index_path) is None:
        yield f"{storage.locate(manifest.index_path)} is missing"

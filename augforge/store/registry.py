"""The registry, `data_manifest.yaml`: the sources and datasets that a repository stands for. CI checks it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from augforge.errors import DatasetError
from augforge.files import make_folder, remove_temporary_files, write_text, writing
from augforge.yamlfile import YamlFile, dump_yaml, read_yaml

REGISTRY = "data_manifest.yaml"
LOCK_FOLDER = ".augforge"
"""Beside the registry, and ignored by git. It holds the lock: one that is deleted may be taken by two at once."""
_PATIENCE = 60
"""Seconds to wait for other registrations, each of which takes milliseconds."""
_HEAD = "# Which sources and datasets this repository stands for. Written by `augforge build --register`.\n"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RegisteredSource(_Frozen):
    """A source: name, format, path, digest over the ids of its samples, their number, and the licence.

    Path and digest say which source it is: two folders of one name are two sources, and so are two states of a folder
    that registered datasets were built from. The name only lets datasets refer to it.
    """

    name: str
    format: str
    path: str
    digest: str
    samples: int
    licence: str | None = None


class RegisteredDataset(_Frozen):
    """A dataset: path and digest of its recipe, name of the source, the version built, and samples per split."""

    name: str
    recipe: str
    recipe_digest: str
    source: str
    version: str
    splits: dict[str, int]


class Registry(_Frozen):
    """Sources and datasets, each sorted by name."""

    sources: list[RegisteredSource] = []
    datasets: list[RegisteredDataset] = []

    def with_entries(self, source: RegisteredSource, dataset: RegisteredDataset) -> Registry:
        """The registry with both added; the dataset refers to the source by the name that the source gets here.

        A dataset replaces the one of its name. A source replaces the one of its path and digest. If the data at a path
        changed, the earlier state stays as long as datasets refer to it, under a name with its digest. Builds do not
        know the licence: somebody states it in the file, and it stays with the path, or with the same data elsewhere.
        """
        sources, aliases = _add_source(self.sources, source)
        others = [each for each in self.datasets if each.name != dataset.name]
        datasets = [each.model_copy(update={"source": aliases.get(each.source, each.source)}) for each in others]
        datasets.append(dataset.model_copy(update={"source": sources[-1].name}))
        used = {each.source for each in datasets}
        kept = (each for each in sources if each.name in used or each.path != source.path)
        return Registry(
            sources=sorted(kept, key=lambda each: each.name), datasets=sorted(datasets, key=lambda each: each.name)
        )


def read_registry(path: Path) -> Registry:
    """Read a registry; an empty one if there is no file. DatasetError with file and line for a wrong entry."""
    return read_registry_file(path)[0] if path.exists() else Registry()


def read_registry_file(path: Path) -> tuple[Registry, YamlFile]:
    """Read a registry, and get the lines of its entries too. DatasetError as for `read_registry`."""
    file = read_yaml(path, DatasetError)
    return file.check(Registry, file.data), file


def write_registry(path: Path, registry: Registry) -> None:
    """Write a registry atomically; it is on disk when the function returns."""
    write_text(path, _HEAD + dump_yaml(registry.model_dump()))


def update_registry(path: Path, change: Callable[[Registry], Registry]) -> None:
    """Replace a registry by what `change` makes of it, while no other process does.

    Raises:
        DatasetError: the registry has a wrong entry, or other registrations do not end.
        StorageError: it cannot be written.
    """
    with _locked(path):
        remove_temporary_files(path.parent, f"{path.name}.*")
        before = read_registry(path)
        after = change(before)
        if after != before:
            write_registry(path, after)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Make this process the only one that writes the registry; wait for others."""
    folder = path.parent / LOCK_FOLDER
    lock = FileLock(folder / f"{path.name}.lock", timeout=_PATIENCE)
    try:
        with writing(folder / ".gitignore"):
            make_folder(folder)
            if not (folder / ".gitignore").exists():
                write_text(folder / ".gitignore", "*\n", durable=False)
            lock.acquire()
    except Timeout:
        raise DatasetError(
            f"another process has been writing {path} for {_PATIENCE} seconds. Wait for it, or end it; then register "
            "again: the dataset itself is complete"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _key(source: RegisteredSource) -> tuple[str, str]:
    """What tells sources apart."""
    return source.path, source.digest


def _add_source(
    sources: list[RegisteredSource], new: RegisteredSource
) -> tuple[list[RegisteredSource], dict[str, str]]:
    """The sources with a new one at the end, under a name of its own; and new names of others, by their old ones.

    The newest state of a path has the plain name: an earlier one is renamed when another state is first registered.
    """
    same = [each for each in sources if _key(each) == _key(new)]
    others = [each for each in sources if each not in same]
    elsewhere = {each.name for each in others if each.path != new.path}
    name = same[0].name if same else _free_name(_names_of(new), elsewhere)
    taken, aliases = {name, *(each.name for each in others)}, {}
    for each in others:
        if each.name == name:
            aliases[name] = _free_name((f"{name}@{each.digest[:8]}",), taken)
    renamed = [each.model_copy(update={"name": aliases.get(each.name, each.name)}) for each in others]
    return [*renamed, new.model_copy(update={"name": name, "licence": _licence_of(new, sources)})], aliases


def _names_of(source: RegisteredSource) -> list[str]:
    """The source's name, then more and more of the last folders of its path."""
    parts = [part for part in PurePosixPath(source.path).parts if part not in ("/", "..") and part[-1] != ":"]
    return [source.name, *("/".join(parts[-count:]) for count in range(2, len(parts) + 1))]


def _free_name(names: Sequence[str], taken: Collection[str]) -> str:
    """The first of the names that is not taken; the last one with a number if all of them are."""
    numbered = (f"{names[-1]}-{number}" for number in count(2))
    return next(name for name in chain(names, numbered) if name not in taken)


def _licence_of(source: RegisteredSource, known: Sequence[RegisteredSource]) -> str | None:
    """The licence that was stated for a source: for this state of it, for its path, or for the same data elsewhere."""
    fitting: tuple[Callable[[RegisteredSource], bool], ...] = (
        lambda each: _key(each) == _key(source),
        lambda each: each.path == source.path,
        lambda each: each.digest == source.digest,
    )
    stated = (each.licence for fits in fitting for each in known if fits(each) and each.licence is not None)
    return source.licence or next(stated, None)

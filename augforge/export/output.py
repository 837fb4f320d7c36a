"""The folder that an export writes: it appears, or is filled, only when all files are complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from augforge.errors import AugforgeError
from augforge.files import storage_error

_LOCK, _FILES, _MOVING = ".lock", "files", "moving.json"
"""In the temporary folder: held by the export that runs, its files, and the names of those that are being moved."""


def check_unused(target: Path) -> None:
    """Raise AugforgeError unless ``target`` is new or an empty folder, and no other export writes to it.

    What an export that was killed left there is deleted.
    """
    temporary = _temporary_folder(target)
    if temporary.exists():
        _remove_leftovers(temporary, target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AugforgeError(
            f"{target} exists and is not empty; an export needs a new or empty folder. "
            "Choose another folder or delete this one."
        )


def _remove_leftovers(temporary: Path, target: Path) -> None:
    """Delete the temporary folder of an export that was killed: its lock is there, but nobody holds it.

    If it was killed while its files were moved into a folder that existed before, those that were moved go too. They
    are its own, since it began with an empty folder and noted their names.
    """
    try:
        if not (temporary / _LOCK).exists():  # an export that begins at this moment, or a folder of somebody else
            raise Timeout(str(temporary))
        with FileLock(temporary / _LOCK, timeout=0):
            for name in _names_being_moved(temporary):
                if not (temporary / _FILES / name).exists():
                    _delete(target / name)
    except Timeout:
        raise AugforgeError(
            f"{temporary} is there, so another export to {target} is running or was killed. Wait for it, or "
            "delete that folder"
        ) from None
    shutil.rmtree(temporary, ignore_errors=True)


def _names_being_moved(temporary: Path) -> list[str]:
    path = temporary / _MOVING
    names = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [name for name in names if Path(name).name == name]


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _temporary_folder(target: Path) -> Path:
    """The folder that an export works in until it is complete.

    It is inside an existing target, since a mount point or the shell's folder cannot be replaced, and beside a new one.
    """
    real = target.resolve()
    return (real if real.exists() else real.parent) / f".{real.name}.tmp"


@contextmanager
def output_folder(target: Path) -> Iterator[Path]:
    """A temporary folder whose files are moved to ``target`` if the block succeeds, and deleted otherwise.

    Raises:
        StorageError: a file cannot be written; it is named as it would be in ``target``.
    """
    real, temporary = target.resolve(), _temporary_folder(target)
    try:
        temporary.mkdir(parents=True)
        try:
            with FileLock(temporary / _LOCK, timeout=0):
                (temporary / _FILES).mkdir()
                yield temporary / _FILES
                _move_into_place(temporary, real)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        path = str(error.filename or target).replace(str(temporary / _FILES), str(target))
        raise storage_error(Path(path.replace(str(temporary), str(target))), error) from error


def _move_into_place(temporary: Path, real: Path) -> None:
    """Rename the files' folder to ``real``, or move what it holds there if ``real`` exists."""
    files = temporary / _FILES
    if temporary.parent != real:
        files.rename(real)
        return
    paths = list(files.iterdir())
    names = temporary / f"{_MOVING}.new"
    names.write_text(json.dumps([path.name for path in paths]), encoding="utf-8")
    names.rename(temporary / _MOVING)
    for path in paths:
        path.rename(real / path.name)

"""Ops and sources by name: augforge's own, those of installed packages, and those of plugin files.

Modules are imported at the first look-up of a name, so that importing `augforge.planning` loads no OpenCV.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, TypeVar

from augforge.errors import PluginError

Entry = TypeVar("Entry")
GROUPS = ("augforge.ops", "augforge.sources")
"""Entry point groups in which an installed package names the modules that register its ops and sources."""

_plugin_files: dict[str, Path] = {}
"""Plugin files that were loaded, by the name of the module that each became."""
_registering: set[str] = set()
"""Modules that registered something."""


class Catalogue(Mapping[str, Entry]):
    """What modules register under names. The modules are imported at the first look-up of a name that is not there yet.

    Args:
        kind: what an entry is called in messages, such as ``op``.
        package: the package whose modules register augforge's own entries.
        group: the entry point group of installed plugins.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self._kind, self._package, self._group = kind, package, group
        self._entries: dict[str, Entry] = {}
        self._modules: dict[str, str] = {}
        self._complete = False

    def add(self, name: str, entry: Entry, module: str) -> None:
        """Register an entry that a module defines. Raises ValueError if the name is taken."""
        _registering.add(module)
        if origin_of(module):
            self._import_all()  # augforge's own names come first, so that a clash is reported for the plugin
        if name in self._entries:
            raise ValueError(
                f"duplicate {self._kind} '{name}': {_owner(self._modules[name])} has that name already. Rename this one"
            )
        self._entries[name], self._modules[name] = entry, module

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            self._import_all()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._import_all()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._import_all()
        return len(self._entries)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """What is registered inside the block is gone afterwards: for tests."""
        self._import_all()
        before = dict(self._entries), dict(self._modules)
        try:
            yield
        finally:
            self._entries, self._modules = before

    def _import_all(self) -> None:
        """Import every module that may register something.

        The flag is set first: a module that looks something up while it is imported must not start all over. If one
        of them fails, the next look-up tries again, and fails with the same message instead of missing names.
        """
        if self._complete:
            return
        self._complete = True
        try:
            package = import_module(self._package)
            for module in walk_packages(package.__path__, f"{self._package}."):
                import_module(module.name)
            for point in entry_points(group=self._group):
                _load_entry_point(point)
        except BaseException:
            self._complete = False
            raise


def _owner(module: str) -> str:
    """Who defines a name, for messages."""
    return origin_of(module) or "augforge itself"


def _load_entry_point(point: EntryPoint) -> None:
    try:
        point.load()
    except Exception as error:
        package = point.dist.name if point.dist else point.module
        raise PluginError(
            f"the plugin '{point.name}' of the installed package '{package}' cannot be loaded: "
            f"{type(error).__name__}: {error}. Update the package, or uninstall it"
        ) from error


def load_plugin(path: str | Path) -> str:
    """Run a plugin file once, so that it registers its ops and sources.

    The module's name holds the file's digest: every process gives it the same name, so that what it defines can be
    sent between processes; and a file that changed meanwhile is another module.

    Returns:
        The name of the module that the file became.

    Raises:
        PluginError: the file is missing or fails.
    """
    path = Path(path).resolve()
    try:
        name = f"augforge_plugin_{_file_digest(path)}"
    except OSError as error:
        raise PluginError(
            f"{path}: {error.strerror}; expected a Python file with ops or sources. Check --plugin"
        ) from None
    if name in sys.modules:
        return name
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path}: cannot be imported; expected a Python file, PLUGIN.py. Rename it")
    module = module_from_spec(spec)
    sys.modules[name], _plugin_files[name] = module, path
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name], _plugin_files[name]
        raise PluginError(f"{path}: cannot be loaded: {type(error).__name__}: {error}. Correct the file") from error
    if name not in _registering:
        raise PluginError(f"{path} registers no op and no source; expected one behind @op or @source. Check --plugin")
    return name


@cache
def origin_of(module: str) -> str:
    """Where plugin code comes from, as ids hold it; empty for augforge's own modules.

    It is the distribution and its version for an installed package, and a digest for a file.
    """
    if module.partition(".")[0] == "augforge":
        return ""
    if module not in _plugin_files:
        for point in (point for group in GROUPS for point in entry_points(group=group)):
            if point.dist is not None and point.module.partition(".")[0] == module.partition(".")[0]:
                return f"{point.dist.name}-{point.dist.version}"
    file = getattr(sys.modules.get(module), "__file__", None)
    return f"sha256-{_file_digest(Path(file))}" if file else ""


def plugin_file(module: str) -> Path | None:
    """The plugin file that became a module; None for any other module."""
    return _plugin_files.get(module)


def empty_instance(plugin: Path | None, module: str, name: str) -> Any:
    """An empty instance of a class, for `__reduce__`.

    Pickle calls this before it reads the instance's state, which may hold objects of classes that only the plugin
    file defines: another process has to load the file first.
    """
    if plugin is not None:
        load_plugin(plugin)
    cls = getattr(import_module(module), name)
    return cls.__new__(cls)


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]

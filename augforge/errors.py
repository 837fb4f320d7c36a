"""The exception tree. Every message states the fact, what was expected, and the remedy.

AugforgeError
├── RecipeError      the recipe cannot be understood (file and line)
├── SourceError      the annotated data is missing, broken or contradicts itself (the file)
├── PlanError        recipe and data do not fit together
├── TaskError        a task failed while pixels were made (the sample's key and the op)
├── DatasetError     a dataset on disk is missing, damaged or of another format
├── StorageError     a file cannot be written: full or read-only disk, quota, missing rights
├── TrainError       a training run cannot begin, go on or be read
├── PluginError      an op or source of a plugin cannot be loaded
└── MissingExtra     an optional dependency is not installed
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

SHOWN = 30
"""Names that a hint lists at most."""


class AugforgeError(Exception):
    """Base of all errors that augforge raises on purpose; the CLI prints them without a traceback.

    Attributes:
        code: what errors of this class are called, in ``--json`` and at the end of a message. Codes stay as they are,
            whatever happens to messages; each has a section in docs/errors.md.
    """

    code: ClassVar[str] = "error"


class RecipeError(AugforgeError):
    """The recipe cannot be understood. The message names file and line.

    A key is unknown, a value is of another type or out of its range, an op or format does not exist, or the file is no
    YAML. Correct the line that the message names: it says what was expected there, and the nearest name.
    `augforge ops NAME` and `augforge sources NAME` print what a step and a source may have; an editor checks a recipe
    while it is written, see [recipe.md](recipe.md#in-an-editor).
    """

    code = "recipe_error"


class SourceError(AugforgeError):
    """The annotated data is missing, broken or contradicts itself. The message names the file.

    The folder is laid out otherwise than the format has it: `augforge init FOLDER` finds the format. Or files are
    damaged, labels are in no class, or annotations lie outside of their images: the message names each, and the option
    that maps them or leaves them out. `on_error: reject` in the source lists broken files as rejected samples instead.
    """

    code = "source_error"


class PlanError(AugforgeError):
    """Recipe and data do not fit together, seen before any pixel is made.

    The recipe names a class, a column or a group that the data lacks, a split would be empty, a step needs more samples
    than there are, or a mirror would exchange sides of which nobody said what they are. The message names the line of
    the recipe.
    """

    code = "plan_error"


class TaskError(AugforgeError):
    """Tasks failed while pixels were made. The message names the samples and the ops.

    An op met pixels or masks that it cannot work on. What was finished is kept, and the same command goes on from
    there. `augforge preview RECIPE SAMPLE` shows what comes into the step, `--debug` prints the traceback.

    Args:
        message: for people.
        failures: one for each of the first failed tasks, with attributes sample, step, message and traceback.
    """

    code = "task_error"

    def __init__(self, message: str, failures: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.failures = tuple(failures)


class DatasetError(AugforgeError):
    """A dataset on disk is missing, damaged or of a format this version does not read.

    Or a command names a sample, split, version or tag that the dataset lacks. `augforge verify DATASET` says what is
    damaged, `augforge repair DATASET` makes it again, `augforge log DATASET` lists versions and tags.
    """

    code = "dataset_error"


class StorageError(AugforgeError):
    """A file cannot be written. The message names it, its folder, and the remedy.

    The disk is full or read-only, a quota is used up, or rights are missing. What was complete before stays whole;
    `augforge gc DATASET` frees what no version needs.
    """

    code = "storage_error"


class TrainError(AugforgeError):
    """A training run cannot begin, go on or be read.

    The configuration has a mistake, datasets or labels do not fit the run, or its folder is damaged or of another run.
    `augforge train --show-config` prints every key with its meaning.
    """

    code = "train_error"


class PluginError(AugforgeError):
    """An op or source of a plugin cannot be loaded. The message names the package or the file.

    Correct the file that `--plugin` names, or install the package that has it; CONTRIBUTING.md shows both.
    """

    code = "plugin_error"


class MissingExtra(AugforgeError):
    """An optional dependency is not installed.

    The message names the extra. In a checkout of augforge it is installed by `pip install '.[train]'`, in its place the
    extra that is named; from an index by `pip install 'augforge[train]'`.
    """

    code = "missing_extra"

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed. Install it: pip install 'augforge[{extra}]', or in a "
            f"checkout of augforge: pip install '.[{extra}]'"
        )


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: ``" Did you mean 'mosaic'?"``, or some known names, or nothing."""
    names = sorted(known)
    begun = [name for name in names if word and name.startswith(word)]
    close = get_close_matches(word, names, n=1, cutoff=0.6) or begun[:1]
    if close:
        return f" Did you mean '{visible(close[0])}'?"
    return f" Known: {some(names)}." if names else ""


def some(names: Sequence[str], most: int = SHOWN) -> str:
    """The first names, and how many more there are: ``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(visible, names[:most])) + more


def plural(count: int, noun: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith(('s', 'x')) else 's'}"


def first_line(error: BaseException) -> str:
    """The first line of what a library says, which may say nothing: then the error's type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shorten(value: Any) -> str:
    """A value as messages show it, cut short."""
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str).replace('"', "'")
    text = visible(text)
    return text if len(text) <= 60 else text[:57] + "..."


_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters (C0 but tab and newline, DEL, C1), marks and overrides of direction, line separators, characters
that cannot be printed."""


def visible(text: str, lines: bool = False) -> str:
    r"""The text with characters that command a terminal, or hide, escaped as in Python: ``\x1b``, ``\u202e``.

    Args:
        text: any text, such as a sample's name.
        lines: it may have several lines; otherwise a newline is escaped too.
    """
    found = _INVISIBLE.sub(lambda match: _escape(match.group()), text)
    return found if lines else found.replace("\n", "\\n")


def visible_json(text: str) -> str:
    r"""JSON text with the same characters escaped as JSON has it, ``\u001b``, so that its data stays what it is."""
    return _INVISIBLE.sub(lambda match: json.dumps(match.group())[1:-1], text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def warn_of_old_name(old: str, new: str) -> None:
    """Tell the author of the code that uses a name what it is called now."""
    text = f"{old} is called {new} now; the old name goes with the next version. Use the new one."
    warnings.warn(text, DeprecationWarning, stacklevel=3)


class OldNames:
    """A class whose attributes are still found under their old names, with a DeprecationWarning."""

    old_names: ClassVar[Mapping[str, str]] = {}
    """What each old name is called now."""

    if not TYPE_CHECKING:  # where it would hide mistyped names

        def __getattr__(self, name: str) -> Any:
            if name not in self.old_names:
                raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
            new = self.old_names[name]
            warn_of_old_name(f"{type(self).__name__}.{name}", f"{type(self).__name__}.{new}")
            return getattr(self, new)


def moved_names(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module whose names moved: they are still found there, with a DeprecationWarning.

    Args:
        module: the old module, ``__name__``.
        places: where each name is now, such as ``augforge.cache.filecache.FileCache``.
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        warn_of_old_name(f"{module}.{name}", places[name])
        place, _, new = places[name].rpartition(".")
        return getattr(import_module(place), new)

    return find

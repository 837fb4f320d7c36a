"""A review file that is edited while people look at samples: one verdict at a time, and nothing else of the file.

The file is theirs, with comments, an order and quotes of their own. So the text of a single entry is replaced, added or
taken out, and the result is parsed before it is written: what would say anything else is refused. Every write begins
with what is in the file now, so that verdicts of several people, or of an editor, come together; a verdict on the very
sample that changed meanwhile is a conflict, which a person decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from filelock import FileLock, Timeout
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from augforge.errors import AugforgeError
from augforge.files import make_folder, write_text, writing
from augforge.recipe.recipe import Verdict, is_blank, parse_review
from augforge.yamlfile import quote

_EMPTY = """\
# A person's verdicts on source images, which overrule every filter: `review: {name}` in the recipe.
samples: {{}}
"""
_WAIT = 10
"""Seconds to wait for another process that writes a verdict: that takes milliseconds."""

Entry = tuple[Node, Node]


class Conflict(AugforgeError):
    """Somebody else gave a verdict on the sample meanwhile.

    Attributes:
        present: their verdict; None if they took it back.
    """

    code = "conflict"

    def __init__(self, name: str, present: Verdict | None) -> None:
        said = "took the verdict back" if present is None else f"said {present.verdict}"
        super().__init__(f"somebody else {said} on {name} meanwhile")
        self.present = present


@dataclass(frozen=True, slots=True)
class VerdictFile:
    """A review file on disk; it need not exist yet.

    Attributes:
        path: of the file.
    """

    path: Path

    def create(self) -> None:
        """Write a file without verdicts if there is none; one of comments alone keeps them."""
        with writing(self.path):
            make_folder(self.path.parent)
        with self._locked():
            text = self._text() if self.path.exists() else ""
            if not text.strip():
                write_text(self.path, _EMPTY.format(name=self.path.name))
            elif is_blank(text.encode()):
                write_text(self.path, f"{text.rstrip()}\nsamples: {{}}\n")

    def read(self) -> Mapping[str, Verdict]:
        """The verdicts by composed names (NFC); RecipeError, with the line, if the file is no review file."""
        return parse_review(self._text(), str(self.path))

    def put(self, name: str, verdict: Verdict | None, seen: Verdict | None) -> None:
        """Give a verdict on a sample, or take it back.

        Args:
            name: of the source sample.
            verdict: what to say; None for nothing.
            seen: the verdict that the person saw before, None for none.

        Raises:
            Conflict: the file has another verdict on the sample than the person saw. Nothing is written.
            RecipeError: the file is no review file.
            AugforgeError: the file is written in a way in which a single entry cannot be changed.
        """
        name = normalize("NFC", name)
        with self._locked():
            text = self._text()
            present = parse_review(text, str(self.path))
            if present.get(name) != seen:
                raise Conflict(name, present.get(name))
            changed = _edit(text, name, verdict)
            wanted = {key: value for key, value in present.items() if key != name}
            wanted |= {} if verdict is None else {name: verdict}
            if not _says(changed, self.path, wanted):
                raise AugforgeError(
                    f"{self.path} is written in a way in which the entry of '{name}' cannot be changed by itself. "
                    "Change it by hand, or write `samples:` with one entry a line"
                )
            write_text(self.path, changed)

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8-sig")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from writing; editors know no locks, so their last moment may still be lost."""
        lock = FileLock(self.path.parent / f".{self.path.name}.lock", timeout=_WAIT)
        try:
            with writing(self.path), lock:
                yield
        except Timeout:
            raise AugforgeError(f"another process has been writing to {self.path} for {_WAIT} s. Try again") from None


def review_line(name: str, verdict: Verdict) -> str:
    """``"ID007/image1": {verdict: drop, why: "metal: ring"}``: an entry of a review file, in one line."""
    why = f", why: {quote(verdict.why)}" if verdict.why else ""
    return f"{quote(name)}: {{verdict: {verdict.verdict}{why}}}"


def _says(text: str, path: Path, wanted: Mapping[str, Verdict]) -> bool:
    try:
        return dict(parse_review(text, str(path))) == dict(wanted)
    except AugforgeError:
        return False


def _edit(text: str, name: str, verdict: Verdict | None) -> str:
    """The text with one entry changed, added or taken out; `put` sees to it that it says what is meant."""
    root = YAML(typ="safe", pure=True).compose(text)
    samples = next(value for key, value in root.value if key.value == "samples")
    found = [entry for entry in samples.value if normalize("NFC", entry[0].value) == name]
    if found and verdict is not None:
        return _changed(text, found[0][1], verdict)
    if found:
        return _without(text, samples, found[0])
    return text if verdict is None else _with(text, samples, review_line(name, verdict))


def _changed(text: str, value: MappingNode, verdict: Verdict) -> str:
    """Change the values of an entry alone, so that comments between its keys stay."""
    said = {key.value: node for key, node in value.value}
    edits = [(said["verdict"].start_mark.index, _end(text, said["verdict"]), str(verdict.verdict))]
    if "why" in said:
        edits.append((said["why"].start_mark.index, _end(text, said["why"]), quote(verdict.why)))
    elif verdict.why:
        key, node = value.value[-1]
        between, end = ", " if value.flow_style else "\n" + " " * key.start_mark.column, _end(text, node)
        edits.append((end, end, f"{between}why: {quote(verdict.why)}"))
    for start, end, new in sorted(edits, reverse=True):  # from the back, so that places before stay what they are
        text = _replaced(text, start, end, new)
    return text


def _replaced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]


def _end(text: str, node: Node) -> int:
    """Where what a node says ends; the end of a block, as YAML has it, takes in white space and comments behind it."""
    if node.value and isinstance(node, MappingNode) and not node.flow_style:
        return _end(text, node.value[-1][1])
    start, end = node.start_mark.index, node.end_mark.index
    return int(start) + len(text[start:end].rstrip())


def _with(text: str, samples: MappingNode, line: str) -> str:
    """Add an entry behind the last one; the first one makes a block of an empty mapping."""
    if not samples.value:
        return _replaced(text, samples.start_mark.index, samples.end_mark.index, f"\n  {line}").replace(
            "samples: \n", "samples:\n", 1
        )
    last = _end(text, samples.value[-1][1])
    if samples.flow_style:
        return _replaced(text, last, last, f", {line}")
    end = text.find("\n", last)
    end = len(text) if end < 0 else end
    return _replaced(text, end, end, f"\n{' ' * samples.value[0][0].start_mark.column}{line}")


def _without(text: str, samples: MappingNode, entry: Entry) -> str:
    """Take an entry out; a comment behind it stays, in a line of its own. The last one leaves an empty mapping."""
    start, end = entry[0].start_mark.index, _end(text, entry[1])
    if len(samples.value) == 1:
        if samples.flow_style:
            return _replaced(text, start, end, "")
        begin = text.rindex("samples:", 0, start) + len("samples:")
        return text[:begin] + " {}" + text[begin:start].rstrip(" ") + _comment(text[end:])
    if samples.flow_style:
        place = samples.value.index(entry)
        if place == 0:
            return _replaced(text, start, samples.value[1][0].start_mark.index, "")
        return _replaced(text, _end(text, samples.value[place - 1][1]), end, "")
    line = text.rindex("\n", 0, start) + 1
    return text[:line] + _comment(text[end:], " " * (start - line))


def _comment(rest: str, indent: str = "") -> str:
    """What stands behind an entry: a comment in its line, indented as the entry was, or the lines that follow."""
    behind, newline, more = rest.partition("\n")
    kept = behind.strip()
    return f"{indent}{kept}{newline}{more}" if kept else more

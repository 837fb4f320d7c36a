"""YAML to plain data with the line of every key, and back."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.reader import ReaderError

from augforge.errors import AugforgeError, nearest, shorten
from augforge.yamlfile.composing import LimitedComposer
from augforge.yamlfile.document import KeyPath, YamlFile

_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
_TAG = "tag:yaml.org,2002:"
MAX_BYTES = 2 << 20
"""Most bytes of a YAML file that people write, such as a review of 30,000 samples."""
_MAX_BITS = 128
"""Of a whole number."""


def read_yaml(path: Path, error: type[AugforgeError], max_bytes: int = MAX_BYTES, form: str = "") -> YamlFile:
    """Parse a YAML file of at most `max_bytes`; `error` is raised, with file and line, for what is wrong with it.

    Messages show the ``form``, such as ``name: mine``, where the file holds no keys and values.
    """
    return parse_yaml(read_yaml_text(path, error, max_bytes), str(path), error, max_bytes, form)


def read_yaml_text(path: Path, error: type[AugforgeError], max_bytes: int = MAX_BYTES) -> str:
    """The text of a YAML file of at most `max_bytes`; `error` is raised if it cannot be read, or is no UTF-8."""
    try:
        if path.is_file() and path.stat().st_size > max_bytes:
            raise _too_large(str(path), path.stat().st_size, max_bytes, error)
        with path.open("rb") as stream:  # a device may have no end, and no size either
            return stream.read(max_bytes + 1).decode("utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file; expected a YAML file.{_near(path)} Check the path") from None
    except OSError as caught:
        raise error(f"{path}: cannot be read ({caught.strerror}); expected a YAML file. Check the path") from None
    except UnicodeDecodeError as caught:
        line, byte = caught.object.count(b"\n", 0, caught.start) + 1, caught.object[caught.start]
        raise error(f"{path}:{line}: byte 0x{byte:02x} is not UTF-8. Save the file as UTF-8") from None


def _near(path: Path) -> str:
    """The YAML file of the folder whose name is nearest to one that is not there."""
    names = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    hint = nearest(path.name, names)
    return hint if "Did you mean" in hint else ""


def _too_large(name: str, size: int, most: int, error: type[AugforgeError]) -> AugforgeError:
    return error(f"{name} has {size:,} bytes; expected at most {most:,} of YAML. Check that it is the right file")


def parse_yaml(
    text: str, name: str, error: type[AugforgeError], max_bytes: int = MAX_BYTES, form: str = ""
) -> YamlFile:
    """Parse YAML text; `name` is what messages call it, and `form` what they show of a file without keys."""
    if len(text) > max_bytes:
        raise _too_large(name, len(text), max_bytes, error)
    file = YamlFile(name, text, error)
    try:
        node, data = _load(text)
        if not isinstance(data, dict):
            such = f", such as '{form}'" if form else ""
            raise error(f"{name}:1: expected keys and values at the top{such}, got {shorten(data)}")
        file.places[()] = f"{name}:{node.start_mark.line + 1}"
        file.data.update(_plain(node, data, (), file))
    except MarkedYAMLError as caught:
        line = caught.problem_mark.line + 1 if caught.problem_mark else 1
        raise error(f"{name}:{line}: not valid YAML: {_problem(caught)}") from None
    except ReaderError as caught:
        line = text.count("\n", 0, caught.position) + 1
        raise error(f"{name}:{line}: not valid YAML: character #x{caught.character:04x} is not allowed") from None
    except RecursionError:
        raise error(f"{name}: nested too deeply, or an alias stands inside what it names") from None
    except (YAMLError, ValueError) as caught:
        raise error(f"{name}: not valid YAML: {str(caught).splitlines()[0]}") from None
    return file


def dump_yaml(data: Any) -> str:
    """YAML text of plain data, keys in the order given."""
    yaml = YAML(typ="rt")
    yaml.width = 120
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def parse_scalar(text: str) -> Any:
    """A value from the command line, read as YAML: numbers, lists and booleans as in a recipe."""
    try:
        return _load(text)[1]
    except (YAMLError, ValueError, RecursionError):
        return text


class _Constructor(SafeConstructor):
    """Plain data; a date is text, as YAML 1.2 has it."""


_Constructor.add_constructor(_TAG + "timestamp", SafeConstructor.construct_yaml_str)


def _load(text: str) -> tuple[Any, Any]:
    """The tree with its line numbers, merged keys in place, and the data."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor, yaml.Composer = _Constructor, LimitedComposer
    node = yaml.compose(text)
    return node, None if node is None else yaml.constructor.construct_document(node)


def _plain(node: Node, value: Any, path: KeyPath, file: YamlFile) -> Any:
    """The value of a node, seen to be JSON-like, filling in the place of each key and item."""
    if isinstance(node, MappingNode) and isinstance(value, dict):
        plain: dict[str, Any] = {}
        for key, child in node.value:
            name, held = _key(key, file)
            if held != name and name in value:
                raise file.error(f"{file.name}:{key.start_mark.line + 1}: the key {name} stands there as text too")
            plain[name] = _child(key, child, value[held], (*path, name), file)
        return plain
    if isinstance(node, SequenceNode) and isinstance(value, list):
        return [_child(child, child, value[i], (*path, i), file) for i, child in enumerate(node.value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise file.fail(path, f"expected a finite number, got {node.value}")
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise file.fail(path, f"expected a number of at most {_MAX_BITS} bits, got {value.bit_length()}")
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise file.fail(
            path, f"nothing is done with the tag '{str(node.tag).replace(_TAG, '!!')}'; expected a plain value"
        )
    return value


def _key(key: Node, file: YamlFile) -> tuple[str, Any]:
    """A key as text, as in JSON, and as the data holds it: text, or a whole number such as a pixel value."""
    if key.tag in (_TAG + "str", _TAG + "timestamp"):
        return key.value, key.value
    if key.tag == _TAG + "int" and _WHOLE.fullmatch(key.value):
        return key.value, int(key.value)
    raise file.error(
        f"{file.name}:{key.start_mark.line + 1}: a key is neither text nor a plain whole number; put it in quotes"
    )


def _child(place: Node, node: Node, value: Any, path: KeyPath, file: YamlFile) -> Any:
    file.places[path] = f"{file.name}:{place.start_mark.line + 1}"
    return _plain(node, value, path, file)


def _problem(caught: MarkedYAMLError) -> str:
    """What the parser says, with a remedy for the common slips."""
    problem = str(caught.problem or caught.context).strip().splitlines()[0]
    if problem.startswith("but "):
        problem = f"{str(caught.context).splitlines()[0]} {problem}"
    for sign, words in _PLAIN_WORDS.items():
        if found := re.search(sign, problem):
            return found.expand(words).replace(_TAG, "!!")
    return problem.replace(_TAG, "!!")


_PLAIN_WORDS = {
    r"^mapping values are not allowed here": "a second ':' in one line, or a key that is indented more than the one "
    "above; write one key a line, all indented alike, and text that holds ': ' in quotes",
    r"^found character '\\t'.*": "a tab where spaces are expected; indent with spaces",
    r"^found character '(.)' that cannot start any token": r"a value begins with '\1', which means something in YAML; "
    "put it in quotes",
    r"^expected ',' or '(.)', but got.*": r"a list or mapping in brackets goes on without ',' or is not closed; add "
    r"the ',' or the '\1'",
    r"^found unexpected end of stream": "the file ends within a text in quotes; close the quotes",
    r"^found duplicate key \"(.*?)\".*": r"the key '\1' stands here twice; take one away",
    r"^found undefined alias '(.*)'": "a value or key begins with '*', which means an alias in YAML; put it in quotes, "
    'as in "*": null',
    r".*<block (end|sequence|mapping).*": "the line is indented otherwise than those it belongs to; check the "
    "indentation",
    r"^expected a single document.*": "a line '---' begins a second document; expected one a file",
    r"^could not determine a constructor for the tag (.*)": r"nothing is known of the tag \1; expected a plain value",
}
"""What the parser says, as regular expressions, in words that people use of a file, with the remedy."""

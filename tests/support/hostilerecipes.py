"""Recipes, and other YAML that people write, that somebody made to break what reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostiledatasets import ESCAPES, MARKUP, yaml_bomb

SOURCE = "{format: hand-bone, path: data, classes: [a, b]}"
EVIL = r"(a*)*(a*)*(a*)*b$|(?:a+a+)+c|(\w+\s?)*(\d|\d\d)+Z"


def recipe(steps: str = "[]", source: str = SOURCE, **more: str) -> str:
    lines = [f"{key}: {value}" for key, value in {"name": "toy", "split": "{val: [ID002]}", **more}.items()]
    return "\n".join([*lines, f"source: {source}", f"steps: {steps}", ""])


def where(condition: str) -> str:
    return recipe(f"[{{op: where, condition: {json.dumps(condition)}}}]")


def step_where(condition: str) -> str:
    return recipe(f"[{{op: hflip, where: {json.dumps(condition)}}}]")


def grouped(regex: str) -> str:
    return recipe(source=f"{{format: hand-bone, path: data, classes: [a, b], group: {{regex: {json.dumps(regex)}}}}}")


def nested(depth: int) -> str:
    return "\n".join("  " * level + "a:" for level in range(depth))


RECIPES: dict[str, str | bytes] = {
    "bomb": yaml_bomb(),
    "bomb-merged": "a0: &a0 {k: v}\n"
    + "".join(f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "alias-in-itself": "name: &a [*a]\n",
    "deep-flow": f"name: {'[' * 10_000}{']' * 10_000}\n",
    "deep-block": nested(900),
    "deep-items": f"name:\n  {'- ' * 10_000}x\n",
    "deep-keys": "? " * 10_000 + "a",
    "key-twice": recipe() + "name: other\n",
    "number-hex": recipe(seed="0x" + "f" * 1_000_000),
    "number-long": recipe(seed="1" * 100_000),
    "number-infinite": recipe(seed="1e999999"),
    "number-nan": recipe("[{op: hflip, p: .nan}]"),
    "number-128-bits": recipe(seed=str(2**127)),
    "tag-python": recipe(seed="!!python/object/apply:os.system [echo stolen]"),
    "tag-binary": recipe(name="!!binary " + "QUJD" * 1000),
    "long": b"#" * 40_000_000,
    "not-utf-8": b"name: \xff\xfe",
    "nothing": b"",
    "control": f"name: {ESCAPES}".encode(),
    "name-up": recipe(name="../../stolen"),
    "name-absolute": recipe(name="/tmp/stolen"),
    "name-escapes": recipe(name=json.dumps(ESCAPES)),
    "key-escapes": recipe() + json.dumps({ESCAPES: 1})[1:-1] + "\n",
    "op-markup": recipe(f"[{{op: {json.dumps(MARKUP)}}}]"),
    "steps-many": recipe("[" + ", ".join(["{op: hflip}"] * 3000) + "]"),
    "path-root": recipe(source="{format: image-folder, path: /proc/self/fd, classes: [a]}"),
    "path-nul": recipe(source='{format: hand-bone, path: "da\\0ta", classes: [a]}'),
    "path-device": recipe(source="{format: hand-bone, path: /dev/zero, classes: [a]}"),
    "path-long": recipe(source=f"{{format: hand-bone, path: {'x' * 100_000}, classes: [a]}}"),
    "path-escapes": recipe(source=f"{{format: hand-bone, path: {json.dumps(ESCAPES)}, classes: [a]}}"),
    "path-url": recipe(source='{format: dataset, path: "file:///etc"}'),
    "classes-many": recipe(
        source=f"{{format: hand-bone, path: data, classes: [{', '.join(f'c{i}' for i in range(3000))}]}}"
    ),
    "class-escapes": recipe(source=f"{{format: hand-bone, path: data, classes: [a, b, {json.dumps(ESCAPES)}]}}"),
    "review-device": recipe(review="/dev/zero"),
    "review-up": recipe(review="../../../etc/hostname"),
    "review-bomb": recipe(review="review.yaml"),
    "group-evil": grouped(f"({EVIL})"),
    "group-evil-matching": grouped(r"((\w+)*)+!"),
    "group-huge-repeat": grouped("(((((a{1000}){1000}){1000}){1000}){1000})"),
    "group-repeat-overflow": grouped("(a{99999999999})"),
    "group-nested": grouped("(" * 450 + "a" + ")" * 450),
    "group-long": grouped(f"({'a|' * 100_000}b)"),
    "group-look-behind": grouped(r"(?<=(a|aa)+)(x+x+)+y(z)"),
    "group-escapes": grouped(f"({ESCAPES}"),
    "where-many-terms": where(" OR ".join(["width = 1"] * 30_000)),
    "where-1000-terms": step_where(" OR ".join(["width = 1"] * 1000)),
    "where-deep": where("(" * 5000 + "width = 1" + ")" * 5000),
    "where-not": step_where("NOT " * 5000 + "width = 1"),
    "where-file": where("width IN (SELECT x FROM read_csv('/etc/passwd'))"),
    "where-file-from": where("width IN (FROM read_csv('/etc/passwd'))"),
    "where-file-comment": where("/* ' */ width IN (SELECT 1) /* ' */"),
    "where-pad": where("LENGTH(RPAD(name, 2000000000)) > 1"),
    "where-regex": where("name ~ '((a{1000}){1000}){1000}'"),
    "where-regex-evil": where("name ~ '(a*)*(a*)*b' AND name LIKE '" + "%a" * 2000 + "'"),
    "where-case": where("CASE WHEN width = 1 THEN " * 200 + "TRUE" + " END" * 200),
    "where-escapes": where(f"width = {ESCAPES}"),
    "where-number": where("width = 1" + "0" * 10_000),
    "where-panic": where("EXTRACT(century FROM name) > SUBSTR(name, -9223372036854775808, 9223372036854775807)"),
    "override": recipe(output="{size: 999999999999}"),
    "quality": recipe(output="{image: jpeg, quality: 99999999999999999999}"),
}
"""Hostile recipes by name, for a folder with ``data``, small hands, and ``review.yaml``, which is hostile too."""

Prepare = Callable[[Path], Any]


def write_recipe(root: Path, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
    (root / "recipe.yaml").write_bytes(data)
    (root / "review.yaml").write_text(yaml_bomb())

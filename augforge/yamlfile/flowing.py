"""JSON-like values as YAML in one line."""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN = re.compile(
    r"(?!(true|false|null|yes|no|on|off)$)([^\W\d]|[^\W\d][\w ./~-]*[\w./~-]|\.\./[\w/.-]*)", re.IGNORECASE
)
"""Text that YAML reads as text even without quotes."""


def flow(value: Any) -> str:
    """A JSON-like value as YAML in one line (flow style)."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{flow(key)}: {flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else quote(value)
    return "null" if value is None else str(value)


def quote(text: str) -> str:
    """A text in double quotes, as JSON has it, with all escaped that YAML or a terminal would not take for text."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escape(c) for c in quoted)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

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
        return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return "null" if value is None else str(value)

"""What annotations may call things."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_name(value: Any) -> TypeGuard[str]:
    """Whether a JSON value is text that can name something: not empty, without NUL and halves of surrogate pairs."""
    return (
        isinstance(value, str) and value != "" and value == value.encode("utf-8", "replace").decode().replace("\0", "")
    )

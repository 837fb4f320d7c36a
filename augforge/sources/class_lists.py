"""Named class lists that recipes may use instead of spelling the classes out."""

from __future__ import annotations

HAND_BONES: tuple[str, ...] = (
    *(f"finger-{i}" for i in range(1, 20)),
    "Trapezium",
    "Trapezoid",
    "Capitate",
    "Hamate",
    "Scaphoid",
    "Lunate",
    "Triquetrum",
    "Pisiform",
    "Radius",
    "Ulna",
)

CLASS_LISTS: dict[str, tuple[str, ...]] = {"hand-bone": HAND_BONES}

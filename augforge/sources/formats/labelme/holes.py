"""Shapes that cut others: those of the label of holes, and difficult shapes inside of another one of their group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.sources.formats.labelme.file import Shape
from augforge.sources.raster.fills import Fill
from augforge.sources.raster.outlines import Box
from augforge.sources.raster.shapes import Part, draw

Cuts: TypeAlias = Mapping[int, Sequence[int]]
"""Indices of the shapes that cut a shape, by its index; shapes that only cut have no entry."""


def find_cuts(shapes: Sequence[Shape], hole_label: str | None) -> Cuts:
    """Which shapes are drawn, and which others cut them.

    A shape of the hole's label cuts every shape that stands before it in the file, and those after it that contain it.
    A difficult shape cuts the shapes of its label and group that contain it.
    """
    holes = [i for i, shape in enumerate(shapes) if shape.label == hole_label]
    drawn = [i for i, shape in enumerate(shapes) if shape.label != hole_label]
    inner = {i: [k for k in drawn if _is_hole_in(shapes[i], shapes[k])] for i in drawn if shapes[i].difficult}
    kept = [i for i in drawn if not inner.get(i)]
    return {
        i: [
            *(hole for hole in holes if hole > i or _contains(shapes[i].box(), shapes[hole].box())),
            *(hole for hole, outer in inner.items() if i in outer),
        ]
        for i in kept
    }


def _is_hole_in(inner: Shape, outer: Shape) -> bool:
    same = inner.group is not None and (inner.group, inner.label) == (outer.group, outer.label)
    return same and not outer.difficult and _contains(outer.box(), inner.box())


def _contains(outer: Box, inner: Box) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def canonical(shapes: Sequence[Shape], cuts: Cuts, names: Mapping[str, str]) -> list[Any]:
    """Everything that decides which pixels are drawn, for each shape that is drawn, JSON-like."""
    found = []
    for i, holes in cuts.items():
        own = shapes[i].canonical(names[shapes[i].label])
        found.append([own, sorted(shapes[hole].canonical("") for hole in holes)] if holes else own)
    return found


class Canvas(NamedTuple):
    """What shapes are drawn on, and how."""

    height: int
    width: int
    fill: Fill


def parts(shapes: Sequence[Shape], cuts: Cuts, canvas: Canvas, names: Mapping[str, str]) -> Iterator[Part]:
    """The parts to draw: shapes without what cuts them."""
    for i, holes in cuts.items():
        name = names[shapes[i].label]
        if holes:
            inside = _draw_alone([shapes[i]], canvas)
            yield name, (inside & ~_draw_alone([shapes[hole] for hole in holes], canvas), 0, 0)
        else:
            yield from shapes[i].parts(name)


def _draw_alone(shapes: Sequence[Shape], canvas: Canvas) -> NDArray[np.bool_]:
    drawn = (part for shape in shapes for part in shape.parts("shape"))
    planes = draw(drawn, canvas.height, canvas.width, ("shape",), canvas.fill)
    return bitmask.class_mask(planes, 0).astype(bool)

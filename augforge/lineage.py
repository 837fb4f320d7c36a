"""Where every pixel came from: the steps that made a sample, and its source images with their matrices."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from augforge.keys import canonical_json
from augforge.sample import IDENTITY, Box, Matrix, Placement


@dataclass(frozen=True, slots=True)
class Root:
    """A source image inside a sample.

    Attributes:
        name: of the source sample.
        matrix: 2x3, source pixel to the sample's pixel.
        clip: x0, y0, x1, y1 in the sample's pixels, half-open: the source image shows nowhere else.
        size: width and height of the source image, to map pixels back.
    """

    name: str
    matrix: Matrix
    clip: Box
    size: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """The root as plain dicts and lists."""
        return {**_placement_json(self.name, self.matrix, self.clip), "size": list(self.size)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Root:
        """`to_json` undone."""
        return cls(data["name"], _matrix(data["matrix"]), _box(data["clip"]), (data["size"][0], data["size"][1]))

    def transform(self, placement: Placement) -> Root:
        """The same source image after an op that placed the sample in its output like this."""
        return replace(self, matrix=compose(placement.matrix, self.matrix), clip=_transform_box(self.clip, placement))


@dataclass(frozen=True, slots=True)
class PlacedInput:
    """An input of a step, and where it went.

    Attributes:
        name: of the sample that was the input.
        matrix: 2x3, the input's pixel to the output's pixel; pixel centres are at integers.
        clip: x0, y0, x1, y1 in the output's pixels, half-open: the input shows nowhere else.
    """

    name: str
    matrix: Matrix
    clip: Box

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlacedInput:
        """The input as a step of a lineage has it."""
        return cls(data["name"], _matrix(data["matrix"]), _box(data["clip"]))


@dataclass(frozen=True, slots=True)
class LineageStep:
    """What one step did.

    Attributes:
        step: its label in the recipe, such as ``hflip`` or ``hflip.2``.
        op: the op with its version, such as ``hflip@1``.
        copy: which of the step's copies, from 0; None if it makes one.
        drawn: what chance decided, JSON-like.
        notes: what the op computed, such as ``{"angle_deg": 12.5}``.
        inputs: the samples that it placed in its output.
    """

    step: str
    op: str
    copy: int | None
    drawn: Any
    notes: Mapping[str, Any]
    inputs: tuple[PlacedInput, ...]


@dataclass(frozen=True, slots=True)
class SampleLineage:
    """How a sample of a dataset was made; ``augforge trace`` prints it.

    Attributes:
        steps: what was done since the last table between stages, oldest first; empty for a source sample.
        roots: all source images that show in it, each with the matrix from its pixels to the sample's.
        parents: names of the samples that it was made of, of the table before its last stage; empty for a source
            sample.
    """

    steps: tuple[LineageStep, ...]
    roots: tuple[Root, ...]
    parents: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Lineage:
    """How a sample was made.

    Attributes:
        steps: what was done since the last table between stages, oldest first, JSON-like.
        roots: all source images that show in the sample.
    """

    steps: tuple[dict[str, Any], ...]
    roots: tuple[Root, ...]

    @classmethod
    def of_source(cls, name: str, width: int, height: int) -> Lineage:
        """Lineage of a source sample: no step, and itself as the only root."""
        return _SourceLineage(name, width, height)

    @classmethod
    def packed(cls, data: Mapping[str, Any]) -> Lineage:
        """`to_json` undone, for tables of many rows: it takes a tenth of the memory, and is parsed at each use."""
        return _PackedLineage(data)

    def to_json(self) -> dict[str, Any]:
        """The lineage as plain dicts and lists."""
        return {"steps": list(self.steps), "roots": [root.to_json() for root in self.roots]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Lineage:
        """`to_json` undone."""
        return Lineage(tuple(data["steps"]), tuple(map(Root.from_json, data["roots"])))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lineage) and (self.steps, self.roots) == (other.steps, other.roots)

    __hash__ = None  # type: ignore[assignment]  # steps are dicts


class _SourceLineage(Lineage):
    """Lineage of a source sample, made of its name and size when it is looked at."""

    __slots__ = ("_name", "_size")
    _name: str
    _size: tuple[int, int]

    def __init__(self, name: str, width: int, height: int) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_size", (width, height))

    @property
    def steps(self) -> tuple[dict[str, Any], ...]:
        return ()

    @property
    def roots(self) -> tuple[Root, ...]:
        return (Root(self._name, IDENTITY, (0, 0, *self._size), self._size),)

    def __reduce__(self) -> tuple[Any, ...]:
        return _SourceLineage, (self._name, *self._size)


class _PackedLineage(Lineage):
    """A lineage as compressed JSON."""

    __slots__ = ("_text",)
    _text: bytes

    def __init__(self, data: Mapping[str, Any]) -> None:
        packer = zlib.compressobj(1, zdict=_USUAL)
        text = canonical_json(data).encode("utf-8", "surrogatepass")
        object.__setattr__(self, "_text", packer.compress(text) + packer.flush())

    @property
    def steps(self) -> tuple[dict[str, Any], ...]:
        return tuple(self.to_json()["steps"])

    @property
    def roots(self) -> tuple[Root, ...]:
        return tuple(map(Root.from_json, self.to_json()["roots"]))

    def to_json(self) -> dict[str, Any]:
        text = zlib.decompressobj(zdict=_USUAL).decompress(self._text)
        data: dict[str, Any] = json.loads(text.decode("utf-8", "surrogatepass"))
        return data

    def __reduce__(self) -> tuple[Any, ...]:
        return Lineage.packed, (self.to_json(),)


_USUAL = (
    b'"notes":{"angle_deg":"size":[1024,1024]"size":[512,512]"size":[2048,2048]'
    b'{"roots":[{"clip":[0,0,64,64],"matrix":[[1.0,0.0,0.0],[0.0,1.0,0.0]],"name":"","size":[64,64]}],"steps":['
    b'{"copy":0,"drawn":{"matrix":[[-1.0,0.0,63.0],[0.0,1.0,0.0]],"op":"@1","parents":['
    b'{"clip":[0,0,64,64],"matrix":[[-1.0,0.0,63.0],[0.0,1.0,0.0]],"name":"~"}],"step":"'
)
"""What most lineages hold, the most frequent last: names and numbers are what is left."""


def extend_lineage(
    parents: Sequence[tuple[str, Lineage]], placements: Sequence[Placement], step: dict[str, Any]
) -> Lineage:
    """Lineage of an op's output.

    Args:
        parents: name and lineage of each input.
        placements: where the op placed its inputs.
        step: what was done, JSON-like; ``parents`` is added, and ``matrix`` if one input was placed.
    """
    before = parents[0][1].steps if len(parents) == 1 else ()
    placed = [_placement_json(parents[p.input][0], p.matrix, p.clip) for p in placements]
    if len(placed) == 1:
        step = {**step, "matrix": placed[0]["matrix"]}
    roots = [root.transform(p) for p in placements for root in parents[p.input][1].roots]
    return Lineage((*before, {**step, "parents": placed}), tuple(roots))


def compose(second: Matrix, first: Matrix) -> Matrix:
    """The 2x3 matrix that applies `first`, then `second`."""
    (a, b, c), (d, e, f) = second
    (g, h, i), (j, k, m) = first
    return (
        (a * g + b * j, a * h + b * k, a * i + b * m + c),
        (d * g + e * j, d * h + e * k, d * i + e * m + f),
    )


def _placement_json(name: str, matrix: Matrix, clip: Box) -> dict[str, Any]:
    return {"name": name, "matrix": [*map(list, matrix)], "clip": list(clip)}


def _transform_box(clip: Box, placement: Placement) -> Box:
    """The box around the transformed box, within the placement's clip. Pixel x covers x - 0.5 to x + 0.5."""
    (a, b, c), (d, e, f) = placement.matrix
    corners = [(x - 0.5, y - 0.5) for x in (clip[0], clip[2]) for y in (clip[1], clip[3])]
    xs = [round(a * x + b * y + c + 0.5, 6) for x, y in corners]
    ys = [round(d * x + e * y + f + 0.5, 6) for x, y in corners]
    x0, y0, x1, y1 = placement.clip
    x0, y0 = max(x0, math.floor(min(xs))), max(y0, math.floor(min(ys)))
    return (x0, y0, max(x0, min(x1, math.ceil(max(xs)))), max(y0, min(y1, math.ceil(max(ys)))))


def _matrix(data: Any) -> Matrix:
    return (tuple(data[0]), tuple(data[1]))


def _box(data: Any) -> Box:
    x0, y0, x1, y1 = data
    return (x0, y0, x1, y1)

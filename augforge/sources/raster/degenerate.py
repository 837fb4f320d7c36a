"""Polygons that enclose nothing, since fewer than three of their points are distinct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augforge.errors import SourceError, plural


@dataclass(slots=True)
class Degenerates:
    """Decides for each polygon of one image whether it is drawn, and counts those that enclose nothing.

    Attributes:
        drop: the option ``drop_degenerate``: leave them out. Otherwise one or two points are an error, as no format
            allows them, and more points, of which one or two are distinct, are drawn as a dot or a line: tools write
            such polygons, and COCO itself holds some.
        dropped: how many were left out.
        drawn: how many were drawn.
    """

    drop: bool = False
    dropped: int = 0
    drawn: int = 0

    def admit(self, points: Sequence[Sequence[float]], where: str) -> bool:
        """Whether a polygon is drawn. Raises SourceError, which begins with ``where``, if it must not be there."""
        if len({tuple(point) for point in points[:3]}) == 3 or len({tuple(point) for point in points}) >= 3:
            return True
        if self.drop:
            self.dropped += 1
            return False
        if len(points) < 3:
            raise SourceError(
                f"{where}: {plural(len(points), 'point')}; expected 3 or more. Correct or remove the polygon. Or set "
                "'drop_degenerate: true', which leaves out such polygons."
            )
        self.drawn += 1
        return True

    def admit_ring(self, ring: Sequence[float], where: str) -> bool:
        """`admit` for a flat ring ``[x, y, x, y, ...]``."""
        return self.admit(list(zip(ring[::2], ring[1::2], strict=True)), where)

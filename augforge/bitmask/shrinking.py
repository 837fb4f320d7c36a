"""Bit-planes made smaller by area: a class is where it covers half of a new pixel or more.

Nearest neighbours take one old pixel for many, and by an even factor always one beside the middle: everything moves by
half an old pixel, towards the lower right. The area does not move, and commutes with flips and transposition. All of it
is counted in whole numbers, so that an exact half is an exact half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.bitmask.layout import Planes, interleave, merge_class, planar
from augforge.bitmask.measuring import overlap_count, regions

_STRIP = 1 << 20
"""Bytes of planes that are counted at a time, so that what the counting makes stays in the processor's cache."""
_CHANNELS = 4
"""Most planes that cv2.transpose takes together; it takes the axis from a single one."""
_COUNTED = 256
"""Most pixels of a block whose bits are counted: counters of more bits cost more than sums over each class's box."""

Bits = NDArray[Any]


def shrink(planes: Planes, width: int, height: int) -> Planes:
    """Scale planes (H, W, P) to (height, width), neither of which may be larger.

    Returns C-contiguous planes, or the given ones if they have that size already.

    A new pixel stands for a rectangle of the old picture, of W / width by H / height old pixels. A class is there if it
    covers half of the rectangle's area or more. Nothing thinner than half a new pixel is left.

    Where no two classes of the picture overlap, none do afterwards: of two that cover exactly half each, the first in
    the class table counts.
    """
    if not (1 <= width <= planes.shape[1] and 1 <= height <= planes.shape[0]):
        raise ValueError(f"planes {planes.shape[:2]} cannot shrink to {(height, width)}; expected 1 to (H, W)")
    if planes.shape[:2] == (height, width):
        return planes
    factors = (planes.shape[0] // height, planes.shape[1] // width)
    whole = (height * factors[0], width * factors[1]) == planes.shape[:2]
    counted = whole and factors[0] * factors[1] <= _COUNTED
    made = _shrink_blocks(planes, *factors) if counted else _shrink_classes(planes, width, height)
    return _keep_apart(planes, made)


# ---- whole factors: the bits of all classes are counted at once ----


def _shrink_blocks(planes: Planes, down: int, across: int) -> Planes:
    """The majority of each block of `down` rows by `across` columns."""
    together = 1 < planes.shape[2] <= _CHANNELS and planes.strides[2] == 1  # interleaved
    parts = planes[None] if together else planar(planes)
    made = np.zeros((len(parts), planes.shape[0] // down, planes.shape[1] // across, *parts.shape[3:]), np.uint8)
    for part, new in zip(parts, made, strict=True):
        _shrink_part(part, new, down, across)
    return made[0] if together else interleave(made)


def _shrink_part(part: Bits, made: Bits, down: int, across: int) -> None:
    """Write the majority of the blocks of (H, W) or (H, W, P) into zeros, strip by strip.

    Only the columns between the first and the last that have a bit in the strip are counted.
    """
    strip = max(1, _STRIP // (down * part[0].size))
    for y in range(0, len(made), strip):
        rows = part[y * down : (y + strip) * down]
        used = np.flatnonzero(np.bitwise_or.reduce(rows, axis=0).reshape(made.shape[1], -1).any(axis=1))
        if len(used):
            x0, x1 = used[0], used[-1] + 1
            made[y : y + strip, x0:x1] = _majority(rows[:, x0 * across : x1 * across], down, across)


def _majority(part: Bits, down: int, across: int) -> Bits:
    """The bits that at least half of each block has: (H, W) or (H, W, P) to (H / down, W / across, ...)."""
    columns = [np.asarray(cv2.transpose(bits)) for bits in _count_rows([part], down)]
    least = (down * across + 1) // 2
    return np.asarray(cv2.transpose(_at_least(_count_rows(columns, across), least)))


def _count_rows(number: Sequence[Bits], count: int) -> list[Bits]:
    """Sums of each `count` consecutive rows of numbers, which are given as their binary digits, lowest first."""
    addends = [[digit[first::count] for digit in number] for first in range(count)]
    while len(addends) > 1:
        pairs = [_add(a, b) for a, b in zip(addends[::2], addends[1::2], strict=False)]
        addends = pairs + addends[2 * len(pairs) :]
    return addends[0]


def _add(a: Sequence[Bits], b: Sequence[Bits]) -> list[Bits]:
    """The sum of two numbers for each bit of each byte, all given as binary digits, lowest first."""
    a, b = (a, b) if len(a) >= len(b) else (b, a)
    digits, carry = [], None
    for n, digit in enumerate(a):
        other = b[n] if n < len(b) else None
        total, carry = _add_digits([each for each in (digit, other, carry) if each is not None])
        digits.append(total)
    return [*digits, carry] if carry is not None else digits


def _add_digits(digits: Sequence[Bits]) -> tuple[Bits, Bits | None]:
    """Sum and carry of one to three binary digits."""
    if len(digits) == 1:
        return digits[0], None
    differ = digits[0] ^ digits[1]
    carry = digits[0] & digits[1]
    return (differ, carry) if len(digits) == 2 else (differ ^ digits[2], carry | (differ & digits[2]))


def _at_least(number: Sequence[Bits], least: int) -> Bits:
    """Where a number, given as binary digits, is at least as large as another: all bits of each byte at once."""
    reached: Bits | None = None  # everywhere, as long as no digit has been compared
    for n, digit in enumerate(number):
        if least >> n & 1:
            reached = digit if reached is None else digit & reached
        elif reached is not None:
            reached = digit | reached
    assert reached is not None
    return np.ascontiguousarray(reached)


# ---- any factor: the area of each class in its box ----


def _shrink_classes(planes: Planes, width: int, height: int) -> Planes:
    made = np.zeros((height, width, planes.shape[2]), np.uint8)
    for c, (rows, columns), mask in regions(planes, planes.shape[2] * 8):
        down, across = _Axis(planes.shape[0], height, rows), _Axis(planes.shape[1], width, columns)
        area = across.differences(down.differences(cv2.integral(mask)).T).T
        merge_class(made[down.span, across.span], c, 2 * area >= down.pixel * across.pixel)
    return made


class _Axis:
    """How an axis of `old` pixels shrinks to `new` ones, for what lies in a box of it.

    Lengths are counted in a fraction of an old pixel in which the borders of old and new pixels are whole numbers.

    Attributes:
        span: the new pixels that touch the box.
        pixel: the length of a new pixel.
    """

    def __init__(self, old: int, new: int, box: slice) -> None:
        divisor = math.gcd(old, new)
        self.pixel, self._unit = old // divisor, new // divisor  # a new and an old pixel's length
        self.span = slice(box.start * self._unit // self.pixel, -(-box.stop * self._unit // self.pixel))
        borders = np.arange(self.span.start, self.span.stop + 1) * self.pixel - box.start * self._unit
        self._last = box.stop - box.start
        self._at, rest = np.divmod(np.clip(borders, 0, self._last * self._unit), self._unit)
        self._rest = rest[:, None]

    def differences(self, sums: NDArray[Any]) -> NDArray[np.int64]:
        """What new pixels hold, (new, ...), from the sums in front of each border of an old pixel in the box."""
        before, after = sums[self._at], sums[np.minimum(self._at + 1, self._last)]
        return np.asarray(np.diff(before * (self._unit - self._rest) + after * self._rest, axis=0), np.int64)


# ---- classes that share no pixel ----


def _keep_apart(planes: Planes, made: Planes) -> Planes:
    """Shrunk planes without the overlaps that two exact halves make where no classes overlapped."""
    if _overlap(planes[::8, ::8]):  # seen at a glance in most pictures whose classes overlap
        return made
    shared = overlap_count(made) > 1
    if not shared.any() or _overlap(planes):
        return made
    first = made[shared]
    first &= ~first + 1  # the lowest bit of each byte
    first[:, 1:][np.logical_or.accumulate(first > 0, axis=1)[:, :-1]] = 0
    made[shared] = first
    return made


def _overlap(planes: Planes) -> bool:
    return bool((overlap_count(planes) > 1).any())

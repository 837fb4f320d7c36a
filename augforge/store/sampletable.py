"""What reading samples needs to know of the index, in plain numpy arrays and bytes.

Every process that loads data has such a table, its own or its parent's. Polars and Arrow have threads, which a forked
process lacks, so it would wait for them for ever; and an object for each value would cost many times the memory, and be
copied into each forked process as soon as its reference is counted there. Arrays have neither problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Many texts.

    Attributes:
        content: all of them in UTF-8, one after the other.
        bounds: where each begins in it, and where the last one ends: integers (texts + 1,).
    """

    content: bytes
    bounds: NDArray[Any]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, i: int) -> str:
        return self.content[self.bounds[i] : self.bounds[i + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        return (self.content[start:end].decode() for start, end in pairwise(self.bounds.tolist()))

    def find(self, text: str) -> int | None:
        """The position of the first text that equals this one; None if there is none."""
        wanted = text.encode(errors="surrogatepass")
        at = self.content.find(wanted)
        while at >= 0:
            i = int(np.searchsorted(self.bounds, at, "right")) - 1
            if self.bounds[i] == at and self.bounds[i + 1 : i + 2] == at + len(wanted):
                return i
            at = self.content.find(wanted, at + 1)
        return None

    def take(self, positions: Positions) -> Texts:
        """The texts at these positions, in this order."""
        starts, ends = self.bounds[positions], self.bounds[positions + 1]
        content = b"".join(self.content[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
        return Texts(content, smallest(np.concatenate([[0], np.cumsum(ends - starts, dtype=np.int64)])))


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One value for each sample, out of a few that are kept once.

    Attributes:
        codes: position of each sample's value in `values`, -1 for none: integers (samples,).
        values: the different values. A row of an array of two dimensions is one value.
    """

    codes: NDArray[Any]
    values: Texts | NDArray[Any]

    def __getitem__(self, i: int) -> Any:
        """The value of sample i: text, a plain number or boolean, or an array; None if there is none."""
        code = self.codes.item(i)
        if code < 0:
            return None
        value = self.values[code]
        return value.item() if isinstance(value, np.generic) else value

    def equals(self, value: str) -> NDArray[np.bool_]:
        """Whether each sample has this text: bool (samples,)."""
        assert isinstance(self.values, Texts)
        code = self.values.find(value)
        return np.zeros(len(self.codes), bool) if code is None else self.codes == code

    def take(self, positions: Positions) -> Column:
        """The samples at these positions; the values stay shared."""
        return Column(self.codes[positions], self.values)


@dataclass(frozen=True, slots=True, eq=False)
class SampleTable:
    """The columns of an index that reading a sample needs.

    Attributes:
        names: of the samples.
        group, split, shard: texts.
        label: float32 vectors.
        metadata: a column for each key.
        sizes: height and width, int32 (samples, 2).
        places: image offset, image bytes, masks offset, masks bytes: int64 (samples, 4).
        known: bit vectors of the classes, uint8 (samples, planes).
        digests: 64-bit xxHashes of the encoded image and masks, uint64 (samples, 2); None if the index has none, as
            those of dataset format 1.
    """

    names: Texts
    group: Column
    split: Column
    shard: Column
    label: Column
    metadata: Mapping[str, Column]
    sizes: NDArray[np.int32]
    places: NDArray[np.int64]
    known: NDArray[np.uint8]
    digests: NDArray[np.uint64] | None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, positions: Positions) -> SampleTable:
        """The samples at these positions, in this order."""
        return SampleTable(
            names=self.names.take(positions),
            group=self.group.take(positions),
            split=self.split.take(positions),
            shard=self.shard.take(positions),
            label=self.label.take(positions),
            metadata={key: column.take(positions) for key, column in self.metadata.items()},
            sizes=self.sizes[positions],
            places=self.places[positions],
            known=self.known[positions],
            digests=None if self.digests is None else self.digests[positions],
        )

    def metadata_of(self, i: int) -> dict[str, Any]:
        """The metadata of sample i, without the keys that it has no value of."""
        found = ((key, column[i]) for key, column in self.metadata.items())
        return {key: value for key, value in found if value is not None}


def smallest(numbers: NDArray[Any]) -> NDArray[Any]:
    """Integers in the smallest signed type that holds them."""
    if not len(numbers):
        return numbers.astype(np.int8)
    low, high = int(numbers.min()), int(numbers.max())
    return numbers.astype(np.result_type(np.min_scalar_type(min(low, -1)), np.min_scalar_type(-high - 1)))

"""The work area: encoded samples on their way into shards. A cache: it may be deleted at any time."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import xxhash

from augforge.cache.ledger import Entry
from augforge.errors import DatasetError
from augforge.files import write_text
from augforge.keys import canonical_json


@dataclass(frozen=True, slots=True)
class Payload:
    """Where an encoded image and its encoded masks lie in a file."""

    file: str
    image_offset: int
    image_bytes: int
    masks_offset: int
    masks_bytes: int

    def read(self) -> tuple[bytes, bytes]:
        """The encoded image and the encoded masks."""
        with Path(self.file).open("rb") as stream:
            image = _slice(stream, self.image_offset, self.image_bytes)
            return image, _slice(stream, self.masks_offset, self.masks_bytes)


def payload_digest(image: bytes, masks: bytes) -> str:
    """64-bit xxHash of encoded bytes: damage on the way into a shard is seen."""
    return xxhash.xxh3_64(image).hexdigest() + xxhash.xxh3_64(masks).hexdigest()


def _slice(stream: BinaryIO, offset: int, length: int) -> bytes:
    stream.seek(offset)
    data = stream.read(length)
    if len(data) != length:
        raise DatasetError(
            f"{stream.name} ends at byte {offset + len(data)}, expected {offset + length}; it was cut off"
        )
    return data


@dataclass
class Batch:
    """What a batch of tasks left: findings for the ledger, and payloads by (sample id, encoding)."""

    made_by: dict[str, str]
    entries: list[Entry] = field(default_factory=list)
    payloads: dict[tuple[str, str], Payload] = field(default_factory=dict)
    path: Path | None = None


class BatchWriter:
    """Collects a batch: payload bytes go to one file at once, the rest to a JSON file that makes them valid.

    The JSON file is written last, when the block ends well; payloads without one are swept up by `sweep`.
    """

    def __init__(self, folder: Path, made_by: dict[str, str]) -> None:
        self._stem = folder / secrets.token_hex(8)
        self._stream: BinaryIO | None = None
        self.batch = Batch(made_by, path=self._stem.with_suffix(".json"))

    def __enter__(self) -> BatchWriter:
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._stem.with_suffix(".bin").open("xb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        self._stream.close()
        if kind is None and self.batch.path is not None:
            write_text(self.batch.path, _to_json(self.batch), durable=False)  # a cache, guarded by sizes and digests

    def record(self, kind: str, key: str, value: Any) -> None:
        """Keep a finding for the ledger; ValueError if it is not JSON-like, NaN included."""
        try:
            canonical_json(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"what was found is not JSON-like ({error}); ops give finite plain numbers") from None
        self.batch.entries.append((kind, key, value))

    def add(self, sample_id: str, encoding: str, image: bytes, masks: bytes) -> None:
        """Store the encoded image and masks of a sample."""
        assert self._stream is not None
        start = self._stream.tell()
        self._stream.write(image)
        self._stream.write(masks)
        file = str(self._stem.with_suffix(".bin"))
        self.batch.payloads[sample_id, encoding] = Payload(file, start, len(image), start + len(image), len(masks))


def read_batches(folder: Path, made_by: dict[str, str]) -> Iterator[Batch]:
    """The batches of an interrupted or earlier build that the same libraries made."""
    for path in sorted(folder.glob("*.json")):
        batch = _from_json(path)
        if batch is not None and batch.made_by == made_by:
            yield batch


def sweep(folder: Path) -> None:
    """Remove what unfinished batches left. Only for the sole writer: a running build's batches look alike."""
    for path in folder.glob("*.bin"):
        if not path.with_suffix(".json").exists():
            path.unlink()


def remove_batch(batch: Batch) -> None:
    if batch.path is not None:
        batch.path.unlink(missing_ok=True)
        batch.path.with_suffix(".bin").unlink(missing_ok=True)


def _to_json(batch: Batch) -> str:
    payloads = [[*key, asdict(payload)] for key, payload in batch.payloads.items()]
    return json.dumps({"made_by": batch.made_by, "entries": batch.entries, "payloads": payloads})


def _from_json(path: Path) -> Batch | None:
    """None for a file that cannot be read: the work area is a cache."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        size = path.with_suffix(".bin").stat().st_size
        payloads = {(i, e): Payload(**{**p, "file": str(path.with_suffix(".bin"))}) for i, e, p in data["payloads"]}
        entries: Sequence[Entry] = [(kind, key, value) for kind, key, value in data["entries"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if any(p.masks_offset + p.masks_bytes > size for p in payloads.values()):
        return None
    return Batch(data["made_by"], list(entries), payloads, path)

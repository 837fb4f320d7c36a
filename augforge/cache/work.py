"""The work area: encoded samples on their way into shards. It is a cache and may be deleted at any time.

A worker writes the samples of a batch of tasks into two files with the same random name: ``<name>.bin`` holds the
payloads, ``<name>.json`` says what is where. The JSON file is written last and atomically: a batch without it is
unfinished and ignored, and a build that was killed keeps the batches that it had finished.

The work area of a dataset behind a URL lies there too, so that workers on other machines share it. A worker writes the
two files in a temporary folder and sends them, again with the JSON file last.

Nothing is believed unchecked, since these files are not synced and may lie here for months: the JSON file ends with its
own digest, and among its entries is the digest of each payload, which is compared whenever the payload is read.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, BinaryIO

import xxhash

from augforge.cache.ledger import Entry
from augforge.cache.places import files_in, read_pair, read_place, size_of_place
from augforge.errors import DatasetError
from augforge.files import is_url, open_regular, remove_temporary_files, write_text, writing
from augforge.keys import canonical_json
from augforge.urls.access import naming
from augforge.urls.reading import Range
from augforge.urls.writing import put_file, remove_objects

SCRATCH = "scratch-"
"""How the names of temporary folders in the work area begin."""


PLACES = ("image_offset", "image_bytes", "masks_offset", "masks_bytes")
"""The columns of an index that say where a sample's payload lies in its shard, in the order of `Payload`."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Where an encoded image and its encoded masks are: a file or its URL, offsets and lengths in bytes."""

    file: str
    image_offset: int
    image_bytes: int
    masks_offset: int
    masks_bytes: int

    def read(self) -> tuple[bytes, bytes]:
        """The encoded image and the encoded masks; DatasetError if the file ends before they do."""
        if is_url(self.file):
            return read_pair(
                self.file, Range(self.image_offset, self.image_bytes), Range(self.masks_offset, self.masks_bytes)
            )
        with open_regular(Path(self.file)) as stream:
            image = _read_at(stream, self.image_offset, self.image_bytes)
            return image, _read_at(stream, self.masks_offset, self.masks_bytes)

    def read_checked(self, digest: str, name: str) -> tuple[bytes, bytes]:
        """The encoded image and masks of a sample; DamagedPayload if they are not those with this `payload_digest`."""
        try:
            image, masks = self.read()
        except (OSError, DatasetError) as error:
            raise DamagedPayload(f"the stored bytes of {name} cannot be read: {error}", self.file) from error
        if payload_digest(image, masks) != digest:
            raise DamagedPayload(f"the stored bytes of {name} in {self.file} are damaged", self.file)
        return image, masks


class DamagedPayload(DatasetError):
    """A payload is not what was stored. A build forgets all payloads of its ``file``, and makes anew what it needs."""

    def __init__(self, message: str, file: str) -> None:
        super().__init__(message, file)
        self.file = file

    def __str__(self) -> str:
        return f"{self.args[0]}. Build again; check the dataset with augforge verify"


def payload_digest(image: bytes, masks: bytes) -> str:
    """64-bit xxHashes of encoded image and masks, 32 hexadecimal digits together: they show damage before a shard."""
    return xxhash.xxh3_64(image).hexdigest() + xxhash.xxh3_64(masks).hexdigest()


def _read_at(stream: BinaryIO, offset: int, length: int) -> bytes:
    end = os.fstat(stream.fileno()).st_size
    if offset < 0 or length < 0 or offset + length > end:  # `read` would allocate whatever length is claimed
        raise DatasetError(f"{stream.name} ends at byte {end}, expected {offset + length}; it was cut off")
    stream.seek(offset)
    return stream.read(length)


@dataclass
class Batch:
    """The results of a batch of tasks.

    Attributes:
        made_by: versions of the libraries that made them, as `augforge.store.codec.library_versions` gives them.
        entries: for the ledger.
        payloads: by (sample id, encoding).
        path: of the JSON file, or its URL; None if the batch is not stored.
    """

    made_by: dict[str, str]
    entries: list[Entry] = field(default_factory=list)
    payloads: dict[tuple[str, str], Payload] = field(default_factory=dict)
    path: Path | str | None = None

    @property
    def payload_file(self) -> str | None:
        """The file with the payloads, or its URL; None if the batch is not stored."""
        return None if self.path is None else f"{str(self.path).removesuffix('.json')}.bin"


class BatchWriter:
    """Writes a batch as a context manager: payloads as they are added, the JSON file when the block succeeds.

    If the block fails, the payloads stay behind without a JSON file until `sweep` deletes them. StorageError if there
    is no space for them.

    Args:
        work: the work area, a folder or a URL.
        made_by: versions of the libraries.
    """

    def __init__(self, work: Path | str, made_by: dict[str, str]) -> None:
        name = secrets.token_hex(8)  # workers of several machines may write to one work area
        self._far = is_url(work)
        folder = Path(mkdtemp(prefix=SCRATCH)) if self._far else Path(work)
        self._payloads = folder / f"{name}.bin"
        self._index = folder / f"{name}.json"
        self._stream: BinaryIO | None = None
        self.batch = Batch(made_by, path=f"{work}/{name}.json" if self._far else self._index)

    def __enter__(self) -> BatchWriter:
        with writing(self._payloads):
            self._payloads.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._payloads.open("xb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        try:
            self._finish(kind is None)
        finally:
            if self._far:
                shutil.rmtree(self._payloads.parent, ignore_errors=True)

    def _finish(self, succeeded: bool) -> None:
        assert self._stream is not None
        if not succeeded:
            with suppress(OSError):  # what could not be written before cannot be now; the first error says more
                self._stream.close()
        else:
            with writing(self._payloads):
                self._stream.close()
            # Not durable: after a power cut a torn batch is found by its sizes and digests, and its tasks run again.
            write_text(self._index, _to_json(self.batch), durable=False)
            for path in (self._payloads, self._index) if self._far else ():
                url = f"{str(self.batch.path).rpartition('/')[0]}/{path.name}"
                with naming(url, deed="written"):
                    put_file(path, url)

    def record(self, kind: str, key: str, value: Any) -> None:
        """Add an entry for the ledger; ValueError if its value is not JSON-like, as NaN is not."""
        try:
            canonical_json(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"its {kind} entry is not JSON-like ({error}); give finite plain numbers") from None
        self.batch.entries.append((kind, key, value))

    def add(self, sample_id: str, encoding: str, image: bytes, masks: bytes) -> None:
        """Write the encoded image and masks of a sample."""
        assert self._stream is not None
        start = self._stream.tell()
        with writing(self._payloads):
            self._stream.write(image)
            self._stream.write(masks)
        payload = Payload(str(self.batch.payload_file), start, len(image), start + len(image), len(masks))
        self.batch.payloads[sample_id, encoding] = payload


def read_batches(work: Path | str, made_by: dict[str, str]) -> Iterator[Batch]:
    """All finished batches in a work area that were made by the same libraries, in the order of their names."""
    for path in files_in(work, ".json"):
        batch = read_batch(path)
        if batch is not None and batch.made_by == made_by:
            yield batch


def sweep(folder: Path) -> None:
    """Delete the payloads of unfinished batches, damaged batches, and temporary files.

    Call it only while holding `augforge.files.writer_lock`: the batches of a running build look unfinished too.
    """
    remove_temporary_files(folder)
    for scratch in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(scratch, ignore_errors=True)
    for path in folder.glob("*.bin"):
        if not path.with_suffix(".json").exists():
            path.unlink()
    for path in folder.glob("*.json"):
        if _checked_text(path) is None:
            remove_batch(Batch({}, path=path))


def remove_batch(batch: Batch) -> None:
    """Delete a batch's files, the JSON file first, so that no half of a batch ever looks finished."""
    if batch.path is None or batch.payload_file is None:
        return
    if isinstance(batch.path, str):
        with naming(batch.path, deed="deleted"):
            remove_objects([batch.path, batch.payload_file])
        return
    batch.path.unlink(missing_ok=True)
    Path(batch.payload_file).unlink(missing_ok=True)


_DIGEST = ', "digest": "'


def _to_json(batch: Batch) -> str:
    payloads = [[*key, asdict(payload)] for key, payload in batch.payloads.items()]
    text = json.dumps({"made_by": batch.made_by, "entries": batch.entries, "payloads": payloads})[:-1]
    return f'{text}{_DIGEST}{_text_digest(text)}"}}'


def _text_digest(text: str) -> str:
    return xxhash.xxh3_128(text.encode()).hexdigest()


def _checked_text(path: Path | str) -> str | None:
    """The text of a batch's JSON file; None if it is not the one that was written."""
    try:
        text = read_place(path).decode()
    except (OSError, ValueError):
        return None
    content, _, stated = text.rpartition(_DIGEST)
    return text if stated == _text_digest(content) + '"}' else None


def read_batch(path: Path | str) -> Batch | None:
    """A batch from its JSON file, or the URL of it.

    Returns:
        None if it is missing or damaged, or its payloads are cut off: its tasks run again.
    """
    text = _checked_text(path)
    if text is None:
        return None
    try:
        data: dict[str, Any] = json.loads(text)
        # The folder may have been moved since, so the path in the JSON file is not used.
        file = f"{str(path).removesuffix('.json')}.bin"
        size = size_of_place(file)
        payloads = {(i, e): Payload(**{**p, "file": file}) for i, e, p in data["payloads"]}
        entries: Sequence[Entry] = [(kind, key, value) for kind, key, value in data["entries"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if any(p.masks_offset + p.masks_bytes > size for p in payloads.values()):
        return None
    return Batch(data["made_by"], list(entries), payloads, path)

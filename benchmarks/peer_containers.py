"""Containers of samples for training, each used as its documentation shows. `peers.py` measures them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

Fields: TypeAlias = dict[str, Any]
"""A sample as a container takes it: ``image`` and ``masks``, as bytes, lists of bytes or arrays."""


class Container:
    """A container of samples in a folder: `write` them, `open`, then `read` one, or iterate over them in order."""

    package: ClassVar[str]
    natural: ClassVar[str] = "a PNG a class"

    def __init__(self, folder: Path, form: str) -> None:
        self.folder, self.form = folder, form

    def write(self, samples: Iterable[Fields]) -> None:
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def read(self, i: int) -> Fields:
        """Sample i; LookupError if there is no random access."""
        raise LookupError(i)

    def __iter__(self) -> Iterator[Fields]:
        raise NotImplementedError


class Indexed(Container):
    """A container whose `open` gives something with an index: `_set`."""

    _set: Any

    def read(self, i: int) -> Fields:
        found: Fields = self._set[i]
        return found

    def __iter__(self) -> Iterator[Fields]:
        return iter(self._set)


class WebDataset(Container):
    package = "webdataset"

    def write(self, samples: Iterable[Fields]) -> None:
        import webdataset

        with webdataset.TarWriter(str(self.folder / "shard.tar")) as sink:
            for i, fields in enumerate(samples):
                masks = fields["masks"]
                named = {"masks": masks} if isinstance(masks, bytes) else {f"m{c:03}": m for c, m in enumerate(masks)}
                sink.write({"__key__": f"{i:06}", "png": fields["image"], **named})

    def open(self) -> None:
        import webdataset

        self._stream = webdataset.WebDataset(str(self.folder / "shard.tar"), shardshuffle=False)

    def __iter__(self) -> Iterator[Fields]:
        for found in self._stream:
            masks = [found[key] for key in sorted(found) if key.startswith("m") and key != "masks"]
            yield {"image": found["png"], "masks": found.get("masks", masks)}


class Streaming(Indexed):
    package = "mosaicml-streaming"
    natural = "arrays"

    def write(self, samples: Iterable[Fields]) -> None:
        from augforge.train.net.vision import torchvision

        torchvision()  # `streaming` imports it, which fails beside a CPU build of torch without what this declares
        from streaming import MDSWriter

        kind = "bytes" if self.form == "our planes" else "ndarray:uint8"
        with MDSWriter(out=str(self.folder), columns={"image": kind, "masks": kind}, size_limit=1 << 28) as sink:
            for fields in samples:
                sink.write(fields)

    def open(self) -> None:
        from streaming import StreamingDataset

        self._set = StreamingDataset(local=str(self.folder), shuffle=False, batch_size=1)


class LitData(Indexed):
    package = "litdata"
    natural = "arrays"

    def write(self, samples: Iterable[Fields]) -> None:
        from litdata.streaming.writer import BinaryWriter  # what `optimize` runs in processes of its own

        sink = BinaryWriter(str(self.folder), chunk_bytes=1 << 28)
        for i, fields in enumerate(samples):
            sink.add_item(i, fields)
        sink.done()
        sink.merge(1)

    def open(self) -> None:
        from litdata import StreamingDataset

        self._set = StreamingDataset(str(self.folder))


class HuggingFace(Indexed):
    package = "datasets"

    def write(self, samples: Iterable[Fields]) -> None:
        import datasets

        binary = datasets.Value("binary")
        masks = binary if self.form == "our planes" else datasets.List(binary)
        features = datasets.Features({"image": binary, "masks": masks})
        made = datasets.Dataset.from_list(list(samples), features=features)
        made.save_to_disk(str(self.folder))

    def open(self) -> None:
        import datasets

        self._set = datasets.load_from_disk(str(self.folder))


class Lance(Container):
    package = "pylance"

    def write(self, samples: Iterable[Fields]) -> None:
        import lance
        import pyarrow as pa

        masks = pa.large_binary() if self.form == "our planes" else pa.list_(pa.large_binary())
        schema = pa.schema({"image": pa.large_binary(), "masks": masks})
        lance.write_dataset(pa.Table.from_pylist(list(samples), schema), str(self.folder), mode="overwrite")

    def open(self) -> None:
        import lance

        self._set = lance.dataset(str(self.folder))

    def read(self, i: int) -> Fields:
        found: Fields = self._set.take([i]).to_pylist()[0]
        return found

    def __iter__(self) -> Iterator[Fields]:
        for batch in self._set.to_batches(batch_size=1):
            yield from batch.to_pylist()


class Ffcv(Container):
    package = "ffcv"
    natural = "arrays"

    def write(self, samples: Iterable[Fields]) -> None:
        from ffcv.fields import BytesField, NDArrayField
        from ffcv.writer import DatasetWriter

        rows = [tuple(np.frombuffer(v, np.uint8) if isinstance(v, bytes) else v for v in f.values()) for f in samples]
        made = (
            [BytesField() for _ in rows[0]]
            if self.form == "our planes"
            else [NDArrayField(value.dtype, value.shape) for value in rows[0]]
        )
        fields = dict(zip(("image", "masks"), made, strict=True))
        DatasetWriter(str(self.folder / "set.beton"), fields, num_workers=1).from_indexed_dataset(rows)

    def open(self) -> None:
        from ffcv.loader import Loader, OrderOption

        self._loader = Loader(str(self.folder / "set.beton"), 1, num_workers=1, order=OrderOption.SEQUENTIAL)

    def __iter__(self) -> Iterator[Fields]:
        for image, masks in self._loader:
            whole = [np.asarray(value)[0] for value in (image, masks)]
            values = [value.tobytes() for value in whole] if self.form == "our planes" else whole
            yield dict(zip(("image", "masks"), values, strict=True))


CONTAINERS: dict[str, type[Container]] = {
    "WebDataset": WebDataset,
    "MosaicML Streaming": Streaming,
    "LitData": LitData,
    "Hugging Face datasets": HuggingFace,
    "Lance": Lance,
    "FFCV": Ffcv,
}

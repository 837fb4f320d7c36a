"""Datasets that somebody forged, each made from a small sound one; see `forging`."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from forging import Data, Forgery

Make = Callable[[Forgery], Any]
ESCAPES = "a\x1b[2J\x1b]0;title\x07\x9b31m\u202egpj.exe\nerror: all is well\r\x00"
MARKUP = "[bold]x[/nothing] | <script>alert(1)</script> `rm` [a](http://b)"


def put(key: str, value: Any) -> Make:
    """Change a key of the manifest."""
    return lambda forged: forged.manifest.update({key: value})


def put_shard(**values: Any) -> Make:
    return lambda forged: forged.manifest["shards"][0].update(values)


def put_first(**values: Any) -> Make:
    return lambda forged: forged.first_row(**values)


def put_all(change: Callable[[Data], Any], kind: str = "index") -> Make:
    return lambda forged: forged.rows(change, kind)


def text(content: str | Callable[[Forgery], str]) -> Make:
    """Another text in the place of the manifest."""
    return lambda forged: forged.finish(content if isinstance(content, str) else content(forged))


def yaml_bomb() -> str:
    lines = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    return f"format: 2\na0: &a0 [ha, ha]\n{lines}"


def with_key(key: str, value: str) -> Make:
    """The manifest with YAML text in the place of a key."""
    return text(lambda forged: json.dumps({**forged.manifest, key: "HERE"}).replace('"HERE"', value))


def to_bytes(place: str, content: bytes) -> Make:
    return lambda forged: _path(forged, place).write_bytes(content)


def _path(forged: Forgery, place: str) -> Path:
    return forged.table(place) if place in ("index", "rejected", "stages", "ledger") else forged.folder / place


def instead_of_manifest(write: Callable[[Path], Any]) -> Make:
    def make(forged: Forgery) -> None:
        forged.finish()
        (forged.folder / "manifest.yaml").unlink()
        write(forged.folder / "manifest.yaml")

    return make


def make_sparse(path: Path) -> None:
    """A file of 16 GB that takes no space."""
    path.touch()
    os.truncate(path, 1 << 34)


def pipe(place: str) -> Make:
    """A named pipe, which whoever opens it waits for."""

    def make(forged: Forgery) -> None:
        forged.finish()
        path = _path(forged, place if place != "shard" else forged.manifest["shards"][0]["path"])
        path.unlink()
        os.mkfifo(path)

    return make


def flipped(kind: str, seed: int) -> Make:
    """Some bytes of a table changed, with a digest that fits."""

    def make(forged: Forgery) -> None:
        path, rng = forged.table(kind), random.Random(seed)
        data = bytearray(path.read_bytes())
        for _ in range(3):
            data[rng.randrange(0 if seed % 2 else len(data) // 3, len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data))

    return make


def footer_size(size: int) -> Make:
    def make(forged: Forgery) -> None:
        path = forged.table()
        path.write_bytes(path.read_bytes()[:-8] + struct.pack("<I", size) + b"PAR1")

    return make


def many_rows(forged: Forgery) -> None:
    """Three million rows of nothing, in a file of some kilobytes."""
    schema, count = pq.read_schema(forged.table()), 3_000_000
    columns = [pa.nulls(count, field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), forged.table(), compression="zstd")


def repeated(column: str, length: int = 1_000_000, rows: int = 20_000) -> Make:
    """One long text that each row repeats, stored once."""

    def make(forged: Forgery) -> None:
        table = pq.ParquetFile(forged.table()).read().slice(0, 1)
        whole = pa.concat_tables([table] * rows)
        values = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * length]))
        at = whole.schema.get_field_index(column)
        whole = whole.set_column(at, column, values)
        pq.write_table(whole, forged.table(), compression="zstd", store_schema=False)

    return make


def zipped(column: str) -> Make:
    """A text of 300 MB, compressed to some kilobytes."""

    def make(forged: Forgery) -> None:
        forged.first_row(**{column: "x" * 300_000_000})

    return make


def frame_header(size: int) -> bytes:
    """The beginning of a zstd frame that claims to hold this many bytes."""
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


def zstd_bomb(megabytes: int) -> bytes:
    """A frame that really unpacks to so much, of a hundred thousandth of its size."""
    stream = io.BytesIO()
    with zstandard.ZstdCompressor(level=1).stream_writer(stream, closefd=False) as writer:
        for _ in range(megabytes):
            writer.write(bytes(1 << 20))
    return stream.getvalue()


def png(width: int, height: int, rows: int) -> bytes:
    """A gray PNG whose header says one size; as many rows of pixels follow."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(width + 1)) for _ in range(rows)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(width: int, height: int) -> bytes:
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + frame + b"\xff\xd9"


def image(data: bytes, **columns: Any) -> Make:
    return lambda forged: forged.append_payload("image", data, **columns)


def masks(data: bytes, **columns: Any) -> Make:
    return lambda forged: forged.append_payload("masks", data, **columns)


def stray_split(forged: Forgery) -> None:
    """The split of manifest, shards and index alike."""
    name = str(forged.folder.parent / "outside" / "stolen")
    forged.manifest["splits"] = {name: forged.manifest["samples"]}
    for shard in forged.manifest["shards"]:
        shard["split"] = name
    forged.rows(lambda row: row.update(split=name))


def own_parent(forged: Forgery) -> None:
    """Samples that are their own parents, in stages and index."""
    for kind in ("index", "stages"):
        forged.rows(lambda row: row.update(parents=[row["name"]]), kind)


def lineage(**values: Any) -> Make:
    def change(row: Data) -> None:
        for step in row["lineage"]["steps"]:
            step.update(values)

    return put_all(change)


def renamed(name: str) -> Make:
    """All samples with names of this kind, with a number in the end."""

    def make(forged: Forgery) -> None:
        numbers = iter(range(1000))
        forged.rows(lambda row: row.update(name=f"{name}{next(numbers)}", group=name, groups=[name], tags=[name]))

    return make


def reclassed(*names: str) -> Make:
    """Other names of classes, in manifest and index."""

    def make(forged: Forgery) -> None:
        old = forged.manifest["classes"]
        new = dict(zip(old, names, strict=True))
        forged.manifest["classes"] = list(names)
        table = pq.ParquetFile(forged.table()).read()
        for column in ("area", "box"):
            struct_array = table[column].combine_chunks()
            fields = [pa.field(new[field.name], field.type) for field in struct_array.type]
            made = pa.StructArray.from_arrays(struct_array.flatten(), fields=fields)
            table = table.set_column(table.schema.get_field_index(column), column, made)
        pq.write_table(table, forged.table())

    return make


def log_lines(*lines: str) -> Make:
    return lambda forged: (forged.folder / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def log_of_any_type(forged: Forgery) -> None:
    entry = {
        "version": forged.manifest["version"],
        "time": 7,
        "recipe": [],
        "overrides": [1],
        "made": "x",
        "parent": {},
    }
    log_lines(json.dumps(entry), json.dumps({"version": None, "failures": 3, "error": ESCAPES}))(forged)


def no_rows(forged: Forgery) -> None:
    forged.frame(lambda index: index.clear())
    forged.manifest.update(samples=0, splits={}, shards=[])


def linked(forged: Forgery) -> None:
    """The index is a link to a file that is none."""
    forged.table().unlink()
    forged.table().symlink_to("/etc/hostname")


ESCAPE_RECIPE = {"digest": "d", "text": f"name: toy\n# {ESCAPES}\n```\n# broken out\n{MARKUP}\n", "overrides": {}}

DATASETS: dict[str, Make] = {
    # the manifest
    "split-in-all": stray_split,
    "split-up": put("splits", {"../../stolen": 6}),
    "split-of-shard": put_shard(split="../../stolen"),
    "split-count-text": put("splits", {"train": "many"}),
    "shard-up": put_shard(path="shards/../../outside.parquet"),
    "shard-absolute": put_shard(path="/etc/hostname"),
    "shard-escapes": put_shard(path=f"shards/{ESCAPES}.parquet"),
    "shard-rows-negative": put_shard(rows=-5),
    "shard-bytes-huge": put_shard(bytes=10**30),
    "shard-sha": put_shard(sha256="../../x"),
    "version-up": put("version", "../../outside"),
    "version-escapes": put("version", ESCAPES),
    "name-up": put("name", "../../stolen"),
    "name-escapes": put("name", ESCAPES),
    "name-markup": put("name", MARKUP),
    "samples-negative": put("samples", -1),
    "samples-huge": put("samples", 10**15),
    "format-text": put("format", ESCAPES),
    "classes-many": put("classes", [f"c{i}" for i in range(5000)]),
    "classes-twice": put("classes", ["a", "a"]),
    "classes-none": put("classes", []),
    "class-long": put("classes", ["a", "x" * 1_000_000]),
    "class-escapes": reclassed(ESCAPES, MARKUP),
    "class-up": reclassed("../../stolen", "/etc/stolen"),
    "class-empty": reclassed("", "."),
    "class-of-others": put("classes", ["x", "y"]),
    "labels-forged": put("labels", ["x", "y", "z"]),
    "encoding-escapes": put("encoding", ESCAPES),
    "ops-escapes": put("ops", {ESCAPES: 1, MARKUP: 2}),
    "fitted-deep": with_key("fitted", "[" * 10_000 + "]" * 10_000),
    "fitted-bomb": text(yaml_bomb()),
    "number-hex": with_key("samples", "0x" + "f" * 1_000_000),
    "number-infinite": with_key("samples", "1e999999"),
    "key-twice": text(lambda forged: json.dumps(forged.manifest)[:-1] + ', "name": "other"}'),
    "recipe-escapes": put("recipe", ESCAPE_RECIPE),
    "recipe-bomb": put("recipe", {"digest": "d", "text": yaml_bomb(), "overrides": {}}),
    "recipe-overrides": put("recipe", {"digest": "d", "text": "name: toy\n", "overrides": {"a.b.c.0.__class__": 1}}),
    "source-escapes": put("source", {"format": ESCAPES, "digest": MARKUP, "samples": 3}),
    "made-by-escapes": put("made_by", {ESCAPES: MARKUP}),
    "rejected-escapes": put("rejected", {f"{ESCAPES}: {MARKUP}": 3}),
    "manifest-bytes": instead_of_manifest(lambda path: path.write_bytes(b"\xff" * 999)),
    "manifest-sparse": instead_of_manifest(make_sparse),
    "manifest-folder": instead_of_manifest(Path.mkdir),
    "manifest-pipe": pipe("manifest.yaml"),
    # beside the manifest
    "tags-bomb": to_bytes("tags.yaml", yaml_bomb().encode()),
    "tags-escapes": to_bytes("tags.yaml", json.dumps({ESCAPES: "0" * 16, MARKUP: "1" * 16}).encode()),
    "log-any-type": log_of_any_type,
    "log-deep": log_lines("[" * 100_000, '{"version": ' + "[" * 5000 + "]" * 5000 + "}", "7", '"x"', "{}"),
    "log-long": log_lines("x" * 20_000_000),
    # the index
    "rows-many": many_rows,
    "rows-none": no_rows,
    "name-repeated": repeated("name"),
    "group-repeated": repeated("group"),
    "name-zipped": zipped("name"),
    "footer-absurd": footer_size(0xFFFFFFFF),
    "footer-small": footer_size(3),
    "index-empty": to_bytes("index", b""),
    "index-text": to_bytes("index", b"PAR1 and nothing else PAR1"),
    "index-link": linked,
    "index-pipe": pipe("index"),
    **{f"index-flipped-{seed}": flipped("index", seed) for seed in range(8)},
    "split-index-up": put_first(split="../../stolen"),
    "split-index-null": put_first(split=None),
    "sample-up": renamed("../../stolen/"),
    "sample-absolute": renamed("/tmp/stolen/"),
    "sample-escapes": renamed(ESCAPES.replace("\x00", "")),
    "sample-nul": renamed("a\x00b"),
    "sample-markup": renamed(MARKUP),
    "sample-reserved": renamed("con/aux/ .. /"),
    "sample-long": renamed("x" * 300),
    "sample-very-long": renamed("x" * 1_000_000),
    "sample-twice": put_all(lambda row: row.update(name="same")),
    "sample-null": put_first(name=None),
    "shard-index-up": put_first(shard="shards/../../../outside/canary.txt"),
    "shard-index-absolute": put_first(shard="/etc/hostname"),
    "width-huge": put_all(lambda row: row.update(width=10**9, height=10**9)),
    "width-negative": put_first(width=-24),
    "width-zero": put_first(width=0),
    "width-wrong": put_all(lambda row: row.update(width=30_000, height=30_000)),
    "offset-negative": put_first(image_offset=-1),
    "offset-huge": put_first(image_offset=2**62, image_bytes=2**62),
    "offset-beyond": put_first(masks_offset=10**9),
    "bytes-negative": put_first(image_bytes=-5),
    "bytes-terabytes": put_all(lambda row: row.update(image_bytes=1 << 42)),
    "bytes-none": put_all(lambda row: row.update(image_bytes=0, masks_bytes=0)),
    "places-overlap": put_all(lambda row: row.update(image_offset=4, masks_offset=4)),
    "names-numbers": lambda forged: forged.frame(lambda t: t.with_columns(name=pl.int_range(pl.len()))),
    "sizes-text": lambda forged: forged.frame(lambda t: t.with_columns(width=pl.lit("24"), image_offset=pl.lit(2.5))),
    "area-text": lambda forged: forged.frame(lambda t: t.with_columns(area=pl.lit("none"))),
    "area-null": lambda forged: forged.frame(lambda t: t.with_columns(area=pl.lit(None), box=pl.lit(None))),
    "area-huge": put_all(lambda row: row.update(area={"a": 2**62, "b": -1}, box={"a": [1], "b": [2**31 - 1] * 4})),
    "columns-missing": lambda forged: forged.frame(lambda t: t.select("name", "id")),
    "labels-uneven": put_first(label=[0.5] * 7),
    "label-nan": put_all(lambda row: row.update(label=[float("nan")] * 3)),
    "tags-null": put_all(lambda row: row.update(tags=None, parents=None, groups=None)),
    "lineage-null": put_all(lambda row: row.update(lineage=None)),
    "lineage-roots-null": put_all(lambda row: row.update(lineage={"steps": None, "roots": None})),
    "lineage-deep": lineage(drawn="[" * 50_000, notes="{"),
    "lineage-escapes": lineage(drawn=json.dumps(ESCAPES), op=ESCAPES, step=MARKUP),
    "lineage-matrix": lineage(matrix=[[1.0]], parents=[{"name": "x", "matrix": [], "clip": []}]),
    "parent-of-itself": own_parent,
    "metadata-escapes": lambda forged: forged.frame(
        lambda t: t.with_columns(metadata=pl.struct(pl.lit(MARKUP).alias(ESCAPES.replace("\x00", ""))))
    ),
    "metadata-text": lambda forged: forged.frame(lambda t: t.with_columns(metadata=pl.lit(ESCAPES))),
    "digest-text": put_all(lambda row: row.update(payload_digest="zz", pixel_digest=ESCAPES)),
    # the other tables
    "rejected-text": to_bytes("rejected", b"PAR1"),
    "rejected-other": lambda forged: forged.frame(lambda t: pl.DataFrame({"x": [1]}), "rejected"),
    "stages-text": to_bytes("stages", b"no table"),
    "stages-other": lambda forged: forged.frame(lambda t: pl.DataFrame({"x": [1]}), "stages"),
    "stages-flipped": flipped("stages", 3),
    "ledger-text": to_bytes("ledger", b"no table"),
    "ledger-other": lambda forged: forged.frame(lambda t: pl.DataFrame({"kind": [1]}), "ledger"),
    # the shards
    "shard-cut": lambda forged: forged.shard(lambda data: data[: len(data) // 2]),
    "shard-empty": lambda forged: forged.shard(lambda data: b""),
    "shard-text": lambda forged: forged.shard(lambda data: b"PAR1" + b"x" * 5000 + b"PAR1"),
    "shard-pipe": pipe("shard"),
    "shard-missing": lambda forged: shutil.rmtree(forged.folder / "shards"),
    "frame-terabytes": masks(frame_header(1 << 45)),
    "frame-claims": masks(frame_header(900_000_000), width=30_000, height=30_000),
    "frame-bomb": lambda forged: forged.append_payload("masks", zstd_bomb(900)),
    "frame-text": masks(b"not zstd at all"),
    "image-claims": image(png(100_000, 100_000, 0)),
    "image-bomb": image(png(20_000, 20_000, 200)),
    "image-jpeg": image(jpeg(65_500, 65_500)),
    "image-jpeg-cut": image(b"\xff\xd8\xff\xe0"),
    "image-text": image(b"no image"),
    "image-tiff": image(b"II*\x00\x08\x00\x00\x00" + b"\xff" * 100),
    "image-other-size": image(png(48, 32, 32)),
}
"""Hostile datasets by name: what is done to a sound one."""


def forge(forged: Forgery, make: Make) -> None:
    """Make a sound dataset hostile."""
    make(forged)
    if (forged.folder / "manifest.yaml").is_file() and forged.table().parent == forged.folder / "index":
        finished = partial(forged.finish)
        if make not in _FINISHED:
            finished()


_FINISHED = {
    make
    for name, make in DATASETS.items()
    if name.startswith(("manifest-", "number-", "fitted-", "key-twice")) or name.endswith("-pipe")
}

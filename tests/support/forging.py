"""Forging a dataset consistently: whatever is changed, digests, seals and the version are made to fit again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from augforge.files import file_sha256
from augforge.keys import digest
from augforge.store.manifest import read_manifest
from augforge.store.seal import seal

Data = dict[str, Any]
Change = Callable[[Data], Any]
TABLES = {"index": "", "rejected": ".rejected", "stages": ".stages", "ledger": ".ledger"}


class Forgery:
    """A dataset in a folder that is being forged.

    Attributes:
        folder: of the dataset.
        manifest: its content, to be changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Data = read_manifest(folder).model_dump()

    def table(self, kind: str = "index") -> Path:
        return Path(self.folder, f"index/{self.manifest['version']}{TABLES[kind]}.parquet")

    def rows(self, change: Change, kind: str = "index") -> None:
        """Change each row of a table, keeping its types."""
        path = self.table(kind)
        schema, rows = pq.read_schema(path), pq.ParquetFile(path).read().to_pylist()
        for row in rows:
            change(row)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")

    def first_row(self, **values: Any) -> None:
        """Put values into the first row of the index."""
        done: list[bool] = []

        def change(row: Data) -> None:
            if not done:
                row.update(values)
            done.append(True)

        self.rows(change)

    def frame(self, change: Callable[[pl.DataFrame], pl.DataFrame], kind: str = "index") -> None:
        """Change a table, whatever its types become."""
        change(pl.read_parquet(self.table(kind), glob=False)).write_parquet(self.table(kind))

    def shard(self, change: Callable[[bytes], bytes]) -> Path:
        """Change the bytes of the first shard; its digest and size in the manifest are made to fit."""
        entry = self.manifest["shards"][0]
        path = Path(self.folder, entry["path"])
        path.write_bytes(change(path.read_bytes()))
        entry.update(bytes=path.stat().st_size, sha256=file_sha256(path))
        return path

    def append_payload(self, column: str, data: bytes, **columns: Any) -> None:
        """Let all samples of the first shard have other bytes as their image or masks."""
        path = self.shard(lambda content: content + data)
        at = path.stat().st_size - len(data)
        place = {f"{column}_offset": at, f"{column}_bytes": len(data), **columns}
        name = self.manifest["shards"][0]["path"]
        digits = xxhash.xxh3_64(data).hexdigest()  # the payload's digest has those of image and masks

        def change(row: Data) -> None:
            if row["shard"] == name:
                old = row["payload_digest"]
                row.update(place, payload_digest=digits + old[16:] if column == "image" else old[:16] + digits)

        self.rows(change)

    def finish(self, text: str | None = None) -> Path:
        """Write the manifest, with digests that fit, or another text in its place."""
        data, old = self.manifest, self.table()
        paths = {kind: self.table(kind) for kind in TABLES}
        data["index_sha256"] = file_sha256(old) if old.is_file() else "0" * 64
        version = data["version"]
        named = re.fullmatch(r"[0-9a-f]{16}", str(version)) is not None
        if named and text is None:
            names = sorted(str(shard["sha256"]) for shard in data["shards"])
            content = (data["classes"], data["labels"], names, data["rejected_digest"], data["tags_digest"])
            version = data["version"] = digest(data["format"], *content)[:16]
        data["files"] = []
        for kind, path in paths.items():
            place = self.folder / f"index/{version}{TABLES[kind]}.parquet"
            if named and path.exists():
                path = path.rename(place)
            if path.is_file():
                entry = {"path": f"index/{path.name}", "bytes": path.stat().st_size, "sha256": file_sha256(path)}
                data["files"].append(entry)
        shutil.rmtree(self.folder / "versions")
        (self.folder / "versions").mkdir()
        sealed = seal(json.dumps(data) if text is None else text)  # JSON is YAML
        (self.folder / "manifest.yaml").write_text(sealed, encoding="utf-8", errors="surrogatepass")
        if named:
            (self.folder / f"versions/{version}.yaml").write_text(sealed, encoding="utf-8", errors="surrogatepass")
        return self.folder

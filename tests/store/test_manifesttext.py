"""A manifest's text is what the YAML library writes and reads, without handing it each of thousands of shards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augforge.errors import DatasetError
from augforge.store import manifesttext
from augforge.store.manifesttext import dump_manifest, parse_manifest
from augforge.yamlfile import dump_yaml, parse_yaml

MAX = 64 << 20
HEAD = {"format": 2, "recipe": {"text": "name: x\n\nshards:\n- path: y\n", "digest": "d"}, "files": []}


def shard(number: int) -> dict[str, Any]:
    digest = f"{number:07d}a".zfill(64)
    return {"path": f"shards/train-{digest[-16:]}.parquet", "split": "train", "rows": 8, "bytes": 9, "sha256": digest}


def read(text: str) -> dict[str, Any]:
    return parse_manifest(text, "manifest.yaml", DatasetError, MAX).data


SHARD = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["shards/a-1.parquet", "shards/1e5.parquet", "shards/b c.parquet", "shards/-.parquet"]),
        "split": st.sampled_from(["train", "val", "test", "yes"]),
        "rows": st.integers(0, 10**20),
        "bytes": st.integers(0, 9),
        "sha256": st.sampled_from(["0" * 64, "1" * 30 + "e" + "5" * 33, "a" * 64, "0b" + "1" * 62, "1e" * 32, "x"]),
    }
)


@settings(deadline=None, max_examples=80)
@given(st.lists(SHARD, max_size=4))
def test_as_the_library_writes_and_reads_it(shards: list[dict[str, Any]]) -> None:
    data = {**HEAD, "shards": shards}
    text = dump_manifest(data)
    assert text == dump_yaml(data)
    for sealed in (text, f"{text}# sha256 of all lines above: abc\n"):
        assert read(sealed) == parse_yaml(sealed, "x", DatasetError, MAX).data == data


EDITS = {
    "a shard more in another form": ("# seal", "- {path: shards/x.parquet, split: train}\n# seal"),
    "quotes": ("split: train", "split: 'train'"),
    "a comment": ("  rows: 8\n", "  rows: 8  # few\n"),
    "another key": ("# seal", "more: 1\n# seal"),
    "another order": ("  rows: 8\n  bytes: 9\n", "  bytes: 9\n  rows: 8\n"),
    "a key of the same name before it": ("format: 2", "format: 2\nshards: []"),
    "octal": ("rows: 8", "rows: 08"),
    "an empty line": ("  bytes: 9\n", "  bytes: 9\n\n"),
    "nothing behind": ("# seal\n", ""),
    "no end of line": ("# seal\n", "# seal"),
}


@pytest.mark.parametrize(("old", "new"), EDITS.values(), ids=EDITS)
def test_text_that_was_edited_is_read_as_the_library_reads_it(old: str, new: str) -> None:
    text = f"{dump_manifest({**HEAD, 'shards': [shard(1), shard(2)]})}# seal\n".replace(old, new, 1)

    def outcome(parse: Any) -> Any:
        try:
            file = parse(text, "manifest.yaml", DatasetError, MAX)
        except DatasetError as error:
            return str(error)
        return file.data, file.text

    assert outcome(parse_manifest) == outcome(parse_yaml)


def test_the_library_sees_no_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take minutes for the most shards that a manifest may have."""
    seen: list[int] = []

    def parsing(text: str, *more: Any) -> Any:
        seen.append(len(text))
        return parse_yaml(text, *more)

    def dumping(data: Any) -> str:
        text = dump_yaml(data)
        seen.append(len(text))
        return text

    monkeypatch.setattr(manifesttext, "parse_yaml", parsing)
    monkeypatch.setattr(manifesttext, "dump_yaml", dumping)
    data = {**HEAD, "shards": [shard(number) for number in range(20_000)]}
    assert read(dump_manifest(data)) == data
    assert max(seen) < 1000

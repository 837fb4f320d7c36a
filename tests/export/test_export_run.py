"""Exports of every format: refusals, the folder that appears whole or not at all, the same bytes, and the command."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML
from samplebox import CLASSES, assert_same, box_fixture, box_sample, dataset_of, export_to, read, tree  # noqa: F401
from typer.testing import CliRunner

from augforge import bitmask
from augforge.cli import app as cli
from augforge.errors import AugforgeError, DatasetError
from augforge.export import FORMATS, export
from augforge.export.core import Entry, Job
from augforge.export.listing import TABLE
from augforge.store.dataset import Dataset, open_dataset

OPTIONS = {"index-mask": {"order": "*"}}


def put(box: Dataset, out: Path, to: str) -> None:
    export_to(box, out, to, **OPTIONS.get(to, {}))


@pytest.mark.parametrize("to", FORMATS)
def test_same_export_gives_the_same_bytes(box: Dataset, tmp_path: Path, to: str) -> None:
    put(box, tmp_path / "one", to)
    put(box, tmp_path / "two", to)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.parametrize("to", FORMATS)
def test_images_are_the_stored_bytes(tmp_path: Path, to: str) -> None:
    jpeg = dataset_of(tmp_path / "jpeg", [box_sample("P01/a", 1)], output={"image": "jpeg"})
    put(jpeg, tmp_path / "out", to)
    if to == "webdataset":
        assert bytes(jpeg.payload(0)[0]) in next((tmp_path / "out").glob("*.tar")).read_bytes()
    else:
        (picture,) = (tmp_path / "out").rglob("*.jpg")
        assert picture.read_bytes() == bytes(jpeg.payload(0)[0])


@pytest.mark.parametrize("to", FORMATS)
def test_one_split(box: Dataset, tmp_path: Path, to: str) -> None:
    done = export_to(box, tmp_path / "out", to, splits=("val",), **OPTIONS.get(to, {}))
    assert done.splits == {"val": 1}
    held = tree(tmp_path / "out")
    assert (done.files, done.bytes) == (len(held), sum(map(len, held.values())))
    assert not any("train" in place or "later" in place for place in held)


@pytest.mark.parametrize("to", FORMATS)
def test_an_interrupted_export_leaves_nothing(box: Dataset, tmp_path: Path, to: str) -> None:
    class Stop:
        def start(self, label: str, total: int) -> None:
            self.left = total - 1 if label.startswith("export") else -1

        def advance(self, count: int) -> None:
            self.left -= count
            if self.left == 0:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(box, tmp_path / "new/out", to, options=OPTIONS.get(to, {}), progress=Stop())
    assert list((tmp_path / "new").iterdir()) == []


def test_progress_counts_samples(box: Dataset, tmp_path: Path) -> None:
    class Count:
        def __init__(self) -> None:
            self.counts: list[list[Any]] = []

        def start(self, label: str, total: int) -> None:
            self.counts.append([label, total, 0])

        def advance(self, count: int) -> None:
            self.counts[-1][2] += count

    progress = Count()
    export(box, tmp_path / "out", "csv", progress=progress)
    assert progress.counts == [["check", 3, 3], ["export csv", 4, 4]]
    progress = Count()
    export(box, tmp_path / "val", "csv", splits=("val",), progress=progress)
    assert progress.counts == [["check", 1, 1], ["export csv", 1, 1]]


@pytest.mark.parametrize("inside", ["file", "folder"])
def test_a_folder_that_is_not_empty_is_refused(box: Dataset, tmp_path: Path, inside: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if inside == "file":
        (out / "mine.txt").write_text("x")
    else:
        (out / "mine").mkdir()
    with pytest.raises(AugforgeError, match=r"not empty.*Choose another"):
        put(box, out, "csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(AugforgeError, match="not empty"):
        put(box, box.folder / "manifest.yaml", "csv")


@pytest.mark.parametrize("to", FORMATS)
def test_an_existing_empty_folder_is_filled(box: Dataset, tmp_path: Path, to: str) -> None:
    """It may be a mount point, and its parent read-only: nothing beside it is written, and it is not replaced."""
    out = tmp_path / "parent/out"
    out.mkdir(parents=True)
    before = out.stat(), out.parent.stat()
    put(box, out, to)
    after = out.stat(), out.parent.stat()
    assert [(stat.st_ino) for stat in after] == [stat.st_ino for stat in before]
    assert after[1].st_mtime_ns == before[1].st_mtime_ns
    put(box, tmp_path / "new", to)
    assert tree(out) == tree(tmp_path / "new")


def test_exporting_into_the_working_folder(box: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(box, Path(), "csv")
    assert Path("train.csv").read_bytes() == (tmp_path / "train.csv").read_bytes()


@pytest.mark.parametrize("there", [True, False])
def test_error_names_the_remains_of_a_killed_export(box: Dataset, tmp_path: Path, there: bool) -> None:
    """Another export may be running as well, so that it is not simply removed."""
    out = tmp_path / "out"
    left = (out if there else tmp_path) / ".out.tmp"
    (left / "images").mkdir(parents=True)
    with pytest.raises(AugforgeError, match=rf"^{left} is there.*killed.*delete that folder"):
        put(box, out, "csv")
    (left / "images").rmdir()
    left.rmdir()
    put(box, out, "csv")


def test_two_exports_at_once(box: Dataset, tmp_path: Path) -> None:
    class Another:
        def start(self, label: str, total: int) -> None:
            with pytest.raises(AugforgeError, match="another export"):
                put(box, tmp_path / "out", "csv")

        def advance(self, count: int) -> None:
            pass

    export(box, tmp_path / "out", "csv", progress=Another())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_takes_an_empty_folder_and_links_to_one(box: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    put(box, tmp_path / "link", "csv")
    assert (tmp_path / "empty/train.csv").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link"]


def test_an_unwritable_folder_is_an_error(box: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(AugforgeError, match=r"cannot be written: Not a directory"):
        put(box, tmp_path / "file/out", "csv")


@pytest.mark.parametrize(
    ("to", "options", "told"),
    [
        ("cocoo", {}, "no export format is named 'cocoo'. Did you mean 'coco'?"),
        ("coco", {"mask": "rle"}, "the format coco has no option 'mask'. Did you mean 'masks'?"),
        (
            "coco",
            {"masks": "rl"},
            "option masks of coco: expected 'rle' or 'polygons', got 'rl'. Correct --set masks=...",
        ),
        ("yolo", {"tolerance": -1}, "option tolerance of yolo: expected greater than or equal to 0, got -1"),
        ("webdataset", {"max_count": 0}, "option max_count of webdataset"),
        ("csv", {"tolerance": 1}, "the format csv has no option 'tolerance'"),
    ],
)
def test_wrong_options(box: Dataset, tmp_path: Path, to: str, options: dict[str, object], told: str) -> None:
    with pytest.raises(AugforgeError, match=re.escape(told)):
        export(box, tmp_path / "out", to, options=options)
    assert list(tmp_path.iterdir()) == []


def test_wrong_splits(box: Dataset, tmp_path: Path) -> None:
    with pytest.raises(AugforgeError, match="Did you mean 'train'"):
        export(box, tmp_path / "out", "coco", splits=["trian"])
    with pytest.raises(AugforgeError, match="no sample to export"):
        export(box.where(pl.col("name") == "nobody"), tmp_path / "out", "coco")


def test_a_part_of_a_dataset(box: Dataset, tmp_path: Path) -> None:
    done = export(box.where(pl.col("name") == "P01/one"), tmp_path / "out", "csv")
    assert done.splits == {"train": 1}
    assert [path.name for path in (tmp_path / "out/images").iterdir()] == ["one.png"]


def test_samples_table(tmp_path: Path) -> None:
    labelled = [box_sample("P01/a", 1, label=np.array([0.25, 0.75], np.float32)), box_sample("P02/b", 2, split="val")]
    dataset = dataset_of(tmp_path / "data", labelled, labels=("left", "group"))
    export_to(dataset, tmp_path / "out", "yolo")
    with (tmp_path / "out" / TABLE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["name", "file", "split", "group", "left", "group", "age"],
        ["P01/a", "images/train/P01/a.png", "train", "P01", "0.25", "0.75", "1.5"],
        ["P02/b", "images/val/P02/b.png", "val", "P02", "", "", "2.5"],
    ]


def test_samples_table_gives_groups_back(box: Dataset, tmp_path: Path) -> None:
    flat = dataset_of(tmp_path / "data", [box_sample("a", 1), box_sample("b", 2)])
    export_to(flat, tmp_path / "out", "mask-folder")
    found = read(
        "mask-folder",
        tmp_path / "out/train",
        classes=CLASSES,
        metadata={"table": f"../{TABLE}"},
        group={"column": "group"},
    )
    assert {name: (sample.group, sample.metadata["age"]) for name, sample in found.items()} == {
        "a": ("a", 1.5),
        "b": ("b", 2.5),
    }


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Samples that every format holds, in groups that their names do not tell."""
    samples = [box_sample("P/a", 1, overlap=False), box_sample("P/b", 2, overlap=False, split="val")]
    regrouped = [replace(sample, group=group) for sample, group in zip(samples, ("one", "two"), strict=True)]
    return dataset_of(tmp_path_factory.mktemp("apart"), regrouped)


@pytest.mark.parametrize("to", [name for name in FORMATS if name != "webdataset"])
def test_the_page_s_recipe_reads_it_back(apart: Dataset, tmp_path: Path, to: str) -> None:
    export_to(apart, tmp_path / "out", to, **({"tolerance": 0} if to == "labelme" else {}))
    text = FORMATS[to].options.read_back.replace("OUT", str(tmp_path / "out"))
    recipe = YAML(typ="safe").load(text.replace("[heart, lung]", json.dumps(CLASSES)))["source"]
    found = read(recipe.pop("format"), Path(recipe.pop("path")), **recipe)
    originals = {sample.name.rpartition("/")[2]: sample for sample in apart}
    assert [name.rpartition("/")[2] for name in found] == (["a", "b"] if "splits" in text else ["a"])
    for name, sample in found.items():
        expected = originals[name.rpartition("/")[2]]
        np.testing.assert_array_equal(bitmask.contiguous(sample.masks), bitmask.contiguous(expected.masks))
        assert sample.split == expected.split
        assert sample.group == expected.group or "group" not in recipe


# ---- damaged datasets ------------------------------------------------------------------------------------------------


@pytest.fixture(name="copy")
def copy_fixture(box: Dataset, tmp_path: Path) -> Dataset:
    return open_dataset(shutil.copytree(box.folder, tmp_path / "copy"))


@pytest.mark.parametrize("damage", ["cut", "image", "masks", "gone"])
@pytest.mark.parametrize("to", FORMATS)
def test_a_damaged_shard_is_an_error(copy: Dataset, tmp_path: Path, to: str, damage: str) -> None:
    row = copy.index.filter(pl.col("split") == "val").row(0, named=True)
    shard = copy.folder / row["shard"]
    data = bytearray(shard.read_bytes())
    if damage in ("image", "masks"):
        data[row[f"{damage}_offset"] + row[f"{damage}_bytes"] // 2] ^= 1
    shard.unlink() if damage == "gone" else shard.write_bytes(data[: 300 if damage == "cut" else None])
    with pytest.raises(DatasetError, match=rf"^{shard} (is damaged|cannot be read).*augforge verify"):
        put(copy, tmp_path / "out", to)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert export_to(copy, tmp_path / "out", to, splits=("train",), **OPTIONS.get(to, {})).splits == {"train": 2}


def test_a_changed_index_is_an_error(copy: Dataset, tmp_path: Path) -> None:
    index = copy.folder / copy.manifest.index_path
    index.write_bytes(index.read_bytes() + b" ")
    with pytest.raises(DatasetError, match=rf"^{index} is damaged"):
        put(copy, tmp_path / "out", "csv")


def test_error_names_the_sample_of_undecodable_masks(box: Dataset) -> None:
    known = np.ones(len(CLASSES), bool)
    entry = Entry(1, "P/a", "train", "P", 61, 44, {}, None, known, memoryview(b""), box.payload(0)[1][:9])
    with pytest.raises(DatasetError, match=r"masks of sample 'P/a' cannot be decoded.*augforge verify"):
        list(entry.regions())


# ---- classes that nobody labelled ------------------------------------------------------------------------------------

VAGUE = ("yolo", "labelme", "index-mask")


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two whole samples, one that knows but two classes."""
    samples = [box_sample("P/a", 1), box_sample("P/b", 2, known=(0, 2)), box_sample("P/c", 3)]
    return dataset_of(tmp_path_factory.mktemp("partly"), samples)


@pytest.mark.parametrize("to", [*VAGUE, "mask-folder"])
def test_unlabelled_classes_are_refused(partly: Dataset, tmp_path: Path, to: str) -> None:
    with pytest.raises(AugforgeError, match=r"3 classes, such as heart, of sample P/b .*--set unknown=absent"):
        put(partly, tmp_path / "out", to)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", [*VAGUE, "mask-folder"])
def test_unlabelled_classes_as_absent_or_left_out(partly: Dataset, tmp_path: Path, to: str) -> None:
    more = OPTIONS.get(to, {})
    absent = export_to(partly, tmp_path / "absent", to, unknown="absent", **more)
    assert absent.splits == {"train": 3}
    assert absent.notes["unlabelled classes written as absent"] == 1
    skipped = export_to(partly, tmp_path / "skip", to, unknown="skip", **more)
    assert skipped.splits == {"train": 2}
    assert skipped.notes["left out, since not all their classes are labelled"] == 1
    assert not any("/b." in place for place in tree(tmp_path / "skip"))


def test_leaving_out_all_samples_is_an_error(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", [box_sample("P/b", 2, known=(0, 2))])
    with pytest.raises(AugforgeError, match="no sample is left"):
        export_to(dataset, tmp_path / "out", "yolo", unknown="skip")


# ---- the command -----------------------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli.app, ["export", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_command(box: Dataset, tmp_path: Path) -> None:
    told = run(
        box.folder,
        "-o",
        tmp_path / "a",
        "--to",
        "coco",
        "--set",
        "masks=polygons",
        "--split",
        "train",
        "--split",
        "test",
    )
    assert "wrote 3 samples (train 2, test 1) as coco" in told
    assert "not_exhaustive_category_ids: 1\n" in told
    found = json.loads(run(box.folder, "-o", tmp_path / "b", "--to", "webdataset", "--set", "max_count=1", "--json"))
    assert found["splits"] == {"train": 2, "val": 1, "test": 1}
    assert found["options"] == {"masks": "planes", "max_count": 1, "max_bytes": 1_000_000_000}
    assert (found["files"], found["format"], found["path"]) == (4, "webdataset", str(tmp_path / "b"))


def test_help_names_every_format() -> None:
    told = run("--help")
    assert all(name in told for name in FORMATS)
    assert "augforge exports" in told


@pytest.mark.parametrize("text", ["masks", "=rle"])
def test_settings_are_key_and_value(box: Dataset, tmp_path: Path, text: str) -> None:
    with pytest.raises(AugforgeError, match="expected KEY=VALUE"):
        run(box.folder, "-o", tmp_path / "out", "--to", "coco", "--set", text)
    with pytest.raises(AugforgeError, match="twice"):
        run(box.folder, "-o", tmp_path / "out", "--to", "coco", "--set", "masks=rle", "--set", "masks=rle")


STOPPED = """
import os, signal
from augforge.export.core import Entry
def stopping(self):
    os.kill(os.getpid(), signal.SIGINT)
Entry.regions = stopping
from augforge.cli import main
main()
"""


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_stopped_by_a_signal(box: Dataset, tmp_path: Path, name: str, there: bool) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    code = STOPPED.replace("SIGINT", name)
    program = [sys.executable, "-c", code, "export", str(box.folder), "-o", str(out), "--to", "coco"]
    done = subprocess.run(program, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stderr == "stopped; nothing was written\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["out"] * there


def test_a_second_signal_does_not_cut_the_clean_up_short(box: Dataset, tmp_path: Path) -> None:
    again = (
        "import os, shutil, signal\nremove = shutil.rmtree\n"
        "shutil.rmtree = lambda *a, **k: (os.kill(os.getpid(), signal.SIGHUP), remove(*a, **k))\n"
    )
    code = again + STOPPED.replace("SIGINT", "SIGTERM")
    program = [sys.executable, "-c", code, "export", str(box.folder), "-o", str(tmp_path / "out"), "--to", "coco"]
    done = subprocess.run(program, capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode, list(tmp_path.iterdir())) == (128 + signal.SIGTERM, [])


def test_nohup_is_respected(box: Dataset, tmp_path: Path) -> None:
    code = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + STOPPED.replace(
        "SIGINT)", "SIGHUP)\n    return iter(())"
    )
    program = [sys.executable, "-c", code, "export", str(box.folder), "-o", str(tmp_path / "out"), "--to", "coco"]
    done = subprocess.run(program, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr


def test_entries_come_in_order(box: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, int]] = []

    def keep(job: Job, entries: Iterable[Entry], options: Any) -> None:
        seen.extend((entry.split, entry.name, entry.number) for entry in entries)
        job.put("x", "y")

    monkeypatch.setitem(FORMATS, "kept", type(FORMATS["coco"])(FORMATS["coco"].options, keep))
    export(box, tmp_path / "out", "kept")
    assert seen == [
        ("train", "P01/one", 1),
        ("train", "P01/two.5", 2),
        ("val", "P02/a b~rotate-2@5,0", 1),
        ("test", "P03/later", 1),
    ]

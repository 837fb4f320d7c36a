"""Builds from end to end: the same bytes everywhere, only what changed made anew, nothing lost when one fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import pytest
from toybox import (
    MOSAIC,
    annotation,
    class_pixels,
    copy_tree,
    edit_json,
    ids,
    made,
    move_a_point,
    put_unreadable_pixels,
    rejected,
    roots,
    shas,
    tiny_hands,
    write_recipe,
)

from augforge.engine import opening
from augforge.engine.builder import build
from augforge.engine.explaining import explain
from augforge.engine.summary import Summary
from augforge.errors import DatasetError, PlanError, SourceError, TaskError
from augforge.files import writer_lock
from augforge.ops.core import OPS, OpParams, op
from augforge.phantom import write_phantom
from augforge.report.difference import compare_versions
from augforge.store.codec import Encoding, library_versions
from augforge.store.dataset import open_dataset
from augforge.store.history import history
from augforge.store.manifest import read_manifest, versions
from augforge.store.verify import verify


@dataclass(frozen=True)
class Built:
    data: Path
    recipe: Path
    folder: Path
    summary: Summary

    @property
    def version(self) -> str:
        return self.summary.version


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Four persons' hands, mirrored and tiled, built in one process. Tests read it; they change copies."""
    root = tmp_path_factory.mktemp("base")
    write_phantom(root / "data", persons=4, size=128, seed=7)
    recipe = write_recipe(root / "recipe.yaml", root / "data", MOSAIC)
    return Built(root / "data", recipe, root / "out", build(recipe, root / "out"))


@pytest.fixture
def copy(base: Built, tmp_path: Path) -> Built:
    """The same with data and dataset of its own."""
    data = copy_tree(base.data, tmp_path / "data")
    shutil.copytree(base.folder, tmp_path / "out")
    return Built(data, write_recipe(tmp_path / "recipe.yaml", data, MOSAIC), tmp_path / "out", base.summary)


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each image that is encoded in this process."""
    counted: list[int] = []
    encode = Encoding.encode

    def counting(self: Encoding, image: Any) -> bytes:
        counted.append(1)
        return encode(self, image)

    monkeypatch.setattr(Encoding, "encode", counting)
    return counted


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException) -> None:
    """Make the encoder raise after so many images."""
    encode, done = Encoding.encode, iter(range(count))

    def stopping(self: Encoding, image: Any) -> bytes:
        if next(done, None) is None:
            raise error
        return encode(self, image)

    monkeypatch.setattr(Encoding, "encode", stopping)


def same(folder: Path, base: Built) -> bool:
    return read_manifest(folder).version == base.version and shas(folder) == shas(base.folder)


# ---- the same bytes --------------------------------------------------------------------------------------------------


def test_base_holds_what_the_recipe_says(base: Built) -> None:
    assert base.summary.splits == {"train": 24, "val": 2}
    assert (base.summary.made, base.summary.reused, base.summary.unchanged) == (26, 0, False)
    assert [step["made"] for step in base.summary.steps] == [{"train": 6}, {"train": 12}]
    assert verify(base.folder, pixels=True) == []


def test_two_workers_give_the_same_bytes(base: Built, tmp_path: Path) -> None:
    build(base.recipe, tmp_path / "two", jobs=2)
    assert same(tmp_path / "two", base)
    one, two = (open_dataset(folder).index for folder in (base.folder, tmp_path / "two"))
    assert one.equals(two)


def test_source_moved_elsewhere_gives_the_same_bytes(base: Built, tmp_path: Path) -> None:
    data = copy_tree(base.data, tmp_path / "deep/er/data")
    summary = build(base.recipe, tmp_path / "out", overrides=[f"source.path={data}"])
    assert same(tmp_path / "out", base)
    assert summary.made == 26


def test_hash_seed_does_not_matter(base: Built, tmp_path: Path) -> None:
    code = f"from augforge.engine.builder import build; build({str(base.recipe)!r}, {str(tmp_path / 'out')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "4711"})
    assert same(tmp_path / "out", base)
    assert open_dataset(tmp_path / "out").index.equals(open_dataset(base.folder).index)


KILLED = """
import os, signal
from augforge.engine.builder import build
from augforge.store.codec import Encoding
encode, left = Encoding.encode, iter(range({count}))
def killing(self, image):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, image)
Encoding.encode = killing
build({recipe!r}, {out!r})
"""


@pytest.mark.parametrize("count", [3, 17])
def test_killed_build_goes_on_and_gives_the_same_bytes(
    base: Built, tmp_path: Path, count: int, encodes: list[int]
) -> None:
    out = tmp_path / "out"
    code = KILLED.format(count=count, recipe=str(base.recipe), out=str(out))
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert not (out / "manifest.yaml").exists()
    kept = sum(len(json.loads(path.read_text())["payloads"]) for path in (out / "work").glob("*.json"))
    assert 0 < kept <= count
    summary = build(base.recipe, out)
    assert same(out, base)
    assert len(encodes) == 26 - kept
    assert (summary.made, summary.reused) == (26 - kept, kept)


def test_no_reuse_makes_all_again_and_gives_the_same_bytes(copy: Built, base: Built, encodes: list[int]) -> None:
    summary = build(copy.recipe, copy.folder, reuse=False)
    assert same(copy.folder, base)
    assert (summary.made, summary.reused, len(encodes)) == (26, 0, 26)


def test_work_area_may_be_deleted(copy: Built, base: Built, tmp_path: Path) -> None:
    shutil.rmtree(copy.folder / "work")
    assert build(copy.recipe, copy.folder).made == 0
    assert same(copy.folder, base)
    shutil.rmtree(copy.folder / "work")
    edit_json(annotation(copy.data, names(copy)[0]), move_a_point)
    partly, whole = build(copy.recipe, copy.folder), build(copy.recipe, tmp_path / "whole")
    assert partly.version == whole.version
    assert 0 < partly.made < whole.made


def names(built: Built) -> list[str]:
    """The source's training images, sorted."""
    folder = built.data / "train/outputs_json"
    found = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json"))
    return [name for name in found if not name.startswith("ID002")]


# ---- only what changed -----------------------------------------------------------------------------------------------


def test_nothing_changed_makes_nothing(copy: Built, base: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(monkeypatch, 0, AssertionError("an image was encoded"))
    before = {path: path.stat().st_mtime_ns for path in (copy.folder / "shards").iterdir()}
    summary = build(copy.recipe, copy.folder)
    assert (summary.made, summary.reused, summary.new_shards, summary.unchanged) == (0, 26, 0, True)
    assert {path: path.stat().st_mtime_ns for path in (copy.folder / "shards").iterdir()} == before
    assert versions(copy.folder) == [base.version]


def test_edited_annotation_makes_only_what_shows_it(copy: Built, tmp_path: Path) -> None:
    edited = names(copy)[2]
    before, shown = ids(copy.folder), roots(copy.folder)
    edit_json(annotation(copy.data, edited), move_a_point)
    summary = build(copy.recipe, copy.folder)
    after = ids(copy.folder)
    holding = {name for name, sources in shown.items() if edited in sources}
    assert {name for name in after if after[name] != before[name]} == holding
    assert {edited, f"{edited}~hflip"} < holding < set(after)
    assert roots(copy.folder) == shown  # an edit redraws nothing
    assert (summary.made, summary.reused) == (len(holding), 26 - len(holding))
    assert build(copy.recipe, tmp_path / "fresh").version == summary.version
    assert shas(tmp_path / "fresh") == shas(copy.folder)
    assert len(versions(copy.folder)) == 2
    assert all(verify(copy.folder, version, pixels=True) == [] for version in versions(copy.folder))


def test_formatting_an_annotation_changes_nothing(copy: Built) -> None:
    path = annotation(copy.data, names(copy)[0])
    document = json.loads(path.read_text())
    document["annotations"] = [dict(reversed(entry.items())) for entry in reversed(document["annotations"])]
    path.write_text("\ufeff" + json.dumps(document, indent=3), encoding="utf-8")
    summary = build(copy.recipe, copy.folder)
    assert (summary.made, summary.unchanged) == (0, True)


def test_a_person_comes_and_goes(copy: Built, base: Built, tmp_path: Path) -> None:
    write_phantom(tmp_path / "five", persons=5, size=128, seed=7)
    before, shown = ids(copy.folder), roots(copy.folder)
    grown = build(copy.recipe, copy.folder, overrides=[f"source.path={tmp_path / 'five'}"])
    after, now = ids(copy.folder), roots(copy.folder)
    new = {name for name in after if name not in before}
    assert all("ID005" in name for name in new)
    assert len(new) == 8
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {name for name in before if any(root.startswith("ID005") for root in now[name])}
    assert all(name.startswith("mosaic/") for name in changed)
    assert {name for name in before if now[name] != shown[name]} <= changed
    assert (grown.made, grown.reused) == (len(new) + len(changed), 26 - len(changed))
    shrunk = build(copy.recipe, copy.folder)
    assert same(copy.folder, base)
    assert (shrunk.made, shrunk.new_shards, shrunk.unchanged) == (0, 0, False)


def test_other_split_reuses_every_payload(base: Built, tmp_path: Path) -> None:
    steps = ["{op: hflip, keep_input: true, on: [train, val]}"]
    first, dataset = made(tmp_path, base.data, steps)
    summary, other = made(tmp_path, base.data, steps, split="{val: 0.5, seed: 3}")
    assert (summary.made, summary.reused) == (0, first.made)
    assert summary.version != first.version
    assert dict(zip(other.index["id"], other.index["split"], strict=True)) != dict(
        zip(dataset.index["id"], dataset.index["split"], strict=True)
    )
    assert verify(tmp_path / "out", pixels=True) == []


def test_other_seed_remakes_what_chance_decides(copy: Built, encodes: list[int]) -> None:
    before = ids(copy.folder)
    write_recipe(copy.recipe, copy.data, MOSAIC, seed=22)
    summary = build(copy.recipe, copy.folder)
    after = ids(copy.folder)
    mosaics = {name for name in before if name.startswith("mosaic/")}
    assert {name for name in after if after[name] != before[name]} == mosaics
    assert (summary.made, summary.reused, len(encodes)) == (12, 14, 12)
    assert [step["made"] for step in summary.steps] == [{}, {"train": 12}]


def test_other_libraries_reuse_nothing(copy: Built, base: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = library_versions()
    monkeypatch.setattr(opening, "library_versions", lambda: {**libraries, "opencv": "0.0.1"})
    summary = build(copy.recipe, copy.folder)
    assert (summary.made, summary.reused) == (26, 0)
    assert same(copy.folder, base)
    assert read_manifest(copy.folder).made_by["opencv"] == "0.0.1"
    assert build(copy.recipe, copy.folder).made == 0


def test_other_metadata_changes_columns_alone(copy: Built) -> None:
    book = openpyxl.load_workbook(copy.data / "meta_data.xlsx")
    book.active["B2"] = 99
    book.save(copy.data / "meta_data.xlsx")
    book.close()
    summary = build(copy.recipe, copy.folder)
    assert (summary.made, summary.unchanged) == (0, False)
    dataset = open_dataset(copy.folder)
    ages = {sample.metadata["age"] for sample in dataset if sample.name.startswith("ID001")}
    assert ages == {99}


def test_another_step_reuses_what_is_there(base: Built, tmp_path: Path) -> None:
    made(tmp_path, base.data, MOSAIC[:1])
    summary, _ = made(tmp_path, base.data, MOSAIC)
    assert (summary.made, summary.reused) == (12, 14)
    assert summary.version == base.version
    shorter, _ = made(tmp_path, base.data, MOSAIC[:1])
    assert shorter.made == 0


def test_lost_shard_is_made_again(copy: Built, base: Built) -> None:
    next((copy.folder / "shards").glob("train-*")).unlink()
    assert build(copy.recipe, copy.folder).made == 24
    assert same(copy.folder, base)
    shard = next((copy.folder / "shards").glob("val-*"))
    shard.write_bytes(shard.read_bytes()[:-9])
    assert build(copy.recipe, copy.folder).made == 2
    assert same(copy.folder, base)
    assert verify(copy.folder) == []


# ---- when it fails ---------------------------------------------------------------------------------------------------


class Fragile(OpParams):
    """Fails on one sample."""

    on_name: str = ""


@pytest.fixture
def fragile() -> Iterator[None]:
    with OPS.restored():

        @op("toy_fragile", Fragile, version=1, role="augment")
        def fragile_op(inputs: Any, drawn: Any, params: Fragile, ctx: Any) -> Any:
            if inputs[0].name == params.on_name:
                raise RuntimeError("glass broke")
            yield inputs[0].derive(inputs[0].image ^ 1, inputs[0].masks)

        yield


def is_untouched(built: Built, before: bytes) -> bool:
    return (built.folder / "manifest.yaml").read_bytes() == before and verify(built.folder, pixels=True) == []


def test_interrupt_leaves_the_version_whole(copy: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (copy.folder / "manifest.yaml").read_bytes()
    for name in names(copy):
        edit_json(annotation(copy.data, name), move_a_point)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 9, KeyboardInterrupt())
        build(copy.recipe, copy.folder)
    assert is_untouched(copy, before)
    summary = build(copy.recipe, copy.folder)
    assert 2 < summary.reused < 14  # the two of `val`, and what was finished
    assert list((copy.folder / "work").glob("*.bin")) == []


def test_failed_task_names_sample_and_op(copy: Built, fragile: None, encodes: list[int]) -> None:
    before = (copy.folder / "manifest.yaml").read_bytes()
    broken = names(copy)[4]
    steps = [MOSAIC[0], f"{{op: toy_fragile, on_name: {broken}, keep_input: true}}"]
    write_recipe(copy.recipe, copy.data, steps)
    with pytest.raises(
        TaskError, match=rf"1 tasks failed.*\n{broken} \(toy_fragile\): RuntimeError: glass broke"
    ) as caught:
        build(copy.recipe, copy.folder)
    (failure,) = caught.value.failures
    assert 'raise RuntimeError("glass broke")' in failure.traceback, "the op's own line"
    logged = json.loads((copy.folder / "log.jsonl").read_text().splitlines()[-1])
    assert logged["version"] is None and logged["failures"] == [asdict(failure)]
    assert is_untouched(copy, before)
    encoded = len(encodes)
    write_recipe(copy.recipe, copy.data, [MOSAIC[0], "{op: toy_fragile, keep_input: true}"])
    summary = build(copy.recipe, copy.folder)
    assert summary.samples == 6 * 4 + 2
    assert encoded > 0
    assert summary.made + summary.reused == summary.samples


def test_finished_tasks_outlive_a_failed_one(base: Built, tmp_path: Path) -> None:
    data = copy_tree(base.data, tmp_path / "data")
    picture = data / f"train/DCM/{names(base)[5]}.png"
    whole = picture.read_bytes()
    put_unreadable_pixels(picture)
    recipe = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC[:1])
    with pytest.raises(TaskError, match=rf"{names(base)[5]} \(load\): .*{picture}"):
        build(recipe, tmp_path / "out")
    assert not (tmp_path / "out/manifest.yaml").exists()
    picture.write_bytes(whole)
    summary = build(recipe, tmp_path / "out")
    assert (summary.made, summary.reused) == (4, 10)  # the image, its mirror image, and `val`, which comes last


def test_failures_in_workers_are_told(base: Built, tmp_path: Path) -> None:
    data = copy_tree(base.data, tmp_path / "data")
    for name in names(base):
        put_unreadable_pixels(data / f"train/DCM/{name}.png")
    recipe = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC[:1])
    with pytest.raises(TaskError) as caught:
        build(recipe, tmp_path / "out", jobs=2)
    assert all(name in str(caught.value) for name in names(base))


def test_broken_source_is_told_before_work(copy: Built) -> None:
    before = (copy.folder / "manifest.yaml").read_bytes()
    annotation(copy.data, names(copy)[0]).write_text("{")
    with pytest.raises(SourceError, match=names(copy)[0]):
        build(copy.recipe, copy.folder)
    assert is_untouched(copy, before)


def test_one_builder_a_folder(copy: Built) -> None:
    with writer_lock(copy.folder), pytest.raises(DatasetError, match="another build"):
        build(copy.recipe, copy.folder)
    assert build(copy.recipe, copy.folder).unchanged


@pytest.mark.parametrize("files", [["notes.txt"], ["work/mine.bin", "notes.txt"], ["manifest.yml", "shards/a.parquet"]])
def test_foreign_folder_is_refused(base: Built, tmp_path: Path, files: list[str]) -> None:
    for file in files:
        (tmp_path / "mine" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / file).write_text("precious")
    with pytest.raises(DatasetError, match="holds no dataset"):
        build(base.recipe, tmp_path / "mine")
    found = {
        path.relative_to(tmp_path / "mine").as_posix() for path in (tmp_path / "mine").rglob("*") if path.is_file()
    }
    assert found == set(files)


def test_file_in_place_of_a_folder_is_refused(base: Built, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DatasetError, match="file"):
        build(base.recipe, tmp_path / "file")


def test_dataset_of_another_name_is_refused(copy: Built) -> None:
    before = (copy.folder / "manifest.yaml").read_bytes()
    other = write_recipe(copy.recipe.with_name("other.yaml"), copy.data, MOSAIC, name="other")
    with pytest.raises(DatasetError, match="holds dataset 'toy', not 'other'"):
        build(other, copy.folder)
    assert is_untouched(copy, before)
    with pytest.raises(DatasetError, match="build it with --rename"):
        explain(other, copy.folder)


def test_a_dataset_goes_on_under_another_name_if_told(copy: Built) -> None:
    """Versions of the old name stay, and all samples are reused; `log` and `diff` say the names."""
    before = read_manifest(copy.folder)
    other = write_recipe(copy.recipe.with_name("other.yaml"), copy.data, MOSAIC[:1], name="other")
    assert explain(other, copy.folder, rename=True).name == "other"
    summary = build(other, copy.folder, rename=True)
    assert (summary.name, summary.made, read_manifest(copy.folder).name) == ("other", 0, "other")
    newest, oldest = history(copy.folder).entries
    assert (newest.name, oldest.name, newest.parent) == ("other", "toy", before.version)
    assert verify(copy.folder, pixels=True) == [] == verify(copy.folder, before.version, pixels=True)
    report = compare_versions(open_dataset(copy.folder, before.version), open_dataset(copy.folder))
    assert (report["a"]["name"], report["b"]["name"]) == ("toy", "other")
    with pytest.raises(DatasetError, match="holds dataset 'other', not 'toy'"):
        build(copy.recipe, copy.folder)


def test_unfinished_batches_are_swept_by_a_build_alone(copy: Built) -> None:
    unfinished = copy.folder / "work/0123456789abcdef.bin"
    unfinished.write_bytes(b"a running build writes here")
    build(copy.recipe, copy.folder, dry_run=True)
    assert unfinished.exists()
    build(copy.recipe, copy.folder)
    assert not unfinished.exists()


def test_source_without_usable_image(tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", [1, 2])
    with pytest.raises(PlanError, match="ID009"):
        made(tmp_path, data, classes="[a, b]", split="{val: [ID009]}")


# ---- dry runs --------------------------------------------------------------------------------------------------------

PREDICTABLE = [
    (),
    ("{op: resize, size: 64}",),
    ("{op: hflip, p: 0.5, copies: 2}",),
    ("{op: hflip, p: 0.5, copies: 2, keep_input: true}", "{op: resize, size: [64, 48]}"),
    (*MOSAIC,),
    ("{op: mosaic, copies: 2}", "{op: hflip, keep_input: true, p: 0.3}", "{op: mosaic, grid: [1, 2], p: 0.6}"),
]


@pytest.mark.parametrize("steps", PREDICTABLE)
def test_dry_run_says_what_the_build_does(base: Built, tmp_path: Path, steps: tuple[str, ...]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", base.data, steps)
    dry = build(recipe, tmp_path / "new/out", dry_run=True)
    assert not (tmp_path / "new").exists()
    real = build(recipe, tmp_path / "new/out")
    assert dry.exact
    for field in ("name", "samples", "splits", "steps", "made", "reused", "rejected", "warnings"):
        assert getattr(dry, field) == getattr(real, field), field
    assert real.bytes / 2 < dry.bytes < real.bytes * 2
    again = build(recipe, tmp_path / "new/out", dry_run=True)
    assert (again.made, again.reused, again.exact) == (0, real.samples, True)
    assert all(not step["made"] for step in again.steps)
    assert [step["reused"] for step in again.steps] == [step["made"] for step in real.steps]


def test_dry_run_leaves_a_dataset_alone(copy: Built) -> None:
    edit_json(annotation(copy.data, names(copy)[0]), move_a_point)
    files = {path: path.read_bytes() for path in copy.folder.rglob("*") if path.is_file() and path.suffix != ".sqlite"}
    dry = build(copy.recipe, copy.folder, dry_run=True)
    assert 0 < dry.made < 26
    assert {path: path.read_bytes() for path in files} == files
    assert build(copy.recipe, copy.folder).made == dry.made


# ---- what stands in the manifest -------------------------------------------------------------------------------------


def test_manifest_knows_no_path_and_no_time(base: Built, tmp_path: Path) -> None:
    data = copy_tree(base.data, tmp_path / "elsewhere")
    build(base.recipe, tmp_path / "out", overrides=[f"source.path={data}"])
    one, two = (folder / "manifest.yaml" for folder in (base.folder, tmp_path / "out"))
    assert one.read_bytes() == two.read_bytes()
    assert str(tmp_path) not in two.read_text()
    (line,) = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert line["overrides"] == {"source.path": str(data)}
    assert (line["version"], line["source"], line["made"], line["jobs"]) == (base.version, str(data), 26, 1)


def test_moved_recipe_with_relative_path_gives_the_same_recipe_digest(base: Built, tmp_path: Path) -> None:
    data = copy_tree(base.data, tmp_path / "x/data")
    text = base.recipe.read_text().replace(json.dumps(str(base.data)), "../x/./data")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/r.yaml").write_text(text)
    build(tmp_path / "recipes/r.yaml", tmp_path / "out")
    assert data.exists()
    assert read_manifest(tmp_path / "out").recipe.digest == read_manifest(base.folder).recipe.digest
    assert read_manifest(tmp_path / "out").recipe.text == text


def test_old_version_stays_readable(copy: Built, base: Built) -> None:
    edit_json(annotation(copy.data, names(copy)[0]), move_a_point)
    new = build(copy.recipe, copy.folder)
    old = open_dataset(copy.folder, base.version[:6])
    assert old.version == base.version != new.version == open_dataset(copy.folder).version
    assert dict(zip(old.index["name"], old.index["id"], strict=True)) == ids(base.folder)
    assert old[0].image.shape == (128, 128)
    with pytest.raises(DatasetError, match="no version 'zz'"):
        open_dataset(copy.folder, "zz")


def test_refused_files_are_in_the_rejected_table_and_in_the_version(copy: Built, base: Built) -> None:
    lonely = copy.data / "train/outputs_json/ID001/image9999999999999.json"
    lonely.write_text('{"annotations": []}')
    summary = build(copy.recipe, copy.folder)
    assert summary.rejected == {"source: no image": 1}
    assert summary.version != base.version
    row = rejected(copy.folder).row(0, named=True)
    assert (row["name"], row["step"], row["reason"]) == ("ID001/image9999999999999", "source", "no image")
    assert str(copy.data) not in row["detail"]


def test_registering_writes_relative_paths(copy: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from augforge.store.registry import REGISTRY, read_registry, write_registry

    monkeypatch.chdir(tmp_path)
    build(copy.recipe, copy.folder, register=True)
    registry = read_registry(Path(REGISTRY))
    (source,), (dataset,) = registry.sources, registry.datasets
    assert (source.name, source.path, source.samples, source.licence) == ("data", "data", 8, None)
    assert (dataset.recipe, dataset.source, dataset.version) == ("recipe.yaml", "data", copy.version)
    assert dataset.splits == {"train": 24, "val": 2}
    licensed = source.model_copy(update={"licence": "CC0-1.0"})
    write_registry(Path(REGISTRY), registry.model_copy(update={"sources": [licensed]}))
    other = write_recipe(tmp_path / "recipes/b.yaml", copy.data, MOSAIC[:1], name="another")
    build(other, tmp_path / "another", register=True)
    registry = read_registry(Path(REGISTRY))
    assert [entry.name for entry in registry.datasets] == ["another", "toy"]
    assert registry.datasets[0].recipe == "recipes/b.yaml"
    assert [entry.licence for entry in registry.sources] == ["CC0-1.0"]


# ---- where pixels came from ------------------------------------------------------------------------------------------


def seen_through(root: dict[str, Any], mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A source mask as the lineage says it shows in a sample: looked up through the inverted matrix, in the clip."""
    inverse = np.linalg.inv(np.vstack([np.array(root["matrix"], float), [0, 0, 1]]))[:2]
    y, x = np.mgrid[: shape[0], : shape[1]]
    source = inverse @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    column, row = np.rint(source).astype(int)
    inside = (column >= 0) & (row >= 0) & (column < mask.shape[1]) & (row < mask.shape[0])
    x0, y0, x1, y1 = root["clip"]
    inside &= (x.ravel() >= x0) & (x.ravel() < x1) & (y.ravel() >= y0) & (y.ravel() < y1)
    found = np.zeros(x.size, bool)
    found[inside] = mask[row[inside], column[inside]]
    return found.reshape(shape)


def test_lineage_says_where_every_bone_lies(base: Built, tmp_path: Path) -> None:
    steps = [*MOSAIC, "{op: resize, size: [112, 88], on: [train, val]}"]
    _, dataset = made(tmp_path, base.data, steps)
    sources = {sample.name: sample for sample in open_dataset(base.folder) if "~" not in sample.name}
    shifts = []
    for row, sample in zip(dataset.index.iter_rows(named=True), dataset, strict=True):
        found = row["lineage"]["roots"]
        assert len(found) == (4 if sample.name.startswith("mosaic/") else 1)
        for root, c in product(found, range(0, 29, 4)):
            expected = seen_through(root, class_pixels(sources[root["name"]], c), sample.masks.shape[:2])
            x0, y0, x1, y1 = root["clip"]
            actual = np.argwhere(class_pixels(sample, c)[y0:y1, x0:x1]) + (y0, x0)
            if len(actual) >= 30:
                shifts.append(np.argwhere(expected).mean(axis=0) - actual.mean(axis=0))
                assert np.abs(shifts[-1]).max() < 1, (sample.name, root["name"], c)
    assert len(shifts) > 30
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.15


def test_stage_table_holds_the_parents(base: Built) -> None:
    import polars as pl

    stages = pl.read_parquet(base.folder / f"index/{base.version}.stages.parquet")
    known = set(stages["name"])
    mosaics = open_dataset(base.folder).where(pl.col("step") == "mosaic").index
    assert mosaics.height == 12
    assert set(mosaics["parents"].explode()) <= known
    last = stages.filter(pl.col("stage") == stages["stage"].max())
    assert set(last["name"]) == {name for name in ids(base.folder) if not name.startswith("mosaic/")}
    groups = {group for row in mosaics["groups"] for group in row}
    assert "ID002" not in groups  # of `val`
    assert all(set(row["groups"]) == {name.split("/")[0] for name in row["parents"]} for row in mosaics.to_dicts())


# ---- JPEG ------------------------------------------------------------------------------------------------------------


def test_jpeg_keeps_stages_lossless(base: Built, tmp_path: Path) -> None:
    _, lossy = made(tmp_path, base.data, MOSAIC, output="{image: jpeg, quality: 90}")
    assert verify(tmp_path / "out", pixels=True) == []
    exact = open_dataset(base.folder)
    for sample in exact:
        found = lossy.by_name(sample.name)
        wanted = cv2.imdecode(np.frombuffer(Encoding.jpeg(90).encode(sample.image), np.uint8), cv2.IMREAD_UNCHANGED)
        assert (found.image == wanted).all(), sample.name  # compressed once, whatever the number of stages
        assert (found.masks == sample.masks).all()
    assert ids(tmp_path / "out") == ids(base.folder)
    assert bytes(lossy.payload(0)[0][:3]) == b"\xff\xd8\xff"


def test_png_after_jpeg_in_one_folder(base: Built, tmp_path: Path) -> None:
    made(tmp_path, base.data, MOSAIC, output="{image: jpeg}")
    summary, _ = made(tmp_path, base.data, MOSAIC)
    assert summary.version == base.version
    assert verify(tmp_path / "out", pixels=True) == []


def test_jpeg_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    from toybox import put_hand

    for number in (1, 2):
        put_hand(tmp_path / "data", number, np.full((8, 8), 4000 * number, np.uint16), ["a"])
    with pytest.raises(TaskError, match=r"ID001/image0000000000001 \(encode\): jpeg cannot hold uint16.*image: png"):
        made(tmp_path, tmp_path / "data", classes="[a]", output="{image: jpeg}")


def test_a_damaged_shard_is_made_again(copy: Built) -> None:
    shard = copy.folder / read_manifest(copy.folder).shards[0].path
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert verify(copy.folder) != []
    summary = build(copy.recipe, copy.folder)
    assert summary.unchanged and summary.new_shards >= 1
    assert verify(copy.folder, pixels=True) == []


def test_a_build_that_fails_at_once_leaves_no_folder(base: Built, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        build(base.recipe, tmp_path / "out", overrides=[f"source.path={tmp_path / 'nowhere'}"])
    assert not (tmp_path / "out").exists()


def test_a_tilde_is_the_home_folder(base: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    build(base.recipe, "~/out")
    assert open_dataset("~/out").version == read_manifest(tmp_path / "out").version


def test_a_source_that_changes_during_the_build_is_refused(
    copy: Built, base: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels loaded after an edit must not be kept under the id of what was listed before it."""
    encode, image = Encoding.encode, next(copy.data.rglob("*.json"))
    text = image.read_text()

    def editing(self: Encoding, picture: np.ndarray) -> bytes:
        image.write_text(text + " ")
        return encode(self, picture)

    with monkeypatch.context() as patch:
        patch.setattr(Encoding, "encode", editing)
        with pytest.raises(SourceError, match="changed while the build ran"):
            build(copy.recipe, copy.folder, reuse=False)
    image.write_text(text)
    assert verify(copy.folder) == [] and same(copy.folder, base)
    assert build(copy.recipe, copy.folder, reuse=False).version == base.summary.version


def test_a_finished_dataset_is_never_swept_away(base: Built, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), writer_lock(tmp_path / "out"):
        shutil.copytree(base.folder / "shards", tmp_path / "out" / "shards")
        raise KeyboardInterrupt
    assert any((tmp_path / "out" / "shards").iterdir())

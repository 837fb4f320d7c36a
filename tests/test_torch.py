"""Datasets in a PyTorch loop: the same samples by any worker, in the order of `Dataset.order`."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

from toybox import made, put_hand, with_index  # noqa: E402

from augforge import bitmask  # noqa: E402
from augforge.errors import DatasetError, TrainError  # noqa: E402
from augforge.store.dataset import Dataset, open_dataset  # noqa: E402
from augforge.torch import OrderSampler, TorchDataset, collate, data_loader, unpack  # noqa: E402

START_METHODS = get_all_start_methods()
CLASSES = ("a", "ignore", "nowhere", "b")
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture(name="dataset", scope="module")
def dataset_fixture(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("torch")
    for number in range(1, 11):
        image = np.random.default_rng(number).integers(10 * number, 20 * number, (40, 48)).astype(np.uint8)
        put_hand(root / "data", number, image, CLASSES)
    _, dataset = made(root, root / "data", classes=f"[{', '.join(CLASSES)}]", split="{val: [ID002, ID005]}")
    assert dataset.index.height == len(dataset)  # Polars has its threads from here on
    return dataset.split("train")


# ---- items ----


def test_an_item_is_the_sample_as_tensors(dataset: Dataset) -> None:
    items = TorchDataset(dataset)
    assert len(items) == len(dataset) == 8
    for i, sample in enumerate(dataset):
        item = items[i]
        assert item.keys() == {"name", "image", "masks", "counted"} and item["name"] == sample.name
        np.testing.assert_array_equal(item["image"].numpy() * 255, sample.image[None])
        assert (item["image"].dtype, item["masks"].dtype, item["counted"].dtype) == (
            torch.float32,
            torch.bool,
            torch.bool,
        )
        a, ignore, nowhere, b = bitmask.to_masks(sample.masks, 4)
        np.testing.assert_array_equal(item["masks"], np.array([a, nowhere, b], bool))
        # The class that no file has is unknown: nobody says that it was looked for.
        np.testing.assert_array_equal(item["counted"], [ignore == 0, np.zeros_like(ignore), ignore == 0])
        assert a.any() and b.any() and ignore.any()
    with pytest.raises(IndexError):
        items[8]


def test_planes_are_unpacked_where_they_are_used(dataset: Dataset) -> None:
    channels, planes = TorchDataset(dataset)[1], TorchDataset(dataset, masks="planes", images="stored")[1]
    assert planes.keys() == {"name", "image", "planes", "known"}
    assert planes["planes"].shape == (1, *channels["masks"].shape[1:]) and planes["known"].tolist() == [
        True,
        True,
        False,
        True,
    ]
    assert planes["image"].dtype == torch.uint8
    batch = collate([planes, planes])
    masks, counted = unpack(batch["planes"], batch["known"], dataset.classes)
    assert torch.equal(masks, torch.stack([channels["masks"]] * 2))
    assert torch.equal(counted, torch.stack([channels["counted"]] * 2))


def test_classes_that_nobody_labelled_do_not_count(tmp_path: Path) -> None:
    image = np.zeros((20, 30), np.uint8)
    put_hand(tmp_path / "data", 1, image, ["a", "b"])
    unlabelled = put_hand(tmp_path / "data", 2, image + 9, ["a", "b"], labelled=False)
    _, dataset = made(tmp_path, tmp_path / "data", classes="[a, b]", split="{}")
    items = {item["name"]: item for item in map(TorchDataset(dataset).__getitem__, range(2))}
    assert items[unlabelled]["counted"].shape == (2, 1, 1) and not items.pop(unlabelled)["counted"].any()
    [labelled] = items.values()
    assert labelled["counted"].all()


def test_all_kinds_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = {1: ("uint8", ()), 2: ("uint16", (3,)), 3: ("uint16", ()), 4: ("uint8", (4,))}
    images: dict[str, Any] = {}
    for number, (dtype, channels) in kinds.items():
        image = rng.integers(0, np.iinfo(dtype).max, (20, 30, *channels), dtype, endpoint=True)
        images[put_hand(tmp_path / "data", number, image, ["a"])] = image
    _, dataset = made(tmp_path, tmp_path / "data", classes="[a]", split="{}")
    stored, three, one = (
        TorchDataset(dataset, images="stored"),
        TorchDataset(dataset, channels=3),
        TorchDataset(dataset, channels=1),
    )
    for i, sample in enumerate(dataset):
        image, largest = images[sample.name], float(np.iinfo(sample.image.dtype).max)
        layers = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
        np.testing.assert_array_equal(stored[i]["image"], layers)
        assert stored[i]["image"].numpy().dtype == image.dtype
        wanted = np.broadcast_to(layers[:3] / largest, (3, 20, 30))
        np.testing.assert_allclose(three[i]["image"], wanted, atol=1e-6)
        gray = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY)
        np.testing.assert_allclose(one[i]["image"], gray[None] / largest, atol=1e-6)
    assert next(iter(data_loader(three, 4)))["image"].shape == (4, 3, 20, 30)
    with pytest.raises(TrainError, match=r"images of \(1, 20, 30\) float32 and \(3, 20, 30\) .*output: {size: 512}"):
        next(iter(data_loader(dataset, 4)))


def test_labels(dataset: Dataset) -> None:
    label = pl.Series("label", [[0.25, 0.75], None, *[[1.0, 0.0]] * 6], dtype=pl.List(pl.Float32))
    labelled = with_index(dataset, dataset.index.with_columns(label), labels=["well", "sick"])
    batch = next(iter(data_loader(labelled, 3, shuffle=False)))
    np.testing.assert_array_equal(batch["label"], np.array([[0.25, 0.75], [np.nan, np.nan], [1, 0]], np.float32))


@pytest.mark.parametrize("wrong", [{"masks": "mask"}, {"images": "int"}, {"channels": 4}])
def test_unknown_forms_are_refused(wrong: Any, dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        TorchDataset(dataset, **wrong)


# ---- order ----


def test_the_sampler_gives_the_order_of_the_dataset(dataset: Dataset) -> None:
    sampler = OrderSampler(dataset, 5)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        assert list(sampler) == dataset.order(5, epoch).tolist() and len(sampler) == 8
    sampler.set_epoch(1, start=3)
    assert list(sampler) == dataset.order(5, 1, start=3).tolist() and len(sampler) == 5
    weights = np.arange(8)
    assert list(OrderSampler(dataset, 5, weights=weights)) == dataset.order(5, 0, weights=weights).tolist()
    assert list(OrderSampler(dataset, shuffle=False)) == list(range(8))


@pytest.mark.parametrize("world", [1, 2, 3, 5, 11])
def test_all_processes_read_as_many_samples_and_none_is_left_out(world: int, dataset: Dataset) -> None:
    for start in (0, 3):
        shares = []
        for rank in range(world):
            sampler = OrderSampler(dataset, 1, world=world, rank=rank)
            sampler.set_epoch(2, start)
            shares.append(list(sampler))
            assert len(sampler) == len(shares[-1])
        assert len({*map(len, shares)}) == 1
        wanted = dataset.order(1, 2, start=start).tolist()
        read = [i for step in zip(*shares, strict=True) for i in step]
        assert read[: len(wanted)] == wanted and len(read) < len(wanted) + world


def test_the_sampler_asks_torch_distributed(dataset: Dataset, tmp_path: Path) -> None:
    sampler = OrderSampler(dataset, 1)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert list(sampler) == dataset.order(1, 0).tolist()
    finally:
        torch.distributed.destroy_process_group()


# ---- loaders ----


def brighten(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "image": 1 - item["image"], "twice": torch.tensor(2)}


def epoch_of(loader: Any, epoch: int) -> list[Any]:
    loader.sampler.set_epoch(epoch)
    return [(batch["name"], batch["image"], batch["masks"], batch["twice"]) for batch in loader]


def assert_equal(one: list[Any], other: list[Any]) -> None:
    for left, right in zip(one, other, strict=True):
        assert left[0] == right[0]
        assert all(torch.equal(a, b) for a, b in zip(left[1:], right[1:], strict=True))


@pytest.mark.parametrize(
    "method", [method if method == "fork" else pytest.param(method, marks=pytest.mark.slow) for method in START_METHODS]
)
def test_workers_change_nothing(method: str, dataset: Dataset) -> None:
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)  # OpenCV has its threads from here on
    items = TorchDataset(dataset, transform=brighten)
    here = data_loader(items, 3, seed=4)
    there = data_loader(items, 3, seed=4, workers=1, multiprocessing_context=method, timeout=60)
    for epoch in (0, 1):
        found = epoch_of(there, epoch)
        assert_equal(found, epoch_of(here, epoch))
        assert [name for batch in found for name in batch[0]] == [dataset[int(i)].name for i in dataset.order(4, epoch)]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_sample_is_an_error(workers: int, dataset: Dataset, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(dataset.folder, tmp_path / "copy"))
    row = dataset.index.row(0, named=True)
    data = bytearray((folder / row["shard"]).read_bytes())
    data[row["masks_offset"] + 5] ^= 1
    (folder / row["shard"]).write_bytes(data)
    loader = data_loader(open_dataset(folder).split("train"), 2, workers=workers)
    with pytest.raises(DatasetError, match=rf"(?s)the stored bytes of sample '{row['name']}'.*augforge repair"):
        list(loader)


def test_a_worker_imports_little() -> None:
    code = "import sys, augforge.torch; print(*(name for name in sys.modules if name.split('.')[0] == 'augforge'))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert len(loaded) <= 40
    assert not {name.split(".")[1] for name in loaded if "." in name} & {"sources", "engine", "recipe", "report", "cli"}


def test_without_pytorch_the_extra_is_named() -> None:
    code = "import sys; sys.modules['torch'] = None\nimport augforge.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtra: augforge.torch needs PyTorch" in done.stderr
    assert "pip install 'augforge[train]'" in done.stderr

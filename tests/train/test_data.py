"""Training batches: the same samples, drawn alike, for any number of ranks, workers and interruptions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

from toybox import annotation, made, put_hand, tiny_hands  # noqa: E402

from augforge import bitmask  # noqa: E402
from augforge.errors import DatasetError, TrainError  # noqa: E402
from augforge.ops.sides import Sides  # noqa: E402
from augforge.store.dataset import Dataset  # noqa: E402
from augforge.train.config import DataConfig  # noqa: E402
from augforge.train.data.batch import Batch, images_to_device, targets_to_device  # noqa: E402
from augforge.train.data.inputspec import InputSpec  # noqa: E402
from augforge.train.data.loading import TrainingBatches  # noqa: E402
from augforge.train.data.trainingset import TrainingSet  # noqa: E402
from augforge.train.data.workers import default_workers  # noqa: E402

CLASSES = ("a", "b", "c", "ignore")
ONLINE = ({"op": "hflip", "p": 0.5}, {"op": "rotate"}, {"op": "mosaic", "p": 0.4})
SPEC = InputSpec((32, 32), 1)


def build(root: Path, data: Path, classes: tuple[str, ...] = CLASSES) -> Dataset:
    return made(root, data, split="{}", classes=f"[{', '.join(classes)}]")[1]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """11 noisy pictures of 48x40, each of another level."""
    root = tmp_path_factory.mktemp("data")
    for number in range(1, 12):
        image = np.random.default_rng(number).integers(10 * number, 20 * number + 9, (40, 48)).astype(np.uint8)
        put_hand(root / "hands", number, image, CLASSES)
    return build(root, root / "hands")


def batches(samples: Dataset | TrainingSet, spec: InputSpec = SPEC, **options: Any) -> TrainingBatches:
    """Batches of 4 without workers, unless told otherwise."""
    own = {key: options.pop(key) for key in ("seed", "world", "rank", "pin") if key in options}
    data = DataConfig(**{"batch_size": 4, "workers": 0, **options})
    found = TrainingSet([samples]) if isinstance(samples, Dataset) else samples
    return TrainingBatches(found, spec, data, own.pop("seed", 7), **own)


def epoch_of(stream: Iterator[Batch], epoch: int = 0) -> list[Batch]:
    """The batches until the epoch has ended."""
    found = []
    for batch in stream:
        found.append(batch)
        if batch.epoch != epoch:
            break
    return found


def names(found: list[Batch]) -> list[str]:
    return [name for batch in found for name in batch.names]


def content(batch: Batch) -> list[tuple[str, bytes]]:
    """Name and all bytes of each sample."""
    tensors = (batch.images, batch.shift_and_scale, batch.planes, batch.known, batch.labels)
    return [(name, b"".join(tensor[i].numpy().tobytes() for tensor in tensors)) for i, name in enumerate(batch.names)]


def contents(found: list[Batch]) -> list[tuple[str, bytes]]:
    return [sample for batch in found for sample in content(batch)]


# ---- which samples ---------------------------------------------------------------------------------------------------


def test_an_epoch_is_the_global_order_and_begins_again_to_fill_its_last_batch(dataset: Dataset) -> None:
    loader = batches(dataset)
    order = [dataset.index["name"][int(i)] for i in dataset.order(7, 0)]
    found = epoch_of(loader.stream())
    assert len(found) == loader.per_epoch == 3
    assert names(found) == order + order[:1]
    following = [dataset.index["name"][int(i)] for i in dataset.order(7, 1)]
    assert names(list(islice(loader.stream(), 6))) == order + order[:1] + following + following[:1]


def test_places_to_go_on_from(dataset: Dataset) -> None:
    places = [(batch.epoch, batch.samples) for batch in islice(batches(dataset).stream(), 7)]
    assert places == [(0, 4), (0, 8), (1, 0), (1, 4), (1, 8), (2, 0), (2, 4)]
    assert [(b.epoch, b.samples) for b in islice(batches(dataset, world=2).stream(), 3)] == [(0, 8), (1, 0), (1, 8)]


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_each_global_batch(dataset: Dataset, world: int) -> None:
    """One process with batches of 8 sees, step by step, what several with batches of 8 / world see together."""
    whole = epoch_of(batches(dataset, batch_size=8, online=ONLINE).stream())
    ranks = [batches(dataset, batch_size=8 // world, online=ONLINE, world=world, rank=rank) for rank in range(world)]
    parts = [epoch_of(rank.stream()) for rank in ranks]
    assert {len(part) for part in parts} == {rank.per_epoch for rank in ranks} == {len(whole)} == {2}
    for step, batch in enumerate(whole):
        assert sorted(content(batch)) == sorted(contents([part[step] for part in parts]))
        assert parts[1][step].names == batch.names[1::world]


@pytest.mark.parametrize("online", [(), ONLINE])
def test_going_on_in_mid_epoch(dataset: Dataset, online: tuple[dict[str, Any], ...]) -> None:
    loader = batches(dataset, online=online)
    through = contents(list(islice(loader.stream(), 7)))
    for done in range(1, 7):
        at = list(islice(loader.stream(), done))[-1]
        rest = islice(batches(dataset, online=online).stream(at.epoch, at.samples), 7 - done)
        assert contents(list(rest)) == through[4 * done :]


def test_going_on_with_more_ranks(dataset: Dataset) -> None:
    """4 samples by one process, the rest of the epoch by two: every sample is still read."""
    first = next(batches(dataset).stream())
    ranks = [epoch_of(batches(dataset, world=2, rank=rank).stream(0, first.samples)) for rank in (0, 1)]
    assert [len(part) for part in ranks] == [1, 1]
    later = [name for pair in zip(names(ranks[0]), names(ranks[1]), strict=True) for name in pair]
    order = [dataset.index["name"][int(i)] for i in dataset.order(7, 0)]
    assert [*first.names, *later] == order + order[:1]


def test_a_finished_epoch_goes_on_with_the_next(dataset: Dataset) -> None:
    assert contents([next(batches(dataset).stream(0, 11))]) == contents([next(batches(dataset).stream(1))])


def test_fewer_samples_than_a_batch(dataset: Dataset) -> None:
    few = TrainingSet([dataset.where(pl.col("name").is_in(dataset.index["name"].to_list()[:3]))])
    loader = batches(few, batch_size=8, online=({"op": "rotate"},))
    found = epoch_of(loader.stream())
    assert (len(found), loader.per_epoch) == (1, 1)
    order = names(found)[:3]
    assert names(found) == [*order, *order, *order[:2]]
    assert len({data for _, data in contents(found)}) == 8  # each time drawn anew


def test_epochs_and_seeds_draw_anew(dataset: Dataset) -> None:
    online = ({"op": "rotate"},)
    first = dict(contents(epoch_of(batches(dataset, online=online).stream())))
    second = dict(contents(epoch_of(batches(dataset, online=online).stream(1), 1)))
    third = dict(contents(epoch_of(batches(dataset, online=online, seed=8).stream())))
    for name, data in first.items():
        assert len({data, second[name], third[name]}) == 3


def test_rare_classes_come_more_often(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "hands", range(10, 110, 10), ("a", "b"))
    for number in range(1, 10):  # class b is left in one picture of ten
        path = next((annotation(tmp_path / "hands", f"ID{number:03d}/x").parent).iterdir())
        path.write_text(path.read_text().replace('"label": "b"', '"label": "a"'))
    dataset = build(tmp_path, tmp_path / "hands", ("a", "b"))
    assert TrainingSet([dataset]).present.sum(axis=0).tolist() == [10, 1]
    stream = batches(dataset, sampling="class").stream()
    seen = [name.startswith("ID010") for batch in islice(stream, 250) for name in batch.names]
    assert 0.45 < np.mean(seen) < 0.6  # 10 of 19
    epoch = names(epoch_of(batches(dataset, sampling="class").stream()))
    order = dataset.order(7, 0, weights=TrainingSet([dataset]).rarity_weights())
    assert epoch[:10] == [dataset.index["name"][int(i)] for i in order]


# ---- what is in them -------------------------------------------------------------------------------------------------


def test_without_augmentation_batches_hold_the_fitted_samples(dataset: Dataset) -> None:
    by_name = {sample.name: SPEC.fit(sample) for sample in dataset}
    for batch in epoch_of(batches(dataset).stream()):
        images, (target, counted) = images_to_device(batch, "cpu"), targets_to_device(batch, CLASSES, "cpu")
        for i, name in enumerate(batch.names):
            fitted = by_name[name]
            torch.testing.assert_close(images[i], SPEC.pixels(fitted.image), rtol=0, atol=0)
            masks = np.array(list(bitmask.to_masks(fitted.masks, 4)))
            np.testing.assert_array_equal(target[i], masks[:3])
            # The third class is drawn in no file, so it is unknown, and does not count.
            np.testing.assert_array_equal(counted[i], [masks[3] == 0, masks[3] == 0, np.zeros((32, 32))])


def test_other_sizes_of_online_steps_are_fitted_again(dataset: Dataset) -> None:
    spec = InputSpec((64, 32), 1)
    for step in ({"op": "transpose90"}, {"op": "rotate", "fit": "expand"}, {"op": "crop_nonempty", "size": 16}):
        batch = next(batches(dataset, spec, online=(step,)).stream())
        assert batch.images.shape == (4, 1, 32, 64)
        assert batch.planes.shape == (4, 1, 32, 64)


def test_random_windows(dataset: Dataset) -> None:
    spec = InputSpec((64, 64), 1)
    fitted = {sample.name: spec.fit(sample) for sample in dataset}
    places = set()
    for batch in islice(batches(dataset, spec, crop=32).stream(), 12):
        for i, name in enumerate(batch.names):
            whole = fitted[name]
            x, y = place(whole.image, batch.images[i, 0].numpy())
            masks = list(bitmask.to_masks(whole.masks[y : y + 32, x : x + 32], 4))
            np.testing.assert_array_equal(bitmask.class_layers(batch.planes[i], range(4)), np.array(masks, bool))
            np.testing.assert_array_equal(batch.shift_and_scale[i], spec.shift_and_scale(whole.image))
            places.add((x, y))
    assert len(places) > 20


def place(whole: np.ndarray, window: np.ndarray) -> tuple[int, int]:
    """Where a window lies in a picture."""
    height, width = window.shape
    views = np.lib.stride_tricks.sliding_window_view(whole, (height, width))
    [(y, x)] = np.argwhere((views == window).all(axis=(2, 3)))[:1]
    return int(x), int(y)


def test_all_kinds_of_images_go_together(tmp_path: Path) -> None:
    """Gray and colour, with and without transparency, 8 and 16 bits, mixed in mosaics too."""
    rng = np.random.default_rng(0)
    kinds = [((32, 32), "uint8"), ((32, 32, 3), "uint8"), ((32, 32, 4), "uint16"), ((32, 32), "uint16")]
    gray, pictures = rng.integers(0, 256, (32, 32)), {}
    for number, (shape, dtype) in enumerate(kinds, start=1):
        scale = 257 if dtype == "uint16" else 1
        picture = np.broadcast_to(gray if len(shape) == 2 else gray[..., None], shape) * scale
        pictures[put_hand(tmp_path / "hands", number, picture.astype(dtype), ["a"])] = picture
    dataset = build(tmp_path, tmp_path / "hands", ("a",))
    samples = TrainingSet([dataset])
    assert (samples.has_colour, samples.has_uint16) == (True, True)
    for channels in (1, 3):
        batch = next(batches(samples, InputSpec((32, 32), channels)).stream())
        assert (batch.images.dtype, batch.images.shape) == (torch.uint16, (4, channels, 32, 32))
        for picture in batch.images.numpy():
            np.testing.assert_array_equal(picture, np.broadcast_to(gray * 257, (channels, 32, 32)))
        mixed = next(batches(samples, InputSpec((32, 32), channels), online=({"op": "mosaic"},)).stream())
        assert mixed.images.shape == (4, channels, 32, 32)


def test_gray_travels_as_one_channel(dataset: Dataset) -> None:
    batch = next(batches(dataset, InputSpec((32, 32), 3, "encoder", (0.1, 0.2, 0.3), (1, 2, 3))).stream())
    assert (batch.images.shape, batch.images.dtype) == ((4, 1, 32, 32), torch.uint8)
    images = images_to_device(batch, "cpu", 3)
    values = batch.images[:, 0].float() / 255
    wanted = [(values - m) / s for m, s in zip((0.1, 0.2, 0.3), (1, 2, 3), strict=True)]
    torch.testing.assert_close(images, torch.stack(wanted, 1))


def test_labels_and_their_lack() -> None:
    class Labelled(TrainingSet):
        def __init__(self) -> None:
            from conftest import make_sample

            self.classes, self.labels, self.sides = tuple("abcdefghi"), ("well", "sick"), Sides()
            given = ([0.25, 0.75], None)
            self._samples = [replace_label(make_sample(seed=i), label) for i, label in enumerate(given)]

        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int) -> Any:
            return self._samples[i]

        def column(self, name: str) -> list[Any]:
            columns: dict[str, list[Any]] = {"channels": [1, 1], "dtype": ["uint8", "uint8"]}
            return columns[name]

    batch = next(batches(Labelled(), batch_size=2).stream())
    rows = dict(zip(batch.names, batch.labels.tolist(), strict=True))
    assert rows["sample-0"] == [0.25, 0.75]
    assert np.isnan(rows["sample-1"]).all()


def replace_label(sample: Any, label: list[float] | None) -> Any:
    from dataclasses import replace

    return replace(sample, label=None if label is None else np.array(label, np.float32))


# ---- workers ---------------------------------------------------------------------------------------------------------


def test_workers_change_nothing_and_global_chance_is_left_alone(dataset: Dataset) -> None:
    wanted = contents(list(islice(batches(dataset, online=ONLINE, crop=32).stream(), 5)))
    state = torch.get_rng_state()
    stream = batches(dataset, online=ONLINE, crop=32, workers=2).stream()
    assert contents(list(islice(stream, 5))) == wanted
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_sample_is_told_without_a_trace(workers: int, tmp_path: Path) -> None:
    tiny_hands(tmp_path / "hands", [10, 20], ("a",))
    dataset = build(tmp_path, tmp_path / "hands", ("a",))
    for shard in (tmp_path / "out/shards").iterdir():
        shard.write_bytes(shard.read_bytes().replace(b"IDAT", b"IDAX"))
    with pytest.raises(DatasetError, match=r"is damaged: the stored bytes of sample 'ID00") as caught:
        next(batches(dataset, workers=workers).stream())
    assert "Traceback" not in str(caught.value)


class Deadly(TrainingSet):
    """Ends whoever reads it."""

    def __getitem__(self, i: int) -> Any:
        os._exit(3)


@pytest.mark.slow
def test_a_worker_that_dies(dataset: Dataset) -> None:
    with pytest.raises(TrainError, match=r"a loading process was ended from outside.*fewer data\.workers"):
        next(batches(Deadly([dataset]), workers=1).stream())


def test_default_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, world, wanted in ((1, 1, 1), (2, 1, 1), (16, 1, 15), (64, 1, 16), (64, 8, 7), (None, 1, 1)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert default_workers(world) == wanted

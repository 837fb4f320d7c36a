"""The trainer's loader against bare decoding and a usual loader: same images, same augmentation.

    python benchmarks/loader.py                              # 512 and 2048 pixels; some minutes; prints Markdown
    python benchmarks/loader.py --sizes 512 --seconds 3      # a quick look

Contestants read the same generated radiographs with 29 classes, scaled to the network's input, mirrored and turned:

- PNG decode: the same encoded bytes through cv2.imdecode alone, the lower limit for any loader of PNG images;
- augforge: `TrainingBatches`, the batches that the trainer gets, then unpacked into target layers;
- usual: a torch Dataset that reads the image and one PNG per class with cv2, albumentations, the same DataLoader.

Each is timed in this process alone (CPU milliseconds per sample, which other load on the machine hardly changes), in
turn, and the best round counts; then with workers (samples per second of wall time). Finally, whether loading starves
the training step: samples per second of the workers over those of a training step of Unet++ on this machine, and the
share of its time that a training waits for batches while the workers and the steps share the cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

import augforge
from augforge import bitmask
from augforge.phantom import write_phantom
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import ModelConfig, TrainConfig
from augforge.train.data.batch import images_to_device, targets_to_device
from augforge.train.data.loading import TrainingBatches
from augforge.train.data.trainingset import TrainingSet
from augforge.train.data.workers import default_workers
from augforge.train.net.model import build_model
from augforge.train.rundata import choose_input_spec

TURN = 15.0  # degrees at most
ONLINE = ({"op": "hflip", "p": 0.5}, {"op": "rotate", "angle_range": [-TURN, TURN]})


def build(root: Path, size: int, persons: int) -> Dataset:
    write_phantom(root / "data", persons=persons, size=size, seed=7)
    (root / "recipe.yaml").write_text(
        "name: bench\nsource: {format: hand-bone, path: data, classes: hand-bone}\nsteps: []\n", encoding="utf-8"
    )
    augforge.build(root / "recipe.yaml", root / "shards")
    return open_dataset(root / "shards").split("train")


def write_pngs(dataset: Dataset, folder: Path) -> list[Path]:
    """Write one folder per sample: the image, and one PNG per class."""
    for i, sample in enumerate(dataset):
        (folder / str(i)).mkdir(parents=True)
        cv2.imwrite(str(folder / str(i) / "image.png"), sample.image)
        for name, mask in zip(dataset.classes, bitmask.to_masks(sample.masks, len(dataset.classes)), strict=True):
            cv2.imwrite(str(folder / str(i) / f"{name}.png"), mask * 255)
    return [folder / str(i) for i in range(len(dataset))]


class UsualDataset(torch.utils.data.Dataset[Any]):
    """What people usually write: one PNG per class, and albumentations."""

    def __init__(self, folders: list[Path], classes: tuple[str, ...], size: tuple[int, int]) -> None:
        self.folders, self.classes = folders, classes
        self.transform = albumentations.Compose(
            [
                albumentations.Resize(size[1], size[0], interpolation=cv2.INTER_AREA),
                albumentations.HorizontalFlip(p=0.5),
                albumentations.Rotate((-TURN, TURN), border_mode=cv2.BORDER_CONSTANT, p=1),
            ]
        )

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = cv2.imread(str(self.folders[i] / "image.png"), cv2.IMREAD_GRAYSCALE)
        masks = [cv2.imread(str(self.folders[i] / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for name in self.classes]
        made = self.transform(image=image, masks=masks)
        pixels = made["image"].astype(np.float32)
        pixels = (pixels - pixels.mean()) / (pixels.std() + 1e-6)
        return torch.from_numpy(pixels[None]), torch.from_numpy((np.stack(made["masks"]) > 127).astype(np.float32))


def one_thread(worker: int) -> None:
    cv2.setNumThreads(1)


# ---- contestants: endless iterators that give the number of samples just loaded ----------------------------------


def decode_pngs(dataset: Dataset) -> Iterator[int]:
    while True:
        for i in range(len(dataset)):
            cv2.imdecode(np.frombuffer(dataset.payload(i)[0], np.uint8), cv2.IMREAD_UNCHANGED)
            yield 1


def load_by_augforge(dataset: Dataset, config: TrainConfig, workers: int, unpack: bool) -> Iterator[int]:
    samples = TrainingSet([dataset])
    data = config.data.model_copy(update={"workers": workers})
    for batch in TrainingBatches(samples, choose_input_spec(config, samples, "cpu"), data, 0).stream():
        if unpack:
            images_to_device(batch, "cpu")
            targets_to_device(batch, dataset.classes, "cpu")
        yield len(batch)


def usual(folders: list[Path], dataset: Dataset, config: TrainConfig, workers: int) -> Iterator[int]:
    size = choose_input_spec(config, TrainingSet([dataset]), "cpu").size
    loader = DataLoader(
        UsualDataset(folders, dataset.classes, size),
        batch_size=config.data.batch_size,
        shuffle=True,
        num_workers=workers,
        worker_init_fn=one_thread,
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=workers > 0,
    )
    while True:
        for images, _ in loader:
            yield len(images)


def cpu_ms(turns: Iterator[int], seconds: float) -> float:
    """CPU milliseconds per sample, after a first turn."""
    next(turns)
    start, samples = time.process_time(), 0
    while time.process_time() - start < seconds:
        samples += next(turns)
    return (time.process_time() - start) / samples * 1000


def per_second(turns: Iterator[int], seconds: float, ahead: int) -> float:
    """Samples per second of wall time, after the turns that were loaded ahead."""
    for _ in islice(turns, ahead):
        pass
    start, samples = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        samples += next(turns)
    return samples / (time.perf_counter() - start)


def training_steps(config: TrainConfig, size: tuple[int, int], classes: int, threads: int) -> Iterator[int]:
    """Forward and backward passes of Unet++ with resnet34, fp32."""
    torch.set_num_threads(threads)
    model = build_model(ModelConfig(), 1, classes).to(memory_format=torch.channels_last)
    images = torch.randn(config.data.batch_size, 1, size[1], size[0])
    while True:
        model(images).square().mean().backward()
        yield len(images)


def waiting_share(batches: Iterator[int], steps: Iterator[int], seconds: float) -> float:
    """Share of a training's time that it waits for its next batch, in percent; the first batch does not count."""
    next(batches), next(steps)
    start, waited = time.perf_counter(), 0.0
    while time.perf_counter() - start < seconds:
        asked = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - asked
        next(steps)
    return 100 * waited / (time.perf_counter() - start)


def compare(size: int, options: argparse.Namespace) -> str:
    config = TrainConfig.model_validate(
        {"data": {"batch_size": options.batch, "size": options.input, "online": list(ONLINE)}}
    )
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        dataset = build(Path(work), size, max(2, options.pixels // size**2))
        folders = write_pngs(dataset, Path(work) / "pngs")
        alone: dict[str, Callable[[], Iterator[int]]] = {
            "PNG decode": lambda: decode_pngs(dataset),
            "augforge": lambda: load_by_augforge(dataset, config, 0, True),
            "usual": lambda: usual(folders, dataset, config, 0),
        }
        best = dict.fromkeys(alone, float("inf"))
        for _ in range(options.rounds):
            for name, begin in alone.items():
                best[name] = min(best[name], cpu_ms(begin(), options.seconds))
        workers = options.workers
        ours = per_second(load_by_augforge(dataset, config, workers, False), options.seconds, 3 * workers)
        theirs = per_second(usual(folders, dataset, config, workers), options.seconds, 3 * workers)
        steps = training_steps(config, (options.input, options.input), len(dataset.classes), options.threads)
        rate = per_second(steps, options.seconds, 1)
        waits = [
            waiting_share(batches, steps, 2 * options.seconds)
            for batches in (
                load_by_augforge(dataset, config, workers, False),
                usual(folders, dataset, config, workers),
            )
        ]
    bare = best["PNG decode"]
    cells = [
        str(size),
        f"{bare:.1f}",
        *(f"{best[name]:.1f} ({best[name] / bare:.2f}x)" for name in ("augforge", "usual")),
        *(f"{value:.1f}" for value in (ours, theirs, rate, ours / rate)),
        *(f"{share:.0f} %" for share in waits),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048], help="pixels per side as stored")
    parser.add_argument("--input", type=int, default=128, help="the network's input, pixels per side")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pixels", type=int, default=24 << 20, help="of all images of a size, about half of them")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the training step")
    parser.add_argument("--work", help="folder for the data; default: the system's")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rows = [compare(size, options) for size in options.sizes]
    cores = f"{os.cpu_count()} cores, {platform.machine()}; torch {torch.__version__}, OpenCV {cv2.__version__}"
    print(f"{cores}; input {options.input}x{options.input}, batch {options.batch}, workers {options.workers}.\n")
    print(
        "| stored | PNG decode, ms | augforge, ms | usual, ms | augforge, samples/s | usual, samples/s "
        "| step, samples/s | loader / step | augforge, waiting | usual, waiting |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()

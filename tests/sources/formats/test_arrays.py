"""The adapters of array files: MNIST's idx and CIFAR's pickles, and what hostile ones may not do."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import makedata
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makearrays import put_idx, put_pickle
from makedata import broken, label_of, rejected

from augforge.errors import SourceError
from augforge.sources.formats.arrays.pickled import read_pickle

MNIST, CIFAR = "mnist-idx", "cifar"
scan, load = makedata.scan, makedata.load
RNG = np.random.default_rng(7)
DIGITS = RNG.integers(0, 256, (5, 12, 9), np.uint8)
ROWS = RNG.integers(0, 256, (4, 3072), np.uint8)


# ---- MNIST -----------------------------------------------------------------------------------------------------------


def put_mnist(root: Path, end: str = "", labels: tuple[int, ...] = (3, 0, 2, 1, 0)) -> Path:
    for name, count in (("train", 5), ("t10k", 2)):
        put_idx(root / f"{name}-images-idx3-ubyte{end}", DIGITS[:count])
        put_idx(root / f"{name}-labels-idx1-ubyte{end}", np.array(labels[:count], np.uint8))
    return root


@pytest.mark.parametrize("end", ["", ".gz"])
def test_images_and_labels_of_idx_files(tmp_path: Path, end: str) -> None:
    listing = scan(MNIST, put_mnist(tmp_path, end))
    assert (listing.classes, listing.labels) == (("ignore",), ("0", "1", "2", "3"))
    assert [(r.name, r.split, r.group) for r in listing.records][:3] == [
        ("t10k/000000", "test", "t10k/000000"),
        ("t10k/000001", "test", "t10k/000001"),
        ("train/000000", None, "train/000000"),
    ]
    samples = load(MNIST, tmp_path)
    for number, digit in enumerate(DIGITS):
        np.testing.assert_array_equal(samples[f"train/{number:06d}"].image, digit)
    assert label_of(samples["train/000000"]) == [0, 0, 0, 1]
    assert not samples["train/000000"].known.any() and not (listing.warnings or listing.findings)


def test_files_in_folders_of_their_own_names(tmp_path: Path) -> None:
    """As Kaggle unpacks MNIST: each file in a folder of its name, and once more beside them, named with dots."""
    for name, values in (("images-idx3", DIGITS), ("labels-idx1", np.array([3, 0, 2, 1, 0], np.uint8))):
        put_idx(tmp_path / f"train-{name}-ubyte/train-{name}-ubyte", values)
    (once, names) = (load(MNIST, tmp_path), [f"train/{number:06d}" for number in range(5)])
    assert [*once] == names and label_of(once["train/000002"]) == [0, 0, 1, 0]
    np.testing.assert_array_equal(once["train/000003"].image, DIGITS[3])
    for name, values in (("images.idx3", DIGITS), ("labels.idx1", np.array([3, 0, 2, 1, 0], np.uint8))):
        put_idx(tmp_path / f"train-{name}-ubyte", values)
    assert [*load(MNIST, tmp_path)] == names


def test_equal_images_and_labels_have_one_content_each(tmp_path: Path) -> None:
    found = {record.name: record.content for record in scan(MNIST, put_mnist(tmp_path)).records}
    assert found["t10k/000000"] == found["train/000000"]
    assert len({*found.values()}) == 5


def test_names_of_labels(tmp_path: Path) -> None:
    names = ["shirt", "trousers", "dress", "coat"]
    assert scan(MNIST, put_mnist(tmp_path), names=names).labels == tuple(names)
    broken(MNIST, tmp_path, "image 'train/000000'", "label 3 has no name; expected 0 to 2", names=names[:3])
    assert rejected(MNIST, tmp_path, names=names[:3]) == [
        ("t10k/000000", "unknown label"),
        ("train/000000", "unknown label"),
    ]
    listing = scan(MNIST, tmp_path, names=names, class_map={"shirt": "top", "coat": "top", "dress": None})
    assert listing.labels == ("top", "trousers")
    assert [(row.name, row.reason) for row in listing.refused] == [("train/000002", "class left out")]


def test_emnist_is_transposed(tmp_path: Path) -> None:
    put_idx(tmp_path / "emnist-letters-train-images-idx3-ubyte", DIGITS)
    put_idx(tmp_path / "emnist-letters-train-labels-idx1-ubyte", np.ones(5, np.uint8))
    (found,) = scan(MNIST, tmp_path).findings
    assert "transposed: true" in found.remedy
    assert not scan(MNIST, tmp_path, transposed=True).findings
    image = load(MNIST, tmp_path, transposed=True)["emnist-letters-train/000001"].image
    np.testing.assert_array_equal(image, DIGITS[1].T)


def test_files_both_compressed_and_not_are_read_once(tmp_path: Path) -> None:
    put_mnist(put_mnist(tmp_path), ".gz")
    assert len(scan(MNIST, tmp_path).records) == 7


@pytest.mark.parametrize(
    ("file", "data", "part"),
    [
        ("train-images-idx3-ubyte", b"", "is empty"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0\0\1\0\0\0\2\0\0\0\2abc", "1x2x2 bytes, and 19 bytes are there"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\x03" + bytes(12), "begins with 00000d03"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\xff" * 12, "is no whole idx file"),
        ("train-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\1a", "has 5 images, train-labels-idx1-ubyte 1 labels"),
        ("train-labels-idx1-ubyte", b"\x1f\x8bxx", "no whole gzip file"),
        ("train-labels-idx1-ubyte", None, "is missing; expected the labels"),
        ("t10k-images-idx3-ubyte", None, "t10k-labels-idx1-ubyte has no file of images beside it"),
    ],
)
def test_broken_idx_files(tmp_path: Path, file: str, data: bytes | None, part: str) -> None:
    path = put_mnist(tmp_path) / file
    path.unlink() if data is None else path.write_bytes(data)
    broken(MNIST, tmp_path, part)


def test_no_array_file_at_all(tmp_path: Path) -> None:
    for kind, part in ((MNIST, "images-idx3-ubyte"), (CIFAR, "no batch of CIFAR")):
        broken(kind, tmp_path, part)


# ---- CIFAR -----------------------------------------------------------------------------------------------------------


def put_cifar(root: Path, protocol: int = 2) -> Path:
    batch: dict[bytes, Any] = {b"batch_label": b"one", b"labels": [1, 0, 1, 0], b"data": ROWS, b"filenames": [b"a"] * 4}
    put_pickle(root / "data_batch_1", batch, protocol)
    put_pickle(root / "test_batch", {**batch, b"labels": [0], b"data": ROWS[:1]}, protocol)
    put_pickle(root / "batches.meta", {b"label_names": [b"cat", b"dog"], b"num_vis": 3072}, protocol)
    return root


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_batches_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    listing = scan(CIFAR, put_cifar(tmp_path, protocol))
    assert (listing.classes, listing.labels) == (("ignore",), ("cat", "dog"))
    assert {r.name: r.split for r in listing.records}["test_batch/000000"] == "test"
    samples = load(CIFAR, tmp_path)
    sample = samples["data_batch_1/000002"]
    for channel in range(3):
        plane = ROWS[2, 1024 * channel : 1024 * (channel + 1)].reshape(32, 32)
        np.testing.assert_array_equal(sample.image[..., channel], plane)
    assert label_of(sample) == [0, 1] and len(samples) == 5


def test_the_labels_of_cifar_100(tmp_path: Path) -> None:
    labels = {"fine_labels": [3, 1, 2, 0], "coarse_labels": [1, 0, 0, 1]}
    put_pickle(tmp_path / "train", {"data": ROWS, **labels})
    names = {"fine_label_names": [*"abcd"], "coarse_label_names": ["x", "y"]}
    assert scan(CIFAR, tmp_path).labels == ("0", "1", "2", "3")
    put_pickle(tmp_path / "meta", names)
    assert scan(CIFAR, tmp_path).labels == ("a", "b", "c", "d")
    assert label_of(load(CIFAR, tmp_path, labels="coarse")["train/000000"]) == [0, 1]


class Hostile:
    """What a pickle does when it is unpickled: here, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    trap = tmp_path / "trap"
    put_pickle(tmp_path / "data/data_batch_1", {"data": Hostile(trap), "labels": [0]}, protocol)
    broken(CIFAR, tmp_path / "data", "it calls", "mkdir")
    assert not trap.exists()
    pickle.loads((tmp_path / "data/data_batch_1").read_bytes())
    assert trap.exists()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([1, 2], "holds no dict"),
        ({"labels": [0]}, "no images of 32x32"),
        ({"data": ROWS[:, :99], "labels": [0] * 4}, "no images of 32x32"),
        ({"data": ROWS.astype(np.int32), "labels": [0] * 4}, "not of bytes"),
        ({"data": ROWS, "labels": [0] * 3}, "no label for each of 4 images"),
        ({"data": ROWS, "labels": ["a"] * 4}, "no label for each of 4 images"),
        ({"data": ROWS}, "no label for each of 4 images"),
    ],
)
def test_broken_batches(tmp_path: Path, content: Any, part: str) -> None:
    path = put_pickle(put_cifar(tmp_path) / "data_batch_1", content)
    broken(CIFAR, tmp_path, str(path), part)
    assert rejected(CIFAR, tmp_path) == [("data_batch_1", "broken image")]


def test_an_escape_that_python_does_not_know_is_no_warning(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(b"(dS'\\c'\nI1\ns.")
    assert read_pickle(tmp_path / "batch") == {"\\c": 1}


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_changed_pickle_crashes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({b"data": ROWS[:1, :40], b"labels": [1, 2]}, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(whole)
    try:
        read_pickle(path)
    except SourceError as error:
        assert str(path) in str(error)

"""near_duplicates: twins by perceptual hash, which one stays, and twins in different splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from judging import candidate, expose, hands

from augforge.errors import PlanError
from augforge.ops import OPS, Context, Flag
from augforge.ops.core import Candidate
from augforge.ops.filters import duplicates as module
from augforge.ops.filters.duplicates import BITS, near_pairs, perceptual_hash

CTX = Context(("a",))
BLANK = bytes(BITS // 8)


def make_candidate(name: str, flipped: Sequence[int] = (), **fields: Any) -> Candidate:
    """A candidate whose hash has these bits set; its mirror image has all the others."""
    bits = np.zeros(BITS, bool)
    bits[list(flipped)] = True
    features = {"hash": np.packbits(bits).tobytes().hex(), "mirror": np.packbits(~bits).tobytes().hex()}
    given = {"id": name, "group": name, "split": "train", "width": 9, "height": 9, "metadata": {}, "tags": (), **fields}
    return Candidate(name=name, features=features, **given)


def find(rows: Sequence[Candidate], **params: Any) -> dict[str, Flag]:
    flags = OPS["near_duplicates"].decide(rows, OPS["near_duplicates"].params(**params), CTX)
    return {row.name: flag for row, flag in zip(rows, flags, strict=True) if flag is not None}


def distance(one: np.ndarray, other: np.ndarray, key: str = "hash") -> int:
    numbers = int(perceptual_hash(one)["hash"], 16), int(perceptual_hash(other)[key], 16)
    return (numbers[0] ^ numbers[1]).bit_count()


# The hash


def jpeg(image: np.ndarray) -> np.ndarray:
    decoded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return decoded


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 8),
        (lambda image: cv2.resize(image, None, fx=1.6, fy=1.6), 8),
        (lambda image: (image * 0.8 + 20).astype(np.uint8), 8),
        (lambda image: image.astype(np.uint16) * 257, 4),
        (lambda image: np.repeat(image[..., None], 3, axis=2), 2),
        (jpeg, 12),
    ],
    ids=["half", "larger", "contrast", "16 bits", "colour", "jpeg"],
)
def test_hash_survives_harmless_changes(change: Callable[[np.ndarray], np.ndarray], most: int) -> None:
    assert max(distance(hand.image, change(hand.image)) for hand in hands()[::4]) <= most


def test_hash_survives_mild_exposure() -> None:
    assert max(distance(hand.image, expose(hand, 0.75).image) for hand in hands()[::4]) <= 20


def test_different_hands_are_apart() -> None:
    images = [hand.image for hand in hands()]
    least = min(distance(images[i], images[j]) for i in range(0, len(images), 2) for j in range(i))
    assert least > 20


def test_mirror_hash_is_the_hash_of_the_mirror_image() -> None:
    for hand in hands()[:6]:
        assert distance(np.ascontiguousarray(hand.image[:, ::-1]), hand.image, "mirror") <= 3
        assert distance(hand.image, hand.image, "mirror") > 20


def test_blank_pictures_are_duplicates() -> None:
    hashes = [perceptual_hash(np.full((50, 70), value, np.uint8)) for value in (0, 17, 255)]
    assert hashes == [{"hash": BLANK.hex(), "mirror": BLANK.hex()}] * 3


def test_pairs_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    base = rng.random((6, BITS)) < 0.5
    bits = base[rng.integers(6, size=90)] ^ (rng.random((90, BITS)) < 0.04)
    words = np.packbits(bits, axis=1).view(np.uint64)
    apart = (bits[:, None] != bits).sum(axis=2)
    expected = [(i, j, int(apart[i, j])) for i in range(90) for j in range(i + 1, 90) if apart[i, j] <= 18]
    assert 20 < len(expected) < 2000
    for block in (1, 700, 1 << 20):
        monkeypatch.setattr(module, "BLOCK", block)
        assert sorted(near_pairs(words, words, 18)) == expected


# Which one stays


def test_the_first_name_stays_whatever_the_order() -> None:
    rows = [make_candidate("b"), make_candidate("a", [3]), make_candidate("z", range(100)), make_candidate("c", [3, 4])]
    expected = {"b": "a, 1 bits apart", "c": "a, 1 bits apart"}
    for order in (rows, rows[::-1]):
        assert {name: flag.detail for name, flag in find(order).items()} == expected
    flag = find(rows)["b"]
    assert flag == Flag("near-duplicate", flag.score, None, "a, 1 bits apart")
    assert flag.score == pytest.approx(1 - 1 / BITS, abs=1e-4)


def test_each_flagged_one_has_a_twin_that_stays() -> None:
    """a is near b and b near c, but a not near c: only b goes."""
    chain = [make_candidate("a"), make_candidate("b", range(20)), make_candidate("c", range(40))]
    assert [*find(chain)] == ["b"]
    assert [*find([*chain, make_candidate("unlike", range(100, 200))])] == ["b"]


def test_distance_is_inclusive() -> None:
    rows = [make_candidate("a"), make_candidate("b", range(20))]
    assert [*find(rows, distance=20)] == ["b"] and find(rows, distance=19) == {}


def test_within_a_group_only() -> None:
    rows = [make_candidate("a", group="P1"), make_candidate("b", group="P2"), make_candidate("c", group="P2")]
    assert [*find(rows, within="group")] == ["c"]
    assert [*find(rows)] == ["b", "c"]


def test_mirror_images_on_demand() -> None:
    rows = [make_candidate("a", range(5)), make_candidate("b", range(5, BITS))]
    assert find(rows) == {} and [*find(rows, mirrored=True)] == ["b"]
    hand = hands()[0]
    image = np.ascontiguousarray(hand.image[:, ::-1])
    pair = [candidate("near_duplicates", sample) for sample in (hand, replace(hand, name="mirror", image=image))]
    assert find(pair) == {} and [*find(pair, mirrored=True)] == ["mirror"]


# Twins in different splits


SPLITS = [
    make_candidate("a", group="P1"),
    make_candidate("b", [1], group="P2", split="val"),
    make_candidate("c", range(90, 200), group="P2", split="val"),
    make_candidate("d", range(60), group="P3", split="val"),
    make_candidate("e", [1, 2], group="P4"),
]


def test_across_splits_is_an_error_that_names_both() -> None:
    with pytest.raises(PlanError, match=r"'a' \(train\) and 'b' \(val\).*across_splits: move"):
        find(SPLITS)


def test_across_splits_can_be_ignored() -> None:
    assert [*find(SPLITS, across_splits="ignore")] == ["e"]


def test_twins_move_to_train_with_their_groups() -> None:
    flags = find(SPLITS, across_splits="move")
    assert {name: flag.move_to for name, flag in flags.items()} == {"a": None, "b": "train", "c": "train", "e": None}
    assert flags["b"].detail.startswith("a, ") and flags["c"].detail == "group P2"
    assert flags == find(SPLITS[::-1], across_splits="move")


def test_after_a_move_nothing_is_left_across() -> None:
    """Groups tie samples together: whatever moves, neither twins nor groups lie in two splits."""
    rng = np.random.default_rng(4)
    looks, splits = (
        rng.integers(25, size=60),
        dict(zip(range(30), rng.choice(["train", "val", "test"], 30), strict=True)),
    )
    rows = []
    for i, look in enumerate(looks):
        group = int(rng.integers(30))
        seen = np.flatnonzero(np.random.default_rng(int(look)).random(BITS) < 0.5).tolist()
        rows.append(make_candidate(f"s{i:02}", seen, group=f"P{group}", split=str(splits[group])))
    flags = find(rows, across_splits="move")
    moved = [replace(row, split=flags[row.name].move_to or row.split) if row.name in flags else row for row in rows]
    assert 0 < sum(row.split == "train" for row in rows) < sum(row.split == "train" for row in moved)
    assert len({(row.group, row.split) for row in moved}) == len({row.group for row in moved})
    find(moved)  # would be an error
    kept = [row for row in moved if row.name not in flags or flags[row.name].move_to]
    assert {row.features["hash"] for row in kept} == {row.features["hash"] for row in rows}


def test_a_table_of_equal_pictures_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 100)
    with pytest.raises(PlanError, match=r"more than 100 pairs.*Lower `distance`"):
        find([make_candidate(f"s{i}") for i in range(20)])


def test_an_empty_table() -> None:
    assert find([]) == {}

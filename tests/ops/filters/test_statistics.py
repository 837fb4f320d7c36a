"""class_area, class_shape, pose, intensity: what is unusual surfaces, what is usual does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from judging import (
    BONES,
    bone_mask,
    candidate,
    expose,
    find_flags,
    fit_context,
    fold_polygon,
    hands,
    is_bent,
    measure_recall,
    replace_masks,
    shift_class,
    swap_labels,
    truncate_class,
)

from augforge import bitmask
from augforge.errors import PlanError
from augforge.ops import OPS, Context
from augforge.ops.filters.robust import median, median_polish, spread
from augforge.sample import Sample

GEOMETRY = ("class_area", "class_shape", "pose")
EVERY = (*GEOMETRY, "intensity")
THREE = Context(("a", "b", "c"))


@pytest.fixture(scope="module")
def usual() -> dict[str, Context]:
    """The contexts after fitting on all hands, bent ones included."""
    return {name: fit_context(name, hands()) for name in EVERY}


def discs(radii: dict[str, int], centers: dict[str, tuple[int, int]] | None = None, name: str = "s") -> Sample:
    """A sample with a disc for each class of THREE that is given."""
    at = {"a": (40, 40), "b": (110, 50), "c": (70, 110), **(centers or {})}
    masks = bitmask.empty(160, 160, 3)
    for label, radius in radii.items():
        layer = np.zeros((160, 160), np.uint8)
        bitmask.merge_class(masks, THREE.class_index(label), cv2.circle(layer, at[label], radius, (1,), -1))
    return Sample(name, np.full((160, 160), 90, np.uint8), masks, bitmask.all_bits(3), group=name)


def crowd(count: int = 12) -> list[Sample]:
    """Nearly equal samples."""
    return [discs({"a": 14 + i % 2, "b": 20 + i % 3, "c": 26 + i % 2}, name=f"s{i}") for i in range(count)]


# Scores on made hands; the bounds are what the filters reach, less a little


@pytest.mark.parametrize("name", EVERY)
def test_ordinary_hands_pass(name: str, usual: dict[str, Context]) -> None:
    assert [found for found in find_flags(name, hands(), usual[name]) if not is_bent(found)] == []


@pytest.mark.parametrize("name", GEOMETRY)
def test_bent_fingers_are_found(name: str, usual: dict[str, Context]) -> None:
    found = find_flags(name, [hand for hand in hands() if is_bent(hand.name)], usual[name])
    assert len(found) == 3
    assert all("finger-" in flag.detail for flag in found.values())


@pytest.mark.parametrize(
    ("name", "fault", "least"),
    [
        ("pose", swap_labels, 0.97),
        ("pose", shift_class, 0.9),
        ("class_area", truncate_class, 0.9),
        ("class_area", swap_labels, 0.75),
        ("class_shape", truncate_class, 0.8),
        ("class_shape", swap_labels, 0.75),
        ("class_shape", fold_polygon, 0.6),
    ],
)
def test_faults_are_found_and_named(name: str, fault: Any, least: float, usual: dict[str, Context]) -> None:
    found, named = measure_recall(name, fault, usual[name])
    assert found >= least and named >= 0.95


@pytest.mark.parametrize(("gamma", "least"), [(0.35, 0.95), (0.5, 0.55), (2.2, 0.7), (3, 0.95)])
def test_exposure_outliers_are_found(gamma: float, least: float, usual: dict[str, Context]) -> None:
    found = find_flags("intensity", [expose(hand, gamma) for hand in hands()], usual["intensity"])
    assert len(found) >= least * len(hands())
    assert {flag.reason for flag in found.values()} == {"exposure"}


def test_findings_mark_their_classes(usual: dict[str, Context]) -> None:
    hand = hands()[0]
    broken = replace_masks(hand, {"Scaphoid": bone_mask(hand, "finger-3"), "finger-3": bone_mask(hand, "Scaphoid")})
    _, boxes = bitmask.areas_and_boxes(broken.masks, len(BONES.classes))
    marked = {tuple(boxes[BONES.class_index(name)].tolist()) for name in ("Scaphoid", "finger-3")}
    for name in GEOMETRY:
        assert set(find_flags(name, [broken], usual[name])[hand.name].boxes) == marked


# What does not matter


@pytest.mark.parametrize("name", GEOMETRY)
def test_mirroring_turning_and_scale_do_not_matter(name: str, usual: dict[str, Context]) -> None:
    """Scores of a faulty hand, moved as a whole, stay nearly the same."""
    hand = replace_masks(
        hands()[0], {"finger-6": bone_mask(hands()[0], "finger-13"), "finger-13": bone_mask(hands()[0], "finger-6")}
    )
    before = find_flags(name, [hand], usual[name], threshold=0.01)[hand.name].score
    turn = cv2.getRotationMatrix2D((127.5, 127.5), 90, 1)
    changes: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda layer: cv2.flip(layer, 1),
        lambda layer: cv2.warpAffine(layer, turn, (256, 256), flags=cv2.INTER_NEAREST),
        lambda layer: cv2.resize(layer, (512, 512), interpolation=cv2.INTER_NEAREST_EXACT),
    ]
    for change in changes:
        moved = replace(hand, image=change(hand.image), masks=bitmask.per_plane(change, hand.masks))
        after = find_flags(name, [moved], usual[name], threshold=0.01)[hand.name].score
        assert after == pytest.approx(before, rel=0.08)


def test_pose_names_both_of_a_swap_and_leaves_the_rest(usual: dict[str, Context]) -> None:
    hand = hands()[0]
    broken = replace_masks(hand, {"Scaphoid": bone_mask(hand, "Hamate"), "Hamate": bone_mask(hand, "Scaphoid")})
    detail = find_flags("pose", [broken], usual["pose"])[hand.name].detail
    assert {part.split(" z=")[0] for part in detail.split(", ")} == {"Scaphoid", "Hamate"}


def test_area_is_relative_to_the_others() -> None:
    ctx = fit_context("class_area", crowd(), THREE)
    half = discs({"a": 7, "b": 10, "c": 13})
    assert find_flags("class_area", [half], ctx) == {}
    whole = fit_context("class_area", crowd(), THREE, relative_to="picture")
    flags = find_flags("class_area", [half], whole, relative_to="picture")
    assert flags["s"].reason == "class area" and "a z=-" in flags["s"].detail


# Absent, unknown, cut


def test_absent_and_unknown_are_different() -> None:
    ctx = fit_context("class_area", crowd(), THREE)
    absent = discs({"a": 14, "b": 20})
    assert find_flags("class_area", [absent], ctx)["s"].reason == "class missing"
    assert find_flags("class_area", [absent], ctx)["s"].detail == "c"
    assert find_flags("class_area", [absent], ctx, missing=None) == {}
    unknown = replace(absent, known=bitmask.select_bits([0, 1], 3))
    assert find_flags("class_area", [unknown], ctx) == {}
    assert candidate("class_area", unknown, THREE).features["area"]["c"] is None


def test_a_class_that_is_often_absent_is_not_missed() -> None:
    some = [discs({"a": 14, "b": 20} if i % 3 == 0 else {"a": 14, "b": 20, "c": 26}, name=f"s{i}") for i in range(12)]
    ctx = fit_context("class_area", some, THREE)
    assert find_flags("class_area", some, ctx) == {}
    assert ctx.fitted["present"] == {"a": 1.0, "b": 1.0, "c": pytest.approx(2 / 3, abs=1e-4)}


@pytest.mark.parametrize("name", GEOMETRY)
def test_unlabelled_samples_pass(name: str, usual: dict[str, Context]) -> None:
    hand = hands()[0]
    bare = replace(hand, masks=hand.masks * 0, known=hand.known * 0)
    assert find_flags(name, [bare], usual[name], threshold=0.01) == {}
    assert find_flags(name, [bare] * 3, fit_context(name, [replace(bare, name=f"b{i}") for i in range(20)])) == {}


@pytest.mark.parametrize("name", ["class_area", "class_shape"])
def test_classes_at_the_border_are_judged_on_demand(name: str) -> None:
    cut = discs({"a": 14, "b": 20, "c": 26}, {"a": (2, 40)})
    assert find_flags(name, [cut], fit_context(name, crowd(), THREE)) == {}
    flags = find_flags(name, [cut], fit_context(name, crowd(), THREE, at_border="judge"), at_border="judge")
    assert "a " in flags["s"].detail


# Fitting


@pytest.mark.parametrize("name", EVERY)
def test_only_training_counts(name: str) -> None:
    odd = [
        replace(expose(swap_labels(hand, np.random.default_rng(i))[0], 3), split="val")
        for i, hand in enumerate(hands())
    ]
    odd = [replace(sample, name=f"odd/{sample.name}") for sample in odd]
    assert fit_context(name, [*hands()[:30], *odd]).fitted == fit_context(name, hands()[:30]).fitted


@pytest.mark.parametrize("name", EVERY)
def test_few_or_equal_samples_flag_nothing(name: str) -> None:
    few = hands()[:7]
    assert fit_context(name, few).fitted is None
    assert find_flags(name, few, fit_context(name, few)) == {}
    equal = [replace(hands()[0], name=f"e{i}", group=f"e{i}") for i in range(20)]
    assert find_flags(name, equal, fit_context(name, equal)) == {}


def test_a_second_kind_is_no_outlier() -> None:
    """Three kinds of hands, each many times: the MAD is small, and yet none is an outlier."""
    kinds = [replace(hands()[2 * i], name=f"{i}-{j}", group=f"{i}-{j}") for i in range(3) for j in range(6)]
    assert [find_flags(name, kinds, fit_context(name, kinds)) for name in EVERY] == [{}] * 4


def test_a_lone_outlier_does_not_hide_itself() -> None:
    samples = [*crowd(11), discs({"a": 4, "b": 20, "c": 26}, name="odd")]
    ctx = fit_context("class_area", samples, THREE)
    assert [*find_flags("class_area", samples, ctx)] == ["odd"]


def test_too_few_classes_are_refused() -> None:
    area = OPS["class_area"].params
    with pytest.raises(PlanError, match=r"there are 2 classes.*relative_to: picture"):
        area().check(Context(("a", "b")))
    area(relative_to="picture").check(Context(("a",)))
    with pytest.raises(PlanError, match="no class 'finger-99'"):
        OPS["pose"].params(classes=["finger-99"]).check(BONES)


# Definitions


def test_shape_of_known_figures() -> None:
    masks = bitmask.empty(160, 160, 3)
    box, ring, tilted = (np.zeros((160, 160), np.uint8) for _ in range(3))
    box[20:40, 30:90] = 1
    cv2.circle(ring, (80, 80), 40, (1,), 8)
    cv2.ellipse(tilted, (70, 70), (60, 20), 30, 0, 360, (1,), -1)
    for c, layer in enumerate((box, ring, tilted)):
        bitmask.merge_class(masks, c, layer)
    found = candidate("class_shape", replace(discs({}), masks=masks), THREE).features
    assert found["elongation"]["a"] == pytest.approx(3, abs=1e-3)
    assert found["fill"]["a"] == pytest.approx(3 / np.pi, abs=1e-3)  # a rectangle of its ellipse
    assert found["elongation"]["b"] == pytest.approx(1, abs=0.01) and found["fill"]["b"] < 0.45
    assert found["elongation"]["c"] == pytest.approx(3, abs=0.05)
    assert found["fill"]["c"] == pytest.approx(1, abs=0.01)


def test_centers_are_at_pixel_centres() -> None:
    sample = discs({})
    masks = np.array(sample.masks)
    masks[10:13, 20:25, 0] = 1
    center = candidate("pose", replace(sample, masks=masks), THREE).features["center"]
    assert center == {"a": [22.0, 11.0], "b": None, "c": None}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_levels_are_shares_of_the_gray_scale(dtype: str, channels: int) -> None:
    top = np.iinfo(dtype).max
    image = np.zeros((100, 100), dtype)
    image[:30] = top
    image[30:60] = top // 5
    if channels > 1:
        image = np.repeat(image[..., None], channels, axis=2)
    masks = bitmask.empty(100, 100, 3)
    masks[30:60, :, 0] = 1
    found = candidate("intensity", Sample("s", image, masks, bitmask.all_bits(3)), THREE).features
    expected = {"mean": 0.36, "low": 0, "middle": 0.2, "high": 1, "contrast": 1, "object": 0.2}
    assert found == pytest.approx(expected, abs=1e-3)


def test_median_honours_gaps() -> None:
    table = np.array([[1, np.nan, np.nan], [5, 2, np.nan], [2, 4, np.nan]])
    np.testing.assert_array_equal(median(table, 0), [2, 3, np.nan])
    np.testing.assert_array_equal(median(table, 1), [1, 3.5, 3])
    assert np.isnan(median(np.zeros((0, 2)), 0)).all()


def test_polish_separates_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.normal(0, 3, (40, 1)), rng.normal(0, 5, (1, 7))
    table = rows + columns
    table[3, 2] += 9
    table[5, 5] = np.nan
    effect, left = median_polish(table)
    assert left[3, 2] == pytest.approx(9) and np.isnan(left[5, 5])
    assert np.nansum(np.abs(left)) == pytest.approx(9)
    np.testing.assert_allclose(np.diff(effect), np.diff(columns[0]), atol=1e-9)


def test_spread_is_a_standard_deviation() -> None:
    table = np.random.default_rng(1).normal(0, [1, 4], (4000, 2))
    np.testing.assert_allclose(spread(table, 10**6, 0.1), [1, 4], rtol=0.06)
    assert spread(table * 0, 100, 0.1).tolist() == [0.1, 0.1]
    near = spread(table, 1, 0.1)
    assert near[1] / near[0] < 2, "with few witnesses the columns' common spread counts"

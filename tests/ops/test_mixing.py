"""CutMix (Yun et al. 2019), MixUp (Zhang et al. 2018) and copy-paste (Ghiasi et al. 2021) against their definitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from provenance import check_provenance, make_traceable
from scipy import stats
from toybox import made as built
from toybox import put_hand, rejected, roots

from augforge import bitmask
from augforge.errors import PlanError
from augforge.keys import rng_for
from augforge.ops import OPS, BoundOp, Candidate, Context
from augforge.ops.copy_paste import CopyPaste
from augforge.ops.mixing import CutMix, MixUp
from augforge.planning.identity import op_identity
from augforge.sample import Sample

CTX, DRAWS = Context(class_names(9)), 10_000


def draw_many(op: str, params: Any, count: int = DRAWS) -> list[dict[str, Any]]:
    draw = OPS[op].draw
    assert draw is not None
    return [draw(rng_for(21, op, i), [], params, CTX) for i in range(count)]


def call_op(op: str, params: Any, inputs: list[Sample], draw: dict[str, Any]) -> Sample:
    (made,) = OPS[op].apply(inputs, draw, params, CTX)
    assert isinstance(made, Sample)
    return made


# CutMix


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_cutmix_draws_share_and_centre(alpha: float) -> None:
    draws = draw_many("cutmix", CutMix(alpha=alpha))
    kept = np.array([draw["kept"] for draw in draws])
    centres = np.array([draw["centre"] for draw in draws])
    assert stats.kstest(kept, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    for axis in (0, 1):
        assert stats.kstest(centres[:, axis], "uniform").pvalue > 0.01
        assert stats.spearmanr(kept, centres[:, axis]).pvalue > 0.01
    assert stats.spearmanr(*centres.T).pvalue > 0.01


def test_cutmix_box_is_the_papers() -> None:
    """The authors' rand_bbox: half sides W * sqrt(1 - kept) // 2 about a uniform pixel, clipped."""
    inputs, width, height = [make_sample(seed=i) for i in (0, 1)], 64, 48
    for draw in draw_many("cutmix", CutMix(), 300):
        ratio = np.sqrt(1 - draw["kept"])
        half = int(width * ratio) // 2, int(height * ratio) // 2
        middle = int(draw["centre"][0] * width), int(draw["centre"][1] * height)
        low = [max(0, m - h) for m, h in zip(middle, half, strict=True)]
        high = [min(n, m + h) for n, m, h in zip((width, height), middle, half, strict=True)]
        assert call_op("cutmix", CutMix(), inputs, draw).placements[1].clip == (*low, *high)


def test_cutmix_pixels_and_labels() -> None:
    inputs = [replace(make_traceable(slot), label=np.eye(2, dtype=np.float32)[slot]) for slot in (0, 1)]
    for draw in draw_many("cutmix", CutMix(), 50):
        made = call_op("cutmix", CutMix(), inputs, draw)
        shown = check_provenance(made, inputs)
        assert made.label is not None
        np.testing.assert_allclose(made.label, [(shown == 0).mean(), (shown == 1).mean()], atol=1e-6)
        x0, y0, x1, y1 = made.placements[1].clip
        assert (shown[y0:y1, x0:x1] == 1).all() and (shown == 1).sum() == (x1 - x0) * (y1 - y0)


def test_cutmix_refuses_images_of_two_sizes() -> None:
    with pytest.raises(ValueError, match=r"cutmix takes images of one size, got 50x48 and 64x48\. Add a step"):
        call_op("cutmix", CutMix(), [make_sample(), make_sample(width=50)], {"kept": 0.5, "centre": [0.5, 0.5]})


# MixUp


def test_mixup_draws_its_weight() -> None:
    weights = [draw["weight"] for draw in draw_many("mixup", MixUp(alpha=0.4))]
    assert stats.kstest(weights, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_mixup_blends_pixels(dtype: str, channels: int) -> None:
    a, b = (make_sample(dtype=dtype, channels=channels, seed=i) for i in (0, 1))
    made = call_op("mixup", MixUp(), [a, b], {"weight": 0.3})
    assert made.image.dtype == dtype
    assert np.abs(made.image - (0.3 * a.image + 0.7 * b.image)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("weight", "count"), [(0.0, [1]), (0.29, [1]), (0.3, [0, 1]), (0.5, [0, 1]), (0.71, [0]), (1.0, [0])]
)
def test_mixup_masks_count_from_their_weight_on(weight: float, count: list[int]) -> None:
    inputs = [replace(make_sample(seed=i), label=np.eye(2, dtype=np.float32)[i]) for i in (0, 1)]
    made = call_op("mixup", MixUp(mask_weight=0.3), inputs, {"weight": weight})
    np.testing.assert_array_equal(made.masks, np.bitwise_or.reduce([inputs[i].masks for i in count]))
    assert made.label is not None
    np.testing.assert_allclose(made.label, [weight, 1 - weight], atol=1e-6)


# Copy-paste


def scene(c: int, box: tuple[int, int, int, int], value: int, under: int | None = None) -> Sample:
    """An evenly gray image with a box of class c, half of it on class `under` too."""
    sample = make_sample(80, 100)
    masks = np.zeros_like(sample.masks)
    x0, y0, x1, y1 = box
    mask = np.zeros((80, 100), np.uint8)
    mask[y0:y1, x0:x1] = 1
    bitmask.merge_class(masks, c, mask)
    if under is not None:
        mask[:, (x0 + x1) // 2 :] = 0
        bitmask.merge_class(masks, under, mask)
    return replace(sample, image=np.full((80, 100), value, np.uint8), masks=masks)


def test_copy_paste_replaces_masks_and_pixels_under_the_object() -> None:
    anchor = scene(3, (0, 0, 100, 80), 50)
    partner = scene(8, (20, 10, 60, 40), 200, under=1)
    made = call_op("copy_paste", CopyPaste(classes=("class-8",), sigma=0), [anchor, partner], {"shifts": [[0.1, 0.25]]})
    inside = np.zeros((80, 100), bool)
    inside[30:60, 30:70] = True
    assert (made.image[inside] == 200).all() and (made.image[~inside] == 50).all()
    np.testing.assert_array_equal(made.masks[inside], partner.masks[10:40, 20:60].reshape(-1, 2))
    np.testing.assert_array_equal(made.masks[~inside], anchor.masks[~inside])
    assert made.placements[1].matrix == ((1.0, 0.0, 10.0), (0.0, 1.0, 20.0))
    assert made.placements[1].clip == (30, 30, 70, 60)


def test_copy_paste_edges_are_soft_inwards() -> None:
    anchor, partner = scene(3, (0, 0, 5, 5), 50), scene(8, (20, 10, 60, 40), 250)
    made = call_op("copy_paste", CopyPaste(classes=("class-8",), sigma=4), [anchor, partner], {"shifts": [[0, 0]]})
    row = made.image[25].astype(int)
    assert (row[:20] == 50).all() and (row[60:] == 50).all(), "nothing beyond the object"
    np.testing.assert_array_equal(row[20:29], [75, 100, 125, 150, 175, 200, 225, 250, 250])
    np.testing.assert_array_equal(row[20:60], row[59:19:-1])
    assert bitmask.class_mask(made.masks, 8).sum() == 34 * 24, (
        "from the fourth pixel on the object is half of what shows"
    )
    np.testing.assert_array_equal(bitmask.class_mask(made.masks, 8), made.image >= 150)


@pytest.mark.parametrize("side", [1, 2, 5])
def test_copy_paste_shows_objects_thinner_than_its_edge(side: int) -> None:
    anchor, partner = scene(3, (0, 0, 5, 5), 50), scene(8, (20, 10, 20 + side, 40), 250)
    made = call_op("copy_paste", CopyPaste(classes=("class-8",), sigma=9), [anchor, partner], {"shifts": [[0, 0]]})
    assert made.image.max() == 250


def test_copy_paste_is_cut_at_the_border_and_stays_soft_elsewhere() -> None:
    anchor, partner = scene(3, (0, 0, 5, 5), 50), scene(8, (60, 10, 90, 40), 250)
    made = call_op("copy_paste", CopyPaste(classes=("class-8",), sigma=2), [anchor, partner], {"shifts": [[0.2, 0]]})
    assert made.placements[1].clip == (80, 10, 100, 40)
    np.testing.assert_array_equal(made.image[25, 80:85], [100, 150, 200, 250, 250])
    assert made.image[25, 99] == 250, "the object goes on beyond the picture: no edge there"
    np.testing.assert_array_equal(bitmask.class_mask(made.masks, 8), made.image >= 150)


@pytest.mark.parametrize("sigma", [0, 0.5, 2, 9, 50])
@pytest.mark.parametrize("side", [1, 2, 3, 8, 21])
def test_a_pasted_label_covers_what_shows_more_than_the_background(sigma: float, side: int) -> None:
    """The object has 250 everywhere and the picture 50: where the label is, the image is nearer to the object."""
    anchor, partner = scene(3, (0, 0, 5, 5), 50), scene(8, (20, 10, 20 + side, 10 + 2 * side), 250)
    made = call_op("copy_paste", CopyPaste(classes=("class-8",), sigma=sigma), [anchor, partner], {"shifts": [[0, 0]]})
    label = bitmask.class_mask(made.masks, 8) > 0
    np.testing.assert_array_equal(label, made.image >= 150)
    assert label.any()


def drawn_by(params: CopyPaste, inputs: list[Sample], count: int, **context: Any) -> list[dict[str, Any]]:
    draw = OPS["copy_paste"].draw
    assert draw is not None
    rng = np.random.default_rng(0)
    return [draw(rng, inputs, params, replace(CTX, **context)) for _ in range(count)]


@pytest.mark.parametrize("least", [0.3, 0.9, 1.0])
def test_enough_of_a_pasted_object_lies_inside(least: float) -> None:
    anchor, partner = make_sample(80, 100), scene(8, (60, 10, 90, 40), 250)
    params = CopyPaste(classes=("class-8",), shift=0.8, sigma=0, min_visible=least)
    shares = []
    for drawn in drawn_by(params, [anchor, partner], 60):
        made = call_op("copy_paste", params, [scene(3, (0, 0, 5, 5), 50), partner], drawn)
        shares.append(bitmask.class_mask(made.masks, 8).sum() / 900)
    assert min(shares) >= least and (max(shares) > min(shares) or least == 1)
    free = drawn_by(params.model_copy(update={"min_visible": 0.0}), [anchor, partner], 60)
    assert any(call_op("copy_paste", params, [anchor, partner], d).placements[1:] == () for d in free), "some are lost"


def test_what_no_shift_brings_inside_is_not_pasted() -> None:
    anchor, partner = make_sample(20, 20), scene(8, (60, 50, 90, 70), 250)
    params = CopyPaste(classes=("class-8",), shift=0.5, min_visible=0.1)
    (drawn,) = drawn_by(params, [anchor, partner], 1)
    made = call_op("copy_paste", params, [anchor, partner], drawn)
    assert drawn == {"shifts": [None]}
    np.testing.assert_array_equal(made.image, anchor.image)
    np.testing.assert_array_equal(made.masks, anchor.masks)


def test_balanced_classes_are_pasted_equally_often() -> None:
    """Class 8 is in 9 donors, class 3 in one of them and in none besides: without balance it were 1 of 10."""
    common, both = scene(8, (20, 10, 60, 40), 250), scene(8, (20, 10, 60, 40), 250, under=3)
    params = CopyPaste(classes=("class-8", "class-3"), class_balanced=True)
    candidates = [
        Candidate("", f"{i}", "", "train", 100, 80, {}, (), {"area": {"class-8": 5, "class-3": 9 * (i == 0)}})
        for i in range(9)
    ]
    op = OPS["copy_paste"]
    assert op.fit is not None and op.weigh is not None
    fitted = op.fit(candidates, params, CTX)
    context = replace(CTX, fitted=fitted)
    weights = np.array([op.weigh(candidate, params, context) for candidate in candidates])
    chosen = np.random.default_rng(1).choice(9, 3000, p=weights / weights.sum())
    anchor = make_sample(80, 100)
    names = [
        drawn["classes"][0]
        for donor, count in ((both, int((chosen == 0).sum())), (common, int((chosen > 0).sum())))
        for drawn in drawn_by(params, [anchor, donor], count, fitted=fitted)
    ]
    assert names.count("class-3") / 3000 == pytest.approx(0.5, abs=0.05)
    assert op_identity(replace(BoundOp("copy_paste", params), fitted=fitted))[3] == fitted
    plain = BoundOp("copy_paste", CopyPaste(classes=("class-8",)))
    assert not plain.needs_fitting and op_identity(plain) == [
        "copy_paste@2",
        "copy_paste",
        {"classes": ["class-8"]},
        None,
    ]


@pytest.mark.parametrize("kind", [("uint8", 3), ("uint8", 4), ("uint16", 1)])
def test_copy_paste_of_any_kind_of_image(kind: tuple[str, int]) -> None:
    a, b = (make_sample(dtype=kind[0], channels=kind[1], seed=i) for i in (0, 1))
    made = call_op("copy_paste", CopyPaste(classes=("class-0",), sigma=0), [a, b], {"shifts": [[0, 0]]})
    inside = bitmask.class_mask(b.masks, 0).astype(bool)
    np.testing.assert_array_equal(
        made.image, np.where(inside if a.image.ndim == 2 else inside[..., None], b.image, a.image)
    )


def test_copy_paste_knows_what_both_images_know() -> None:
    a, b = make_sample(seed=0), make_sample(seed=1)
    known = bitmask.select_bits([0, 1], 9)
    b = replace(b, known=known, masks=b.masks & known)
    made = call_op("copy_paste", CopyPaste(classes=("class-0",)), [a, b], {"shifts": [[0, 0]]})
    np.testing.assert_array_equal(made.known, known)
    assert not (made.masks & ~known).any()


def test_copy_paste_draws_partners_that_hold_a_class(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for person in range(1, 9):  # put_hand draws every class but each third: `rare` is third for most
        names = ("a", "rare") if person in (2, 5) else ("a", "b", "rare")
        put_hand(data, person, np.full((40, 40), 20 * person, np.uint8), names)
    step = "{op: copy_paste, classes: [rare], keep_input: true}"
    built(tmp_path, data, [step], classes="[a, b, rare]", split="{}")
    holders = {"ID002/image0000000000002", "ID005/image0000000000005"}
    drawn_by = {name: shown for name, shown in roots(tmp_path / "out").items() if name.startswith("copy_paste/")}
    assert len(drawn_by) == 8 and all(shown & holders for shown in drawn_by.values())
    assert rejected(tmp_path / "out").is_empty()
    with pytest.raises(PlanError, match="copy_paste draws partners from 8 samples, and none of them has a weight"):
        built(tmp_path, data, [step.replace("rare", "c")], out="none", classes="[a, b, rare, c]", split="{}")


def test_the_only_image_with_the_class_gets_no_copy_and_the_build_says_so(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for person in range(1, 6):
        names = ("a", "rare") if person == 2 else ("a", "b", "rare")
        put_hand(data, person, np.full((40, 40), 20 * person, np.uint8), names)
    steps = ["{op: copy_paste, classes: [rare], shift: 0}"]
    summary, _ = built(tmp_path, data, steps, classes="[a, b, rare]", split="{}")
    only = "ID002/image0000000000002"
    assert {name for name in roots(tmp_path / "out") if not name.startswith("copy_paste/")} == {only}
    [warning] = [text for text in summary.warnings if "copy_paste" in text]
    assert f"makes nothing for 1 of 5 samples of split 'train', such as '{only}'" in warning


def test_where_chooses_anchors_and_donors_donors(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for person in range(1, 6):
        put_hand(data, person, np.full((40, 40), 20 * person, np.uint8), ("a", "b"))
    name = "ID00{0}/image000000000000{0}".format
    where = f"where: \"name = '{name(1)}'\""
    built(
        tmp_path, data, [f"{{op: copy_paste, classes: [a], keep_input: true, {where}}}"], classes="[a, b]", split="{}"
    )
    made = {key: shown for key, shown in roots(tmp_path / "out").items() if key.startswith("copy_paste/")}
    assert list(made) == [f"copy_paste/{name(1)}-1"] and len(made[f"copy_paste/{name(1)}-1"]) == 2
    for condition in (f"name = '{name(4)}'", f"area.a > 0 AND name > '{name(3)}' AND name < '{name(5)}'"):
        step = f'{{op: copy_paste, classes: [a], donors: "{condition}"}}'
        built(tmp_path, data, [step], out="donors", classes="[a, b]", split="{}")
        made = {key: shown for key, shown in roots(tmp_path / "donors").items() if key.startswith("copy_paste/")}
        assert len(made) == 4 and all(name(4) in shown for shown in made.values())

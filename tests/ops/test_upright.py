"""rotate_normalise and tilt: axes of known lean, from masks and from the image alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import class_names, make_sample
from numpy.typing import NDArray
from pydantic import ValidationError

from augforge import bitmask
from augforge.errors import PlanError
from augforge.ops import BoundOp, Context
from augforge.ops.contract_samples import replace_class
from augforge.ops.core import Candidate
from augforge.ops.filters.hand_axis import hand_tilt
from augforge.ops.upright import RotateNormalise, Tilt, rotate_normalise, tilt
from augforge.phantom import Traits, render_hand
from augforge.sample import Drop, Sample
from augforge.sources.class_lists import HAND_BONES

CONTEXT = Context(class_names(9))
UP = {"from": ["class-0"], "to": ["class-1"]}
RAY = {"from": ["finger-11"], "to": ["finger-8"]}
Picture = NDArray[np.uint8]


def call_rotate_normalise(sample: Sample, ctx: Context = CONTEXT, **params: Any) -> Sample | Drop:
    (made,) = rotate_normalise.apply([sample], None, RotateNormalise.model_validate(params), ctx)
    return made


def leaning(degrees: float, side: int = 160, reach: float = 50) -> Sample:
    """Class 0 as a disc at the centre's one side, class 1 at the other: from 0 to 1 leans so far to the right."""
    along = reach * np.array([math.sin(math.radians(degrees)), -math.cos(math.radians(degrees))])
    masks = bitmask.empty(side, side, 9)
    for c, sign in ((0, -1), (1, 1)):
        disc = np.zeros((side, side), np.uint8)
        cv2.circle(disc, tuple(np.rint(side / 2 + sign * along).astype(int).tolist()), 12, 1, -1)
        bitmask.merge_class(masks, c, disc)
    image = np.random.default_rng(0).integers(0, 255, (side, side), np.uint8)
    return Sample("leaning", image, masks, bitmask.all_bits(9))


def between(a: float, b: float) -> float:
    """Degrees between two directions."""
    return abs((a - b + 180) % 360 - 180)


@pytest.fixture(scope="module")
def hands() -> list[tuple[Sample, float]]:
    """Made hands with the lean of their middle finger: left, right, turned, with a ring, on gray and dark films."""
    made = []
    for number in range(8):
        rng = np.random.default_rng([5, number])
        kind: dict[str, Any] = {
            "hand": "LR"[number % 2],
            "turned": number % 3 == 1,
            "outlier": "ring" if number == 4 else "none",
        }
        hand = render_hand(rng, 384, Traits.draw(rng), **kind)
        shapes = [(HAND_BONES.index(name), [points]) for name, points in hand.polygons.items() if len(points) > 2]
        masks = bitmask.rasterise(shapes, 384, 384, len(HAND_BONES))
        made.append((Sample(f"hand-{number}", hand.image, masks, bitmask.all_bits(len(HAND_BONES))), hand.tilt_deg))
    return made


def clockwise(image: Picture, degrees: float, fill: int, scale: float = 1.0) -> Picture:
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, scale)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderValue=fill), np.uint8)


# With classes


@pytest.mark.parametrize("degrees", [-178, -120, -90, -31.5, -5, 3, 20, 90, 133, 180])
def test_classes_are_turned_upright(degrees: float) -> None:
    """Positive is to the right, and what leans to the right is turned counter-clockwise by as much."""
    made = call_rotate_normalise(leaning(degrees), axis=UP)
    assert isinstance(made, Sample)
    assert between(made.notes["angle_deg"], degrees) < 1 and made.notes["axis"] == "classes"
    middles = []
    for c in (0, 1):
        y, x = np.nonzero(bitmask.class_mask(made.masks, c))
        middles.append((x.mean(), y.mean()))
    (x0, y0), (x1, y1) = middles
    assert abs(x1 - x0) < 1 and y1 < y0 - 98


def test_lineage_turns_predictions_back() -> None:
    sample = leaning(25)
    made = call_rotate_normalise(sample, axis=UP)
    assert isinstance(made, Sample)
    assert made.notes["matrix"] == [list(row) for row in made.placements[0].matrix]
    back = cv2.invertAffineTransform(np.array(made.notes["matrix"]))
    there = bitmask.class_mask(made.masks, 1)
    again = np.asarray(cv2.warpAffine(there, back, (160, 160), flags=cv2.INTER_NEAREST), np.uint8)
    was = bitmask.class_mask(sample.masks, 1)
    assert (again & was).sum() / (again | was).sum() > 0.9


def test_several_classes_are_their_union() -> None:
    """Not the mean of their centroids: a class counts by its pixels, and where two overlap once."""
    sample = leaning(0)
    masks = sample.masks.copy()
    box = np.zeros((160, 160), np.uint8)
    box[20:40, 100:140] = 1
    masks = replace_class(masks, 2, box)
    made = call_rotate_normalise(replace(sample, masks=masks), axis={"from": ["class-0"], "to": ["class-1", "class-2"]})
    assert isinstance(made, Sample)
    y, x = np.nonzero((bitmask.class_mask(masks, 1) | box) != 0)
    v, u = np.nonzero(bitmask.class_mask(masks, 0))
    expected = math.degrees(math.atan2(x.mean() - u.mean(), v.mean() - y.mean()))
    assert between(made.notes["angle_deg"], expected) < 0.01


@pytest.mark.parametrize(("degrees", "turned"), [(2, False), (-2, False), (6, True), (-6, True), (50, False)])
def test_beyond_the_angles_the_input_itself_passes(degrees: float, turned: bool) -> None:
    sample = leaning(degrees)
    assert (call_rotate_normalise(sample, axis=UP, min_angle=4, max_angle=30) is sample) != turned


def test_fallbacks() -> None:
    sample = leaning(40)
    without = [
        replace(sample, masks=bitmask.keep(sample.masks, bitmask.select_bits([0], 9))),
        replace(sample, masks=sample.masks * 0, known=sample.known * 0),
    ]
    for bare in without:
        assert call_rotate_normalise(bare, axis=UP, fallback="keep") is bare
        assert call_rotate_normalise(bare, axis=UP, fallback="drop") == Drop("no axis to turn upright")
        assert call_rotate_normalise(bare, axis=UP) is bare, "there is no hand in noise"


def test_fallback_finds_the_hand(hands: list[tuple[Sample, float]]) -> None:
    ctx = Context(HAND_BONES)
    sample, lean = next((s, lean) for s, lean in hands if abs(lean) > 10)
    made = call_rotate_normalise(replace(sample, masks=sample.masks * 0, known=sample.known * 0), ctx, axis=RAY)
    assert isinstance(made, Sample) and made.notes["axis"] == "image"
    assert between(made.notes["angle_deg"], lean) < 3


@pytest.mark.parametrize("fit", ["crop", "scale", "expand"])
def test_fit(fit: str) -> None:
    made = call_rotate_normalise(leaning(40), axis=UP, fit=fit, max_angle=60, fill=9)
    assert isinstance(made, Sample)
    promised = rotate_normalise.sizes([(160, 160)], RotateNormalise.model_validate({"fit": fit, "max_angle": 60}))
    assert promised == [(made.width, made.height)] == [(227, 227) if fit == "expand" else (160, 160)]
    corners = np.array([(x, y, 1) for x in (0, 159) for y in (0, 159)]) @ np.array(made.placements[0].matrix).T
    inside = (corners > -0.6).all() and (corners < made.width - 0.4).all()
    assert inside == (fit != "crop")


@pytest.mark.parametrize(
    "axis", ["picture", {"from": ["a"]}, {"from": [], "to": ["b"]}, {"from": ["a"], "to": ["b"], "via": ["c"]}]
)
def test_axis_refuses(axis: Any) -> None:
    with pytest.raises(ValidationError):
        RotateNormalise.model_validate({"axis": axis})


def test_axis_of_an_unknown_class_names_the_nearest() -> None:
    for model in (RotateNormalise, Tilt):
        with pytest.raises(PlanError, match=r"no class 'clas-1'. Did you mean 'class-1'\?"):
            model.model_validate({"axis": {"from": ["class-0"], "to": ["clas-1"]}}).check(CONTEXT)


def test_params_are_declared_as_they_are_written() -> None:
    assert RotateNormalise.model_validate({"axis": UP}).declared() == {"axis": UP}


# From the image alone


def test_image_axis_is_the_middle_fingers(hands: list[tuple[Sample, float]]) -> None:
    ctx = Context(HAND_BONES)
    for sample, lean in hands:
        found = hand_tilt(sample.image)
        assert found is not None and between(found, lean) < 4
        made = call_rotate_normalise(sample, ctx, axis=RAY, min_angle=0)
        assert isinstance(made, Sample) and between(made.notes["angle_deg"], lean) < 1.5


CHANGES: dict[str, Callable[[Picture], np.ndarray]] = {
    "dim": lambda image: (image * 0.5).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255.0) ** 1.5).astype(np.uint8),
    "noise": lambda image: (image + np.random.default_rng(1).normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8),
    "16 bits": lambda image: image.astype(np.uint16) * 257,
    "colour": lambda image: np.stack([image] * 3, axis=-1),
    "alpha": lambda image: np.stack([image, image, image, np.full_like(image, 255)], axis=-1),
    "white pillars": lambda image: cv2.copyMakeBorder(image, 0, 0, 96, 96, cv2.BORDER_CONSTANT, value=255),
    "small": lambda image: cv2.resize(image, (192, 192), interpolation=cv2.INTER_AREA),
    "large": lambda image: cv2.resize(image, (900, 900)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_image_axis_does_not_depend_on_how_the_picture_is_stored(
    change: str, hands: list[tuple[Sample, float]]
) -> None:
    for sample, lean in hands[::4]:
        found = hand_tilt(CHANGES[change](sample.image))
        assert found is not None and between(found, lean) < 5


@pytest.mark.parametrize(("degrees", "fill"), [(-135, 0), (-30, 100), (70, 255), (180, 0), (25, 255), (-80, 128)])
def test_image_axis_turns_with_the_picture(degrees: float, fill: int, hands: list[tuple[Sample, float]]) -> None:
    """Also upside down: the palm says where up is. The new corners are padding, which must not matter."""
    for sample, lean in hands[1::4]:
        found = hand_tilt(clockwise(sample.image, degrees, fill, scale=0.85))
        assert found is not None and between(found, lean + degrees) < 6


def test_image_axis_is_mirrored_with_the_picture(hands: list[tuple[Sample, float]]) -> None:
    for sample, lean in hands[::2]:
        found = hand_tilt(np.ascontiguousarray(sample.image[:, ::-1]))
        assert found is not None and between(found, -lean) < 4


def test_side_marker_does_not_matter(hands: list[tuple[Sample, float]]) -> None:
    sample, lean = hands[0]
    image = sample.image.copy()
    image[300:360, 20:50] = 255
    cv2.putText(image, "L", (330, 330), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 255, 4)
    cv2.line(image, (5, 0), (5, 383), 230, 3)
    found = hand_tilt(image)
    assert found is not None and between(found, lean) < 4


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (48, 64), (400, 300)])
def test_no_hand_no_angle(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, size, np.uint8)
    square = np.zeros(size, np.uint8)
    square[size[0] // 4 : size[0] // 2 + 1, size[1] // 4 : size[1] // 2 + 1] = 200
    for image in (noise, square, np.zeros(size, np.uint8), np.full(size, 255, np.uint8)):
        assert hand_tilt(image) is None


# tilt


def candidate(sample: Sample, params: Tilt, ctx: Context) -> Candidate:
    features = BoundOp("tilt", params).measure(sample, ctx)
    return Candidate("id", sample.name, "", "train", sample.width, sample.height, {}, (), features)


def test_tilt_measures_what_rotate_normalise_turns_by() -> None:
    params = Tilt.model_validate({"axis": UP})
    for degrees in (-50.0, 0.0, 9.0, 31.0):
        made = call_rotate_normalise(leaning(degrees), axis=UP, min_angle=0)
        assert isinstance(made, Sample)
        features = candidate(leaning(degrees), params, CONTEXT).features
        assert features == {"angle_deg": made.notes["angle_deg"], "axis": "classes"}


@pytest.mark.parametrize(("degrees", "flagged"), [(0, False), (-9, False), (12, True), (-150, True)])
def test_tilt_tags_what_is_turned(degrees: float, flagged: bool) -> None:
    params = Tilt.model_validate({"axis": UP})
    (flag,) = tilt.decide([candidate(leaning(degrees), params, CONTEXT)], params, CONTEXT)
    assert params.action == "tag" and (flag is not None) == flagged
    if flag is not None:
        assert flag.reason == "turned" and flag.score == pytest.approx(abs(degrees) - 10, abs=1)


def test_tilt_of_nothing_is_no_finding() -> None:
    params = Tilt.model_validate({"axis": UP, "fallback": "keep"})
    found = candidate(replace(leaning(40), masks=leaning(40).masks * 0), params, CONTEXT)
    assert found.features == {"angle_deg": None, "axis": None}
    assert tilt.decide([found], params, CONTEXT) == [None]


def test_threshold_does_not_measure_anew() -> None:
    bound = [BoundOp("tilt", Tilt.model_validate({"axis": UP, "max_angle": angle})) for angle in (5, 20)]
    assert bound[0].measured_params() == bound[1].measured_params() == {"axis": UP, "fallback": "image"}


def test_rotate_normalise_knows_every_kind_of_image() -> None:
    for dtype, channels in (("uint8", 1), ("uint16", 1), ("uint8", 3), ("uint16", 4)):
        sample = make_sample(dtype=dtype, channels=channels)
        made = call_rotate_normalise(sample, axis=UP)
        assert isinstance(made, Sample) and made.image.dtype == dtype and made.image.shape == sample.image.shape

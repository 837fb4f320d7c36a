"""The filter `metal`, on generated hands and on metal and film marks drawn onto them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from augforge import bitmask
from augforge.keys import canonical_json
from augforge.ops.core import Context
from augforge.ops.filters.metal import LETTERS, Metal, Region, find_metal, metal, region_score
from augforge.ops.filters.metal_body import find_body
from augforge.phantom import Traits, render_hand
from augforge.sample import Sample
from augforge.sources.class_lists import HAND_BONES

SIZE = 512
CONTEXT = Context(HAND_BONES)
Image = NDArray[Any]
Point = NDArray[np.float64]


@cache
def hand(
    seed: int, outlier: str = "none", size: int = SIZE, turned: bool = False, burnt: float | None = None
) -> Sample:
    """A generated hand with its masks; the same hand, film and markers whatever the outlier."""
    traits = Traits.draw(np.random.default_rng([seed, 1]))
    made = render_hand(np.random.default_rng(seed), size, traits, outlier=outlier, turned=turned, burnt=burnt)
    polygons = [(HAND_BONES.index(name), [ring]) for name, ring in made.polygons.items() if len(ring) > 2]
    masks = bitmask.rasterise(polygons, size, size, len(HAND_BONES))
    return Sample(f"hand-{seed}", made.image, masks, bitmask.all_bits(len(HAND_BONES)))


def bare(sample: Sample) -> Sample:
    """The sample as if nobody had labelled it."""
    return replace(sample, masks=np.zeros_like(sample.masks), known=np.zeros_like(sample.known))


def features(sample: Sample, params: Metal | None = None) -> dict[str, Any]:
    assert metal.measure is not None
    seen: Any = SimpleNamespace(fingers=(params or Metal()).fingers)
    return {**metal.measure(sample, seen, CONTEXT)}


def found(sample: Sample, **params: Any) -> list[Region]:
    chosen = Metal.model_validate(params)
    return find_metal(features(sample, chosen), chosen)


def changed(image: Image, clean: Image) -> tuple[int, int, int, int]:
    """Box of what was drawn, by comparing with the clean image."""
    y, x = np.nonzero(abs(image.astype(int) - clean) > 15)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Intersection over union of two boxes."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def bone(sample: Sample, name: str) -> tuple[Point, Point, float, float]:
    """Centre, unit axis, length and width of a bone."""
    points = np.argwhere(bitmask.class_mask(sample.masks, HAND_BONES.index(name)))[:, ::-1].astype(float)
    centre = points.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((points - centre).T))
    along, across = ((points - centre) @ vectors[:, k] for k in (1, 0))
    return centre, vectors[:, 1], float(np.ptp(along)), float(np.ptp(across))


def draw(sample: Sample, paint: Callable[[Image], object], level: float = 255) -> Sample:
    """Cover what `paint` fills with an even gray, its edge blurred as the image is."""
    cover = np.zeros(sample.image.shape, np.uint8)
    paint(cover)
    share = cv2.GaussianBlur(cover, (0, 0), 0.6).astype(float) / 255
    image = sample.image + (level - sample.image) * share
    return replace(sample, image=np.clip(np.rint(image), 0, 255).astype(np.uint8))


def pixel(point: Point) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def wire(sample: Sample) -> Sample:
    centre, axis, length, width = bone(sample, "finger-7")
    side = np.array([-axis[1], axis[0]]) * width * 0.25
    ends = [pixel(centre + sign * (axis * length * 0.65 + side)) for sign in (-1, 1)]
    return draw(sample, lambda cover: cv2.line(cover, ends[0], ends[1], 255, 3, cv2.LINE_AA))


def plate(sample: Sample) -> Sample:
    """A plate with holes along a metacarpal."""
    centre, axis, length, _ = bone(sample, "finger-11")
    places = [pixel(centre + axis * length * t) for t in np.linspace(-0.3, 0.3, 4)]

    def paint(cover: Image) -> None:
        cv2.line(cover, places[0], places[-1], 255, 7, cv2.LINE_AA)
        for place in places:
            cv2.circle(cover, place, 5, 255, -1, cv2.LINE_AA)
            cv2.circle(cover, place, 1, 120, -1, cv2.LINE_AA)

    return draw(sample, paint)


def thin_ring(sample: Sample, finger: str = "finger-14") -> Sample:
    centre, axis, _, width = bone(sample, finger)
    turn = float(np.degrees(np.arctan2(axis[0], -axis[1])))
    size = (round(width * 0.85), round(width * 0.3))
    return draw(sample, lambda cover: cv2.ellipse(cover, pixel(centre), size, turn, 0, 360, 255, 3, cv2.LINE_AA))


def nail(sample: Sample) -> Sample:
    centre, _, _, _ = bone(sample, "finger-12")
    return draw(sample, lambda cover: cv2.circle(cover, pixel(centre), 5, 255, -1, cv2.LINE_AA))


def bracelet(sample: Sample) -> Sample:
    radius, ulna = bone(sample, "Radius")[0], bone(sample, "Ulna")[0]
    middle, half = (radius + ulna) / 2, abs(float(radius[0] - ulna[0]))
    size = (round(half * 1.3), round(half * 0.25))
    return draw(sample, lambda cover: cv2.ellipse(cover, pixel(middle), size, 0, 0, 360, 255, 5, cv2.LINE_AA))


def text(sample: Sample) -> Sample:
    return draw(sample, lambda cover: cv2.putText(cover, "PORTABLE 12:30", (25, 25), 0, 0.6, 255, 2, cv2.LINE_AA))


def arrow(sample: Sample) -> Sample:
    return draw(sample, lambda cover: cv2.arrowedLine(cover, (25, 75), (60, 40), 255, 3, cv2.LINE_AA))


def strip(sample: Sample) -> Sample:
    """A collimator's edge that shines."""
    return draw(sample, lambda cover: cv2.rectangle(cover, (485, 30), (491, 480), 255, -1))


def border(sample: Sample) -> Sample:
    return draw(sample, lambda cover: cv2.rectangle(cover, (0, 0), (SIZE - 1, SIZE - 1), 255, 16))


def patch(sample: Sample) -> Sample:
    """A lead marker near the hand, off it."""
    thumb, finger = bone(sample, "finger-1")[0], bone(sample, "finger-4")[0]
    place = pixel((thumb + finger) / 2)
    corners = (place[0] - 7, place[1] - 16), (place[0] + 7, place[1] + 16)
    return draw(sample, lambda cover: cv2.rectangle(cover, corners[0], corners[1], 255, -1))


def turn_on_film(fill: int, degrees: float = 33) -> Callable[[Image], Image]:
    """The image turned inside padding of one gray."""

    def turn(image: Image) -> Image:
        height, width = image.shape
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), degrees, 0.8)
        return cv2.warpAffine(image, matrix, (width, height), borderValue=fill)

    return turn


def encode_jpeg(image: Image) -> Image:
    decoded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return decoded


def add_grain(image: Image) -> Image:
    return np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8)


PLACE = {
    "contact": 0.9,
    "sides": 0,
    "strip": None,
    "row": 1,
    "coarse": False,
    "burnt": 0,
    "solidity": 0.9,
    "share": 1e-3,
    "length": 0.1,
    "width": 0.03,
}
CLEAN = [hand(seed, turned=seed % 3 == 0) for seed in range(6)]
masked = pytest.mark.parametrize("with_masks", [True, False], ids=["masks", "bare"])

# Generated outliers


@masked
@pytest.mark.parametrize("outlier", ["ring", "implant"])
@pytest.mark.parametrize("seed", range(6))
def test_metal_is_found_where_it_is(seed: int, outlier: str, with_masks: bool) -> None:
    sample = hand(seed, outlier, turned=seed % 3 == 0)
    regions = found(sample if with_masks else bare(sample))
    assert regions, "nothing was found"
    at = changed(sample.image, hand(seed, turned=seed % 3 == 0).image)
    assert max(overlap(region.box, at) for region in regions) > 0.4
    assert all(overlap(region.box, at) > 0 for region in regions), "something else was found too"


@masked
@pytest.mark.parametrize("seed", range(6))
def test_clean_hands_pass(seed: int, with_masks: bool) -> None:
    sample = CLEAN[seed]
    assert found(sample if with_masks else bare(sample)) == []


@masked
@pytest.mark.parametrize("outlier", ["ring", "implant"])
def test_shape_and_place_tell_rings(outlier: str, with_masks: bool) -> None:
    samples = [hand(seed, outlier) for seed in range(6)]
    kinds = [found(sample if with_masks else bare(sample))[0].kind for sample in samples]
    assert kinds.count(outlier) >= 5


def test_large_images_are_measured_small_and_boxes_are_in_their_pixels() -> None:
    sample = hand(3, "ring", size=1536)
    (region,) = found(sample)
    assert overlap(region.box, changed(sample.image, hand(3, size=1536).image)) > 0.8


# Other metal, and what is none


@masked
@pytest.mark.parametrize("add", [wire, plate, thin_ring, nail, bracelet])
def test_other_metal_is_found(add: Callable[[Sample], Sample], with_masks: bool) -> None:
    hits = 0
    for clean in CLEAN:
        sample = add(clean)
        at = changed(sample.image, clean.image)
        hits += any(overlap(r.box, at) > 0.3 for r in found(sample if with_masks else bare(sample)))
    assert hits >= 5


@masked
@pytest.mark.parametrize("add", [text, arrow, strip, border, patch])
def test_marks_of_the_film_are_not_metal(add: Callable[[Sample], Sample], with_masks: bool) -> None:
    samples = [add(hand(seed)) for seed in range(4)]
    assert [found(sample if with_masks else bare(sample)) for sample in samples] == [[]] * 4


def test_writing_on_the_body_is_not_metal() -> None:
    region = {**PLACE, "pixels": 300, "prominence": 0.5, "plateau": 30, "sharpness": 1.0, "contrast": 0.6}
    assert region_score({**region, "row": LETTERS - 1}, 0, Metal()) > 1
    assert region_score({**region, "row": LETTERS}, 0, Metal()) == 0


def test_a_ring_across_a_metacarpal_class_that_is_no_finger_is_an_implant() -> None:
    sample = thin_ring(hand(1))
    assert found(sample)[0].kind == "ring"
    assert found(sample, fingers=["Radius"])[0].kind == "implant"


def test_metal_far_from_any_mask_is_left_out() -> None:
    sample = thin_ring(hand(1))
    radius = bitmask.select_bits([HAND_BONES.index("Radius")], len(HAND_BONES))
    elsewhere = replace(sample, masks=bitmask.keep(sample.masks, radius), known=radius)
    assert found(elsewhere) == []
    assert found(elsewhere, reach=1) != []


@masked
@pytest.mark.parametrize("seed", range(6))
def test_plates_are_found_on_nearly_burnt_out_forearms_and_bone_is_none(seed: int, with_masks: bool) -> None:
    plate, clean = (hand(seed, outlier, size=768, burnt=218 + 3 * seed) for outlier in ("plate", "none"))
    at = changed(plate.image, clean.image)
    regions = found(plate if with_masks else bare(plate))
    assert max(overlap(region.box, at) for region in regions) > 0.4
    assert found(clean if with_masks else bare(clean)) == []


# Exposure, depth, noise, turns

TREATED = {
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "dark": lambda image: (image * 0.4).astype(np.uint8),
    "gamma 0.6": lambda image: (255 * (image / 255.0) ** 0.6).astype(np.uint8),
    "gamma 1.5": lambda image: (255 * (image / 255.0) ** 1.5).astype(np.uint8),
    "grain": add_grain,
    "blur": lambda image: cv2.GaussianBlur(image, (0, 0), 0.7),
    "JPEG": encode_jpeg,
    "on black": turn_on_film(0),
    "on gray": turn_on_film(110, -140),
    "on white": turn_on_film(255, 70),
    "16 bit": lambda image: image.astype(np.uint16) * 16,
    "colour": lambda image: np.dstack([image] * 3),
}


@pytest.mark.parametrize("treat", TREATED.values(), ids=TREATED.keys())
def test_treated_images_give_the_same_findings(treat: Callable[[Image], Image]) -> None:
    """Rings of three hands, and the same hands without: none is missed and none made up."""
    wrong = []
    for seed in range(3):
        for outlier in ("ring", "none"):
            sample = bare(hand(seed, outlier, size=640))
            wrong += [(seed, outlier)] * (
                bool(found(replace(sample, image=treat(sample.image)))) != (outlier == "ring")
            )
    assert wrong == []


def test_depth_does_not_matter() -> None:
    sample = hand(2, "implant")
    deep = replace(sample, image=sample.image.astype(np.uint16) * 257)
    assert features(deep) == features(sample)


def test_writing_brighter_than_all_else_hides_nothing() -> None:
    """12-bit data in 16 bits, with labels burnt in at the very top."""
    clean = bare(hand(1, "ring"))
    image = clean.image.astype(np.uint16) * 16
    cv2.putText(image, "LEFT", (20, 30), 0, 0.7, 65535, 2, cv2.LINE_AA)
    assert [region.box for region in found(replace(clean, image=image))] == [region.box for region in found(clean)]


# The filter's parts


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 5), (64, 48), (64, 48, 3), (64, 48, 4)])
@pytest.mark.parametrize("value", [0, 130, 255])
def test_even_images_hold_no_metal(shape: tuple[int, ...], value: int) -> None:
    image = np.full(shape, value, np.uint8)
    masks = np.zeros((*shape[:2], 4), np.uint8)
    assert found(Sample("even", image, masks, np.zeros(4, np.uint8))) == []


def test_decision_follows_the_thresholds_from_features_alone() -> None:
    sample = hand(4, "ring")
    measured = features(sample)
    assert canonical_json(measured)

    def decide(**params: Any) -> Any:
        facts = {"name": "a", "group": "", "split": "train", "width": SIZE, "height": SIZE, "metadata": {}}
        candidate: Any = SimpleNamespace(**facts, features=measured)
        return metal.decide([candidate], Metal.model_validate(params), CONTEXT)[0]

    flag = decide()
    assert flag is not None and flag.reason == "ring" and flag.score >= 1
    assert decide(contact=1.0) is None or decide(contact=1.0).score <= flag.score
    assert decide(plateau=1e6) is None
    assert decide(prominence=1.0) is None or decide(prominence=1.0).score < flag.score


def test_scores_grow_with_what_metal_is() -> None:
    base = {**PLACE, "pixels": 400, "prominence": 0.1, "plateau": 4.0, "sharpness": 0.92, "contrast": 0.15}
    assert region_score(base, 0, Metal()) >= 1
    for name, less in {"prominence": 0.03, "plateau": 1.0, "sharpness": 0.7, "contrast": 0.05, "contact": 0.1}.items():
        assert region_score({**base, name: less}, 0, Metal()) < 1, name
    assert region_score({**base, "pixels": 30}, 0, Metal()) < region_score(base, 0, Metal()), (
        "a speck must stand out more"
    )
    assert region_score(base, 0.2, Metal()) < 1, "and so must all where bone is burnt out"
    assert region_score({**base, "sides": 2}, 0, Metal()) == region_score({**base, "strip": 0.02}, 0, Metal()) == 0


def test_body_is_found_inside_a_frame_and_padding() -> None:
    image = np.full((400, 400), 90, np.uint8)
    image[60:340, 60:340] = 40
    rise = np.clip(1 - np.hypot(*(np.mgrid[:400, :400] - 200)) / 90, 0, 1)
    image = np.maximum(image, (40 + 200 * np.sqrt(rise)).astype(np.uint8))
    image[image == 40] = 40
    truth = rise > 0.02
    body = find_body(image).body > 0
    assert (body & truth).sum() / (body | truth).sum() > 0.9


def test_no_class_beyond_fingers_is_needed() -> None:
    """A class table without fingers: shape alone tells rings."""
    sample = thin_ring(hand(1))
    names = tuple(f"bone {c}" for c in range(len(HAND_BONES)))
    assert metal.measure is not None
    seen: Any = SimpleNamespace(fingers=Metal().fingers)
    measured = metal.measure(sample, seen, Context(names))
    assert find_metal(measured, Metal())[0].kind == "ring"

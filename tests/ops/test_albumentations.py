"""Transforms of Albumentations: exact masks, our own seeds, mistakes reported early, no import before it is needed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import class_names, make_sample
from provenance import make_traceable
from pydantic import ValidationError
from toybox import put_hand, write_recipe

from augforge import bitmask
from augforge.errors import RecipeError
from augforge.keys import canonical_json
from augforge.ops import OPS, Context
from augforge.ops.albumentations import Albumentations
from augforge.ops.bound import BoundOp
from augforge.ops.contract_samples import has_extra_bits
from augforge.planning.identity import op_identity
from augforge.recipe.recipe import load_recipe
from augforge.sample import Sample
from augforge.store.codec import pixel_digest

ALBU = OPS["albumentations"]
NEAREST = {"interpolation": 0}  # nearest, so that the image tells where each pixel came from

MOVING: list[dict[str, Any]] = [
    {"name": "HorizontalFlip"},
    {"name": "VerticalFlip"},
    {"name": "Transpose"},
    {"name": "D4"},
    {"name": "RandomRotate90"},
    {"name": "Rotate", "limit": 40, **NEAREST},
    {"name": "SafeRotate", "limit": 40, **NEAREST},
    {"name": "Affine", "rotate": [-40, 40], "scale": [0.5, 1.5], "shear": [-9, 9], **NEAREST},
    {"name": "Affine", "translate_percent": 0.4, "border_mode": 4, **NEAREST},
    {"name": "Perspective", **NEAREST},
    {"name": "ElasticTransform", "alpha": 60, "sigma": 6, **NEAREST},
    {"name": "GridDistortion", "distort_limit": 0.5, **NEAREST},
    {"name": "OpticalDistortion", "distort_limit": 0.5, **NEAREST},
    {"name": "ThinPlateSpline", **NEAREST},
    {"name": "GridElasticDeform", "num_grid_xy": [4, 4], "magnitude": 5, **NEAREST},
    {"name": "RandomGridShuffle"},
    {"name": "RandomCrop", "height": 30, "width": 40},
    {"name": "CenterCrop", "height": 30, "width": 40},
    {"name": "Crop", "x_min": 5, "y_min": 6, "x_max": 40, "y_max": 30},
    {"name": "RandomCropFromBorders"},
    {"name": "CropAndPad", "px": [-9, 9], "interpolation": 6},
    {"name": "Pad", "padding": 7},
    {"name": "PadIfNeeded", "min_height": 90, "min_width": 90},
    {"name": "Resize", "height": 20, "width": 30, "interpolation": 6},
    {"name": "Resize", "height": 96, "width": 70, "interpolation": 6},
    {"name": "RandomScale", "scale_limit": 0.5, "interpolation": 6},
    {"name": "LongestMaxSize", "max_size": 40, "interpolation": 6},
    {"name": "SmallestMaxSize", "max_size": 30, "interpolation": 6},
    {"name": "RandomResizedCrop", "size": [30, 30], "interpolation": 6},
    {"name": "RandomSizedCrop", "min_max_height": [20, 40], "size": [30, 30], "interpolation": 6},
    {"name": "CoarseDropout"},
    {"name": "ShiftScaleRotate", **NEAREST},
    {"name": "TimeReverse"},
    {
        "name": "Sequential",
        "transforms": [{"name": "HorizontalFlip", "p": 1}, {"name": "Affine", "rotate": 30, "p": 1, **NEAREST}],
    },
]


def transform_sample(sample: Sample, node: dict[str, Any], seed: int = 5, classes: int = 9) -> Sample:
    params = Albumentations.model_validate(node)
    (made,) = ALBU.apply([sample], {"seed": seed}, params, Context(class_names(classes)))
    assert isinstance(made, Sample)
    return made


def digest(node: dict[str, Any], seed: int = 5, **kind: Any) -> str:
    made = transform_sample(make_sample(seed=1, **kind), node, seed)
    return pixel_digest(made.image, made.masks)


# Masks


@pytest.mark.parametrize("node", MOVING, ids=canonical_json)
def test_planes_move_with_the_image(node: dict[str, Any]) -> None:
    """The image is moved by nearest too, so each of its pixels tells which bits belong under it."""
    changed = 0
    for classes, seed in product((1, 8, 9, 29, 70), (0, 1)):
        sample = make_traceable(classes=classes)
        made = transform_sample(sample, node, seed, classes)
        rows, columns = np.divmod(made.image.astype(int) - 1, 64)
        shown = made.image > 0
        expected = np.where(shown[..., None], sample.masks[np.where(shown, rows, 0), np.where(shown, columns, 0)], 0)
        if node["name"] == "CoarseDropout":  # what it hides, masks keep
            expected = sample.masks
        np.testing.assert_array_equal(made.masks, expected)
        assert not has_extra_bits(made.masks, classes)
        changed += made.image.shape != sample.image.shape or not np.array_equal(made.image, sample.image)
    assert changed


@pytest.mark.parametrize("node", [{"name": n} for n in ("Emboss", "Sharpen", "CLAHE", "RandomBrightnessContrast")])
def test_colour_transforms_leave_planes_alone(node: dict[str, Any]) -> None:
    sample = make_sample()
    made = transform_sample(sample, node)
    assert made.masks is sample.masks and made.placements[0].matrix == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    assert not np.array_equal(made.image, sample.image)


@pytest.mark.parametrize(
    "node",
    [
        {"name": "Resize", "height": 25, "width": 37},
        {"name": "Resize", "height": 100, "width": 130},
        {"name": "RandomScale", "scale_limit": [-0.6, -0.6]},
        {"name": "Affine", "rotate": [20, 20], "scale": 0.8},
        {"name": "Rotate", "limit": [33, 33]},
        {"name": "Perspective"},
    ],
    ids=canonical_json,
)
def test_a_landmark_stays_under_its_mask(node: dict[str, Any]) -> None:
    """A bright square with soft edges and its mask have one centre, and the matrix leads there."""
    image, mask = np.zeros((90, 120), np.uint8), np.zeros((90, 120), np.uint8)
    image[30:51, 40:61] = mask[30:51, 40:61] = 255
    sample = replace(make_sample(90, 120), image=image, masks=bitmask.from_masks([mask] + [mask * 0] * 8))
    for seed in range(5):
        made = transform_sample(sample, node, seed)
        bits = bitmask.class_mask(made.masks, 0)
        light = np.average(np.argwhere(made.image >= 0), axis=0, weights=made.image.ravel())
        np.testing.assert_allclose(np.argwhere(bits).mean(axis=0), light, atol=0.35)
        if node["name"] != "Perspective":
            x, y = np.array(made.placements[0].matrix) @ (50, 40, 1)
            np.testing.assert_allclose((y, x), light, atol=0.35)
            assert made.notes["matrix_residual_px"] < 1.5


@pytest.mark.parametrize("size", [(48, 64), (300, 200)])
def test_matrices_of_flips_are_exact(size: tuple[int, int]) -> None:
    made = transform_sample(make_sample(*size), {"name": "HorizontalFlip"})
    np.testing.assert_allclose(made.placements[0].matrix, [[-1, 0, size[1] - 1], [0, 1, 0]], atol=1e-5)
    assert made.notes == {"matrix_residual_px": pytest.approx(0, abs=1e-3)}


def test_distortions_report_how_far_the_matrix_is_off() -> None:
    made = transform_sample(make_sample(200, 200), {"name": "ElasticTransform", "alpha": 400, "sigma": 10})
    assert made.notes["matrix_residual_px"] > 3


def test_a_picture_moved_out_of_sight_has_no_matrix() -> None:
    made = transform_sample(make_sample(), {"name": "Affine", "translate_px": {"x": [500, 500], "y": [500, 500]}})
    assert made.notes == {"matrix_residual_px": None} and not made.masks.any()
    json.dumps(made.notes, allow_nan=False)


def half_of_each_block(masks: np.ndarray) -> np.ndarray:
    """Bits that at least two of each 2x2 pixels have, by adding up one mask for each of them."""
    bits = np.unpackbits(masks, axis=2).astype(int)
    blocks = bits.reshape(bits.shape[0] // 2, 2, bits.shape[1] // 2, 2, -1)
    return np.packbits(blocks.sum(axis=(1, 3)) >= 2, axis=2)


@pytest.mark.parametrize(
    "node",
    [
        {"name": "Resize", "height": 24, "width": 32},
        {"name": "LongestMaxSize", "max_size": 32},
        {"name": "SmallestMaxSize", "max_size": 24},
        {"name": "RandomScale", "scale_limit": [-0.5, -0.5]},
        {"name": "RandomResizedCrop", "size": [24, 32], "scale": [1, 1], "ratio": [4 / 3, 4 / 3]},
        {"name": "RandomSizedCrop", "min_max_height": [48, 48], "size": [24, 32], "w2h_ratio": 4 / 3},
        {"name": "Sequential", "transforms": [{"name": "Resize", "height": 24, "width": 32, "p": 1}]},
    ],
    ids=canonical_json,
)
@pytest.mark.parametrize("classes", [1, 9, 70])
def test_masks_shrink_by_area(node: dict[str, Any], classes: int) -> None:
    """By two, the nearest pixel is always the same one of four: masks and matrix were half a pixel off."""
    sample = make_sample(classes=classes)
    made = transform_sample(sample, node, classes=classes)
    np.testing.assert_array_equal(made.masks, half_of_each_block(sample.masks))
    np.testing.assert_allclose(made.placements[0].matrix, [[0.5, 0, -0.25], [0, 0.5, -0.25]], atol=1e-6)


def test_what_the_library_calls_slow_is_taken() -> None:
    sample = replace(make_sample(), image=np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8) + 1)
    made = transform_sample(sample, {"name": "PiecewiseAffine", "nb_rows": 2, "nb_cols": 2, **NEAREST})
    assert made.notes["matrix_residual_px"] > 0.5 and not np.array_equal(made.image, sample.image)
    assert {*made.masks.reshape(-1, 2).view(np.uint16).ravel().tolist()} <= {
        0,
        *np.ascontiguousarray(sample.masks).reshape(-1, 2).view(np.uint16).ravel().tolist(),
    }


def test_what_is_padded_first_shrinks_by_area() -> None:
    sample = make_sample()
    node = {"name": "CropAndPad", "px": [24, 32, 24, 32], "sample_independently": False}
    made = transform_sample(sample, node)
    np.testing.assert_array_equal(made.masks[12:36, 16:48], half_of_each_block(sample.masks))
    np.testing.assert_allclose(made.placements[0].matrix, [[0.5, 0, 15.75], [0, 0.5, 11.75]], atol=1e-6)
    assert made.masks.any(axis=2).sum() == made.masks[12:36, 16:48].any(axis=2).sum()


def test_only_what_may_shrink_masks_has_another_identity() -> None:
    ids = [op_identity(BoundOp("albumentations", Albumentations.model_validate(node)))[4:] for node in MOVING]
    resizing = ("Resize", "RandomScale", "MaxSize", "SizedCrop", "ResizedCrop", "CropAndPad")
    assert ids == [[1] if any(word in node["name"] for word in resizing) else [] for node in MOVING]
    nested = {"name": "OneOf", "transforms": [{"name": "Emboss"}, {"name": "Resize", "height": 9, "width": 9}]}
    assert Albumentations.model_validate(nested).revision() == 1


# Kinds of images


@pytest.mark.parametrize("name", ["Emboss", "CLAHE", "RandomBrightnessContrast", "HueSaturationValue", "InvertImg"])
def test_alpha_is_no_colour(name: str) -> None:
    sample = make_sample(channels=4)
    made = transform_sample(sample, {"name": name})
    np.testing.assert_array_equal(made.image[..., 3], sample.image[..., 3])
    rgb = replace(sample, image=np.ascontiguousarray(sample.image[..., :3]))
    np.testing.assert_array_equal(made.image[..., :3], transform_sample(rgb, {"name": name}).image)


def test_alpha_moves_with_the_picture() -> None:
    sample = make_sample(channels=4)
    made = transform_sample(
        sample, {"name": "Compose", "transforms": [{"name": "HorizontalFlip", "p": 1}, {"name": "InvertImg", "p": 1}]}
    )
    np.testing.assert_array_equal(made.image[..., 3], sample.image[:, ::-1, 3])
    np.testing.assert_array_equal(made.image[..., :3], 255 - sample.image[:, ::-1, :3])


@pytest.mark.parametrize("name", ["Emboss", "Sharpen", "RandomBrightnessContrast", "GaussianBlur", "HorizontalFlip"])
def test_16_bits_are_treated_like_8(name: str) -> None:
    image = cv2.GaussianBlur(make_sample(120, 160).image, (0, 0), 3)
    narrow = replace(make_sample(120, 160), image=image)
    wide = replace(narrow, image=image.astype(np.uint16) * 257)
    a, b = transform_sample(narrow, {"name": name}), transform_sample(wide, {"name": name})
    assert b.image.dtype == np.uint16
    assert np.abs(b.image / 257 - a.image).mean() < 1.5


@pytest.mark.parametrize("name", ["CLAHE", "Equalize", "RandomGamma", "Posterize", "ImageCompression"])
def test_what_fails_on_16_bits_says_what_helps(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} does not treat 16-bit images .*\{{op: normalise_intensity\}}"):
        transform_sample(make_sample(dtype="uint16"), {"name": name})


def test_colour_transforms_of_gray_images_are_errors_not_warnings() -> None:
    with pytest.raises(ValueError, match="HueSaturationValue cannot take uint8"):
        transform_sample(make_sample(), {"name": "HueSaturationValue"})


def test_a_crop_larger_than_the_picture_is_reported() -> None:
    with pytest.raises(ValueError, match=r"RandomCrop cannot take uint8 \(48, 64\)"):
        transform_sample(make_sample(), {"name": "RandomCrop", "height": 512, "width": 512})


# Chance


NODES: list[dict[str, Any]] = [
    {"name": "Emboss"},
    {"name": "ElasticTransform", "alpha": 40, "sigma": 5},
    {"name": "OneOf", "transforms": [{"name": "CLAHE"}, {"name": "Sharpen"}, {"name": "GaussNoise"}]},
    {"name": "SomeOf", "n": 2, "transforms": [{"name": "Emboss"}, {"name": "VerticalFlip"}, {"name": "Blur"}]},
    {"name": "CoarseDropout", "fill": "random"},
]


def test_same_seed_same_bytes_in_any_order_and_whatever_chance_did_elsewhere() -> None:
    first = {(canonical_json(node), seed): digest(node, seed) for node in NODES for seed in range(3)}
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002  the library must not care
    for node, seed in reversed(list(product(NODES, range(3)))):
        assert digest(node, seed) == first[canonical_json(node), seed]
    assert all(len({first[canonical_json(node), seed] for seed in range(3)}) > 1 for node in NODES)


def test_same_seed_same_bytes_in_another_process() -> None:
    code = "import json, sys, test_albumentations as t; print(json.dumps([t.digest(n, 4) for n in t.NODES[::-1]]))"
    folder = Path(__file__).parent
    path = os.pathsep.join(
        [str(folder), str(folder.parent), str(folder.parent / "support"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, cwd=folder.parent
    )
    assert json.loads(done.stdout) == [digest(node, 4) for node in NODES[::-1]]


def test_the_number_of_planes_changes_no_image() -> None:
    for node in MOVING:
        images = {transform_sample(make_traceable(classes=c), node, 3, c).image.tobytes() for c in (1, 9, 70)}
        assert len(images) == 1, node


def test_transforms_of_one_tree_draw_apart() -> None:
    """The library seeds all alike, so that of two flips at p 0.5 both or none would come."""
    node = {"name": "Compose", "transforms": [{"name": "HorizontalFlip", "p": 0.5}, {"name": "VerticalFlip", "p": 0.5}]}
    found: Counter[tuple[float, float]] = Counter()
    for seed in range(400):
        (a, _, _), (_, b, _) = np.round(transform_sample(make_sample(20, 20), node, seed).placements[0].matrix).tolist()
        found[a, b] += 1
    assert len(found) == 4 and min(found.values()) > 60


def test_the_outermost_p_is_the_steps() -> None:
    for name in ("HorizontalFlip", "Emboss"):  # their own default is 0.5
        before = make_sample().image
        assert all(
            not np.array_equal(transform_sample(make_sample(), {"name": name}, seed).image, before)
            for seed in range(12)
        )


def test_children_keep_their_own_p() -> None:
    node = {"name": "Sequential", "transforms": [{"name": "InvertImg", "p": 0.25}]}
    before = make_sample().image
    changed = [not np.array_equal(transform_sample(make_sample(), node, seed).image, before) for seed in range(400)]
    assert np.mean(changed) == pytest.approx(0.25, abs=0.08)


# Mistakes


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("name: Embos", "no transform 'Embos'. Did you mean 'Emboss'?"),
        ("name: Emboss, alhpa: [0.2, 0.5]", "Emboss has no parameter 'alhpa'. Did you mean 'alpha'?"),
        ("name: Emboss, alpha: [0.2, 7]", "Emboss: alpha Value error, All values in (0.2, 7.0) must be >= 0 and <= 1"),
        ("name: Resize, height: 20", "Resize: width Field required"),
        ("name: OneOf, transforms: [{name: CLAHE}, {name: Sharpn}]", "no transform 'Sharpn'. Did you mean 'Sharpen'?"),
        ("name: OneOf, transforms: [{name: Sharpen, alfa: 1}]", "OneOf: Sharpen has no parameter 'alfa'"),
        ("name: OneOf, transforms: [CLAHE]", "expected a mapping with the transform's `name`, got 'CLAHE'"),
        ("name: OneOf, transforms: CLAHE", "`transforms` is no list"),
        ("alpha: 3", "name"),
        ("name: Morphological", "Morphological computes with mask values; bit-planes cannot go through it"),
        ("name: Affine, rotate: 20, mask_interpolation: 1", "Affine computes with mask values"),
        ("name: Rotate, fill_mask: 255", "Rotate computes with mask values"),
        ("name: Blur, blur_limit: [4, 6]", "Blur: blur_limit: Non-zero kernel sizes must be odd"),
        ("name: SomeOf, n: 3, transforms: [{name: Blur}, {name: CLAHE}]", "`n` is greater than number of transforms"),
        ("name: Normalize", "Normalize gives float32 images; samples are uint8 or uint16. Leave that to the trainer"),
        ("name: ToFloat", "ToFloat gives float32 images"),
        ("name: MaskDropout", "MaskDropout cannot take"),
        ("name: BBoxSafeRandomCrop", "BBoxSafeRandomCrop cannot take"),
        ("name: FDA", "FDA requires ['fda_metadata']"),
        ("name: HistogramMatching", "HistogramMatching requires"),
        ("name: OneOf, transforms: [{name: CLAHE}, {name: Normalize}]", "Normalize gives float32"),
        ("name: DualTransform", "DualTransform cannot take"),
    ],
)
def test_mistakes_are_reported_with_their_line(tmp_path: Path, step: str, message: str) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path, ["{op: hflip}", f"{{op: albumentations, {step}}}"])
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe)
    assert f"{recipe}:8" in str(error.value) and message in str(error.value)
    assert "pydantic" not in str(error.value)


def test_good_recipes_are_checked_without_a_warning(tmp_path: Path) -> None:
    steps = [f"{{op: albumentations, {json.dumps(node)[1:-1]}}}" for node in [*MOVING, *NODES]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_recipe(write_recipe(tmp_path / "r.yaml", tmp_path, steps)).steps) == len(steps)


def test_parameters_are_those_of_the_transform() -> None:
    with pytest.raises(ValidationError, match="Emboss has no parameter"):
        Albumentations.model_validate({"name": "Emboss", "surely_unknown": 1})
    assert ALBU.exact(Albumentations(name="Emboss")) and not ALBU.exact(Albumentations(name="HorizontalFlip"))


# The import


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_nothing_imports_the_library_before_it_is_used(tmp_path: Path) -> None:
    put_hand(tmp_path / "data", 1, np.full((16, 24), 60, np.uint8), ("a", "b"))
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", ["{op: hflip}"], classes="[a, b]", split="{}")
    python(
        "import sys, augforge.ops, augforge.cli; from augforge.engine.builder import build\n"
        f"build({str(recipe)!r}, {str(tmp_path / 'out')!r}, dry_run=True)\n"
        "assert not {'albumentations', 'torch', 'scipy'} & set(sys.modules), 'imported'"
    )


def test_no_network_and_no_warning() -> None:
    """The library asks PyPI for newer versions when imported, unless forbidden; here any connection is an error."""
    done = python(
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from augforge.ops.albumentations import Albumentations\n"
        "Albumentations(name='Emboss')\n"
        "import os; assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'",
        NO_ALBUMENTATIONS_UPDATE="",
    )
    assert done == ""

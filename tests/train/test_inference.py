"""Predictions lie on the image's own pixels, whatever size, scale, view or window the network saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from oracles import Bright, predictor, sample_of, shapes, spec, truth
from torch import Tensor, nn

from augforge import bitmask
from augforge.errors import TrainError
from augforge.lineage import Lineage, Root
from augforge.ops import Context
from augforge.ops.core import OPS
from augforge.sample import IDENTITY, Sample
from augforge.train.net.device import Precision
from augforge.train.prediction.inference import Prediction, Window


def stripes(width: int, height: int, block: int, upright: bool) -> np.ndarray:
    """Gray (H, W): bright and dark stripes whose widths are multiples of ``block``."""
    along = width if upright else height
    line = np.repeat([0, 255, 255, 0, 0, 0, 255, 0, 255, 255, 255, 0], block)
    line = np.resize(line, along).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(line if upright else line[:, None], (height, width)))


def found(prediction: Prediction, thresholds: float = 0.5) -> np.ndarray:
    """Predicted classes, bool (H, W, C)."""
    count = len(prediction.probabilities)
    planes = prediction.planes([thresholds] * count)
    return np.stack([*bitmask.to_masks(planes, count)], axis=-1).astype(bool)


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize(
    ("size", "into", "block"),
    [
        ((64, 64), (64, 64), 1),  # as it is
        ((256, 128), (64, 64), 4),  # shrunk, margins above and below
        ((96, 192), (64, 96), 2),  # shrunk, margins left and right
        ((48, 16), (96, 64), 2),  # enlarged
        ((256, 112), (128, 96), 2),
    ],
)
def test_masks_lie_on_the_image_to_the_pixel(
    size: tuple[int, int], into: tuple[int, int], block: int, upright: bool
) -> None:
    image = stripes(*size, block, upright)
    [prediction] = predictor(Bright(), ["bright"], spec(*into)).predict([sample_of(image)])
    assert (prediction.width, prediction.height) == size
    assert prediction.probabilities.shape == (1, into[1], into[0])
    np.testing.assert_array_equal(found(prediction), truth(image))


def test_planes_are_the_layers_at_their_thresholds() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    [prediction] = predictor(Bright(), "abc", spec(64, 64, 3)).predict([sample_of(image)])
    layers = [*prediction.layers()]
    assert all(layer.dtype == np.float32 and layer.shape == (40, 56) for layer in layers)
    thresholds = [0.2, 0.5, 0.9]
    masks = [*bitmask.to_masks(prediction.planes(thresholds), 3)]
    for mask, layer, threshold in zip(masks, layers, thresholds, strict=True):
        np.testing.assert_array_equal(mask, layer >= threshold)


def test_the_border_of_a_letterbox_does_not_reach_into_the_image() -> None:
    class Inverse(Bright):
        def forward(self, images: Tensor) -> Tensor:
            return -super().forward(images)

    image = np.full((30, 100), 255, np.uint8)  # its rim is bright, the border is black
    [prediction] = predictor(Inverse(), ["dark"], spec(64, 64)).predict([sample_of(image)])
    assert prediction.probabilities.max() > 0.9  # the border is dark indeed
    assert next(prediction.layers()).max() < 0.1


def test_images_of_different_sizes_are_predicted_in_order_and_in_batches() -> None:
    read: list[int] = []

    def samples() -> Iterator[Sample]:
        for number in range(7):
            read.append(number)
            yield sample_of(np.full((20 + number, 40), 40 * number, np.uint8), f"n{number}")

    model = Bright()
    for number, prediction in enumerate(predictor(model, "a", spec(32, 32), batch_size=3).predict(samples())):
        assert prediction.name == f"n{number}"
        assert prediction.height == 20 + number
        assert found(prediction).all() == (40 * number >= 128)
        assert len(read) <= number + 3
    assert len(model.shown) == 7


def test_pairs_give_each_prediction_its_sample() -> None:
    samples = [sample_of(np.full((8, 8), n, np.uint8), f"n{n}") for n in range(5)]
    pairs = [*predictor(Bright(), "a", spec(32, 32), batch_size=2).pairs(samples)]
    assert [sample for sample, _ in pairs] == samples
    assert [prediction.name for _, prediction in pairs] == [sample.name for sample in samples]


class Placed(nn.Module):
    """Class 0 on the left half, class 1 on the right, and a slope that no flip keeps."""

    def forward(self, images: Tensor) -> Tensor:
        n, _, h, w = images.shape
        x, y = torch.linspace(0, 1, w).expand(n, h, w), torch.linspace(0, 1, h)[:, None].expand(n, h, w)
        left = (x < 0.5).float() * 6 - 3
        return torch.stack([left + x * 0.5 + y, -left + x * 0.5 + y], dim=1)


def test_flips_are_undone_and_averaged() -> None:
    image = sample_of(np.zeros((32, 64), np.uint8))
    [plain] = predictor(Placed(), "ab", spec(64, 32)).predict([image])
    [flipped] = predictor(Placed(), "ab", spec(64, 32), tta=["hflip", "vflip"], swap=()).predict([image])
    p = plain.probabilities
    np.testing.assert_allclose(flipped.probabilities, (p + p[..., ::-1] + p[:, ::-1]) / 3, atol=1e-6)


def test_left_and_right_are_exchanged_back() -> None:
    image, names = sample_of(np.zeros((32, 64), np.uint8)), ("left-lung", "right-lung")
    [plain] = predictor(Placed(), names, spec(64, 32)).predict([image])
    [swapped] = predictor(Placed(), names, spec(64, 32), tta=["hflip"], swap=[names]).predict([image])
    np.testing.assert_array_equal(found(swapped), found(plain))
    [mixed] = predictor(Placed(), names, spec(64, 32), tta=["hflip"], swap=()).predict([image])
    assert (found(mixed) != found(plain)).any()


def test_flips_change_nothing_where_each_pixel_is_judged_alone() -> None:
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)
    [plain] = predictor(Bright(), "abc", spec(64, 64, 3)).predict([sample_of(image)])
    [flipped] = predictor(Bright(), "abc", spec(64, 64, 3), tta=["hflip", "vflip"]).predict([sample_of(image)])
    np.testing.assert_allclose(flipped.probabilities, plain.probabilities, atol=1e-6)


@pytest.mark.parametrize(("name", "quarters"), [("turn90", 1), ("turn180", 2), ("turn270", 3)])
def test_turns_are_undone(name: str, quarters: int) -> None:
    """Nothing changes where pixels are judged alone; where places count, the turned image's answer is turned back."""
    image = np.random.default_rng(1).integers(0, 256, (50, 90), np.uint8)
    model = Bright()
    [plain] = predictor(model, ["bright"], spec(96, 64)).predict([sample_of(image)])
    [turned] = predictor(model, ["bright"], spec(96, 64), tta=[name]).predict([sample_of(image)])
    np.testing.assert_allclose(turned.probabilities, plain.probabilities, atol=1e-6)
    black, views = sample_of(np.zeros((32, 64), np.uint8)), [(64, 32) if quarters == 2 else (32, 64)]
    [upright] = predictor(Placed(), "ab", spec(64, 32)).predict([black])
    [other] = predictor(Placed(), "ab", spec(*views[0])).predict([black])
    [mean] = predictor(Placed(), "ab", spec(64, 32), tta=[name]).predict([black])
    back = np.rot90(other.probabilities, -quarters, (1, 2))
    np.testing.assert_allclose(mean.probabilities, (upright.probabilities + back) / 2, atol=1e-6)


def test_brightness_is_added_to_the_normalised_image() -> None:
    added: list[float] = []

    class Watch(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            added.append(float(images.mean()))
            return images

    image = np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8)
    [_] = predictor(Watch(), "a", spec(32, 32), tta=["brightness+0.25", "brightness-0.5"]).predict([sample_of(image)])
    assert np.diff(added) == pytest.approx([0.25, -0.75], abs=1e-5)


@pytest.mark.parametrize("upright", [True, False])
def test_scaled_views_are_scaled_back(upright: bool) -> None:
    model, image = Bright(), stripes(128, 64, 8, upright)
    options = {"tta": ["scale0.5", "scale1.5"]}
    [prediction] = predictor(model, ["bright"], spec(128, 96), **options).predict([sample_of(image)])
    assert model.shown == [(128, 96), (64, 64), (192, 128)]  # 96 * 0.5 = 48 becomes 64, 144 becomes 128
    np.testing.assert_array_equal(found(prediction), truth(image))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tta": ["hflp"]}, "Did you mean 'hflip'"),
        ({"tta": ["scale9"]}, "0.25 to 4"),
        ({"tta": ["turn45"]}, "Did you mean 'turn"),
        ({"tta": ["brightness1.2"]}, "Did you mean 'brightness"),
        ({"tta": ["vflip", "vflip"]}, "expected each augmentation once"),
        ({"tta": ["hflip"], "swap": [("left-lung", "lung")]}, "'lung', which the model does not predict"),
        ({"tta": ["hflip"], "swap": [("heart", "left-lung"), ("left-lung", "right-lung")]}, "left-lung twice"),
        ({"tta": ["hflip"], "swap": [("heart", "heart")]}, "heart twice"),
    ],
)
def test_views_that_do_not_fit_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainError, match=words):
        predictor(Bright(), ("left-lung", "right-lung", "heart"), spec(32, 32), **options)


@pytest.mark.parametrize("window", [Window(), Window((64, 32), 0.5), Window((128, 192), 0.25), Window(overlap=0.0)])
def test_windows_find_what_the_whole_image_holds(window: Window) -> None:
    model, image = Bright(), shapes(150, 117, 3)
    [prediction] = predictor(model, "abc", spec(32, 32, 3), window=window).predict([sample_of(image)])
    np.testing.assert_array_equal(found(prediction), truth(image))
    assert set(model.shown) == {window.size or (32, 32)}
    assert prediction.probabilities.dtype == np.float16


def test_windows_of_one_image_after_the_other() -> None:
    images = [shapes(70 + 10 * n, 50, n) for n in range(3)]
    samples = [sample_of(image, f"n{n}") for n, image in enumerate(images)]
    predictions = [*predictor(Bright(), "abc", spec(32, 32, 3), window=Window()).predict(samples)]
    assert [prediction.name for prediction in predictions] == ["n0", "n1", "n2"]
    for image, prediction in zip(images, predictions, strict=True):
        np.testing.assert_array_equal(found(prediction), truth(image))


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize(("scale", "into"), [(0.5, (75, 58)), (2.0, (300, 232)), (None, (96, 96))])
def test_windows_at_another_scale(scale: float | None, into: tuple[int, int], upright: bool) -> None:
    image = stripes(150, 116, 6, upright)
    window = Window((32, 32), 0.25, scale)
    [prediction] = predictor(Bright(), "a", spec(96, 96), window=window).predict([sample_of(image)])
    assert prediction.probabilities.shape == (1, *into[::-1])
    wrong = found(prediction) != truth(image)
    allowed = 0 if scale is not None else 0.02  # 150 to 96 puts edges between pixels
    assert wrong.mean() <= allowed


def test_the_middle_of_a_window_counts_most() -> None:
    class Numbered(nn.Module):
        count = 0

        def forward(self, images: Tensor) -> Tensor:
            answers = [torch.full((1, *image.shape[1:]), [-9.0, 9.0][i % 2]) for i, image in enumerate(images)]
            return torch.stack(answers)

    window = Window((32, 32), 0.5)
    image = sample_of(np.zeros((32, 48), np.uint8))
    [prediction] = predictor(Numbered(), "a", spec(32, 32), window=window, batch_size=2).predict([image])
    row = prediction.probabilities[0, 16].astype(np.float64)
    assert np.all(np.diff(row) >= -1e-3)
    assert row[:16].max() < 0.01
    assert row[32:].min() > 0.99
    assert row[[23, 24]].mean() == pytest.approx(0.5, abs=0.01)
    assert row[19] < 0.25 < 0.75 < row[28]


def test_windows_alone_are_normalised_alone() -> None:
    seen: list[Tensor] = []

    class Remembers(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.extend(images)
            return images

    image = np.random.default_rng(5).integers(0, 60, (64, 128), np.uint8)
    image[:, 64:] += 150
    image[:32, :32] = 7  # flat
    for scale in (1.0, None):
        seen.clear()
        window = Window((32, 32), 0.0, scale)
        [*_] = predictor(Remembers(), "a", spec(128, 64, 1, "sample"), window=window).predict([sample_of(image)])
        means, deviations = (
            np.array([float(value) for value in values]) for values in zip(*_moments(seen), strict=True)
        )
        if scale is None:
            assert means[[1, 3]] == pytest.approx([means[1], means[1] + (means[3] - means[1])])
            assert abs(means).max() > 0.5
        else:
            np.testing.assert_allclose(means, 0, atol=1e-3)
            np.testing.assert_allclose(deviations, [0, *[1] * 7], atol=1e-2)


def _moments(images: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(image.mean(), image.std(correction=0)) for image in images]


@pytest.mark.parametrize(
    ("values", "words"), [(((30, 32),), "multiples of 32"), ((None, 1.0), "overlap by 1"), ((None, 0.2, 0), "scale 0")]
)
def test_windows_that_make_no_sense_are_refused(values: tuple[Any, ...], words: str) -> None:
    with pytest.raises(TrainError, match=words):
        Window(*values)


def moved(op: str, image: np.ndarray, **params: object) -> tuple[Sample, Root]:
    """The image after an op, and where it lies in there."""
    before = Lineage.of_source("source", image.shape[1], image.shape[0]).roots[0]
    chosen = OPS[op]
    checked, ctx = chosen.params(**params), Context(("none",))
    drawn = chosen.draw(np.random.default_rng(0), [sample_of(image)], checked, ctx) if chosen.draw else None
    [made] = chosen.apply([sample_of(image)], drawn, checked, ctx)
    assert isinstance(made, Sample)
    return made, before.transform(made.placements[0])


def test_seen_from_a_mirrored_source_to_the_pixel() -> None:
    image = shapes(96, 64, 7)
    sample, root = moved("hflip", image)
    [prediction] = predictor(Bright(), "abc", spec(96, 64, 3)).predict([sample])
    back = prediction.in_source(root)
    assert (back.name, back.width, back.height) == ("source", 96, 64)
    np.testing.assert_array_equal(found(back), truth(image))
    assert (found(prediction) != truth(image)).any()


def test_seen_from_a_turned_and_scaled_source() -> None:
    image = shapes(300, 200, 8)
    sample, root = moved("rotate", image, angles=[33.0], fit="expand")
    [prediction] = predictor(Bright(), "abc", spec(192, 192, 3)).predict([sample])
    back = found(prediction.in_source(root))
    for c in range(3):
        both = back[..., c] & truth(image)[..., c]
        assert both.sum() / (back[..., c] | truth(image)[..., c]).sum() > 0.94
        shift = np.argwhere(back[..., c]).mean(axis=0) - np.argwhere(truth(image)[..., c]).mean(axis=0)
        assert abs(shift).max() < 0.2


def test_nothing_is_predicted_where_the_source_was_not_seen() -> None:
    everywhere = np.full((40, 60), 255, np.uint8)
    root = Root("source", ((1.0, 0.0, -20.0), (0.0, 1.0, -10.0)), (0, 0, 32, 32), (60, 40))
    [prediction] = predictor(Bright(), "a", spec(32, 32)).predict([sample_of(everywhere[:32, :32], "window")])
    back = found(prediction.in_source(root))[..., 0]
    shown = np.zeros((40, 60), bool)
    shown[10:40, 20:52] = True
    np.testing.assert_array_equal(back, shown)


def test_autocast_computes_in_low_precision_and_gives_float32() -> None:
    seen: list[torch.dtype] = []

    class Convolves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, 1)

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = self.convolution(images)
            seen.append(found.dtype)
            return found

    from augforge.train.prediction.inference import Predictor

    cases: list[tuple[Precision, torch.dtype]] = [("fp32", torch.float32), ("bf16", torch.bfloat16)]
    for precision, dtype in cases:
        low = Predictor(Convolves(), ("a",), spec(32, 32), torch.device("cpu"), precision)
        [prediction] = low.predict([sample_of(np.zeros((8, 8), np.uint8))])
        assert seen[-1] == dtype
        assert prediction.probabilities.dtype == np.float32


def test_16_bit_images_and_transparency_are_seen() -> None:
    deep = np.zeros((32, 32), np.uint16)
    deep[:, 16:] = 60000
    clear = np.zeros((32, 32, 4), np.uint8)
    clear[:16, :, 0] = 255
    [one] = predictor(Bright(), "a", spec(32, 32)).predict([sample_of(deep)])
    [two] = predictor(Bright(), "abc", spec(32, 32, 3)).predict([sample_of(clear)])
    np.testing.assert_array_equal(found(one)[..., 0], deep > 0)
    np.testing.assert_array_equal(found(two), clear[..., :3] > 0)
    assert one.matrix == IDENTITY

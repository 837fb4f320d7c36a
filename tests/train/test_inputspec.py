"""What goes into the network: decided once from the data, the same for every sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_sample

torch = pytest.importorskip("torch")

from toybox import made, put_hand  # noqa: E402

from augforge import bitmask  # noqa: E402
from augforge.errors import TrainError  # noqa: E402
from augforge.train.config import TrainConfig, load_config  # noqa: E402
from augforge.train.data.inputspec import InputSpec  # noqa: E402
from augforge.train.data.trainingset import TrainingSet  # noqa: E402
from augforge.train.rundata import choose_input_spec  # noqa: E402


class Sized:
    """A training set as far as the input depends on it."""

    def __init__(self, *sizes: tuple[int, int], colour: bool = False) -> None:
        self.sizes, self.has_colour = np.array(sizes), colour


def spec_of(samples: Any, device: str = "cpu", **data: Any) -> InputSpec:
    return choose_input_spec(TrainConfig(data=data), samples, device)


@pytest.mark.parametrize(
    ("sizes", "device", "wanted"),
    [
        ([(2048, 2048)], "cuda", (512, 512)),
        ([(2048, 2048)], "mps", (512, 512)),
        ([(2048, 2048)], "cpu", (128, 128)),
        ([(100, 100)], "cpu", (128, 128)),
        ([(64, 64)], "cpu", (64, 64)),
        ([(65, 65)], "cpu", (96, 96)),
        ([(400, 300)], "cuda", (416, 320)),
        ([(300, 400)], "cuda", (320, 416)),
        ([(3000, 1000)], "cpu", (128, 64)),
        ([(3000, 10)], "cpu", (128, 32)),
        ([(200, 100), (100, 200), (150, 100)], "cuda", (224, 160)),  # the median picture is half as wide again as high
    ],
)
def test_size_by_the_data(sizes: list[tuple[int, int]], device: str, wanted: tuple[int, int]) -> None:
    assert spec_of(Sized(*sizes), device).size == wanted


def test_size_by_the_configuration() -> None:
    assert spec_of(Sized((50, 50)), size=96).size == (96, 96)
    assert spec_of(Sized((50, 50)), size=(96, 64)).size == (96, 64)


def test_channels() -> None:
    assert [spec_of(Sized((9, 9), colour=colour)).channels for colour in (False, True)] == [1, 3]
    assert [spec_of(Sized((9, 9), colour=True), channels=channels).channels for channels in (1, 3)] == [1, 3]


@pytest.mark.parametrize(
    ("text", "line", "near"),
    [
        ("size: 500", 2, "500 .* Take 480 or 512"),
        ("size: [64, 20]", 2, "20 .* Take 32"),
        ("crop: 33", 2, "33 .* Take 32 or 64"),
    ],
)
def test_multiples_of_32(text: str, line: int, near: str, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(f"data:\n  {text}\n")
    with pytest.raises(TrainError, match=rf"train\.yaml:{line}: data\.{text.split(':', maxsplit=1)[0]}: {near}"):
        load_config(tmp_path / "train.yaml")


def test_a_crop_larger_than_the_samples() -> None:
    assert spec_of(Sized((50, 50)), size=64, crop=(64, 32)).size == (64, 64)
    with pytest.raises(TrainError, match=r"data.crop is \[64, 96\], but samples are scaled to \[64, 64\]"):
        spec_of(Sized((50, 50)), size=64, crop=(64, 96))


def test_json() -> None:
    spec = InputSpec((64, 32), 3, "encoder", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    assert InputSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


# ---- pixels ----------------------------------------------------------------------------------------------------------


def test_fit_says_where_pixels_went() -> None:
    sample = make_sample(height=60, width=40, classes=9)
    fitted = InputSpec((64, 64), 1).fit(sample)
    (sx, _, left), (_, sy, top) = fitted.placements[0].matrix
    assert fitted.image.shape == (64, 64)
    assert (sx, sy) == (43 / 40, 64 / 60)
    assert (round(left, 3), round(top, 3)) == (round((sx - 1) / 2 + 10, 3), round((sy - 1) / 2, 3))
    assert not fitted.image[:, :10].any()
    areas = [bitmask.areas_and_boxes(each.masks, 9)[0] * scale for each, scale in ((sample, sx * sy), (fitted, 1))]
    np.testing.assert_allclose(areas[1], areas[0], rtol=0.15, atol=12)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("stored", "channels"), [(1, 1), (1, 3), (3, 1), (3, 3), (4, 1), (4, 3)])
def test_per_sample_normalisation(dtype: str, stored: int, channels: int) -> None:
    image = make_sample(dtype=dtype, channels=stored).image
    pixels = InputSpec((64, 48), channels).pixels(image)
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.float32, (channels, 48, 64))
    assert abs(float(pixels.mean())) < 1e-4
    assert abs(float(pixels.std(correction=0)) - 1) < 1e-4
    colours = image[..., None] if image.ndim == 2 else image[..., :3]
    if stored == 1 or channels == 3:
        wanted = (colours - colours.mean()) / colours.std()
        np.testing.assert_allclose(
            pixels.numpy(), np.moveaxis(np.broadcast_to(wanted, (48, 64, channels)), -1, 0), atol=1e-4
        )


def test_a_picture_of_one_gray() -> None:
    pixels = InputSpec((4, 4), 1).pixels(np.full((4, 4), 77, np.uint8))
    assert not pixels.any()


@pytest.mark.parametrize(("dtype", "most"), [("uint8", 255), ("uint16", 65535)])
def test_unit_and_encoder(dtype: str, most: int) -> None:
    image = np.array([[0, most], [most // 5, most // 3]], dtype)
    values = np.array([[0, 1], [0.2, 1 / 3]])
    np.testing.assert_allclose(InputSpec((2, 2), 1, "unit").pixels(image)[0], values, atol=1e-6)
    mean, std = (0.5, 0.4, 0.25), (0.2, 0.5, 1.0)
    pixels = InputSpec((2, 2), 3, "encoder", mean, std).pixels(image)
    np.testing.assert_allclose(pixels, [(values - m) / s for m, s in zip(mean, std, strict=True)], atol=1e-5)


def test_encoder_normalisation_is_asked_of_the_model(tmp_path: Path) -> None:
    put_hand(tmp_path / "hands", 1, np.zeros((16, 24), np.uint8), ["a"])
    dataset = made(tmp_path, tmp_path / "hands", split="{}", classes="[a]")[1]
    spec = spec_of(TrainingSet([dataset]), channels=3, normalise="encoder")
    assert spec.mean == pytest.approx((0.485, 0.456, 0.406))  # ImageNet's
    assert spec.std == pytest.approx((0.229, 0.224, 0.225))


def test_masks_shrink_by_area_on_their_way_in() -> None:
    """Half of each 2x2 block or more; the nearest pixel would move labels by half a pixel."""
    sample = make_sample(height=128, width=64, classes=9)
    fitted = InputSpec((32, 64), 1).fit(sample)
    for c in range(9):
        blocks = bitmask.class_mask(sample.masks, c).reshape(64, 2, 32, 2).sum(axis=(1, 3))
        np.testing.assert_array_equal(bitmask.class_mask(fitted.masks, c), blocks >= 2)
    assert fitted.placements[0].matrix == ((0.5, 0.0, -0.25), (0.0, 0.5, -0.25))

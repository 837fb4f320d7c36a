"""Tables of predictions: what is written comes back, to the pixel; contests' CSV too."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from augforge import bitmask
from augforge.errors import TrainError
from augforge.sources.raster.runs import parse_runs, runs_mask
from augforge.train.prediction.submission import write_csv
from augforge.train.prediction.table import (
    ImagePrediction,
    Predictions,
    TableHeader,
    encode_image,
    probability_floor,
    write_predictions,
)

CLASSES = ("lung", "heart", "nothing")
LIMITS = (0.5, 0.7, 0.4)
ABOUT = TableHeader(CLASSES, LIMITS, {"run": "made"})
SPARSE = TableHeader(CLASSES, LIMITS, {"run": "made"}, probabilities=True)


def layers(seed: int, height: int = 23, width: int = 41) -> np.ndarray:
    """Probabilities (3, H, W); the last class is nowhere likely."""
    rng = np.random.default_rng(seed)
    found = rng.uniform(0, 1, (3, height, width)).astype(np.float32)
    found[2] *= probability_floor(LIMITS[2])
    return found


def predicted(name: str, seed: int, header: TableHeader = SPARSE, file: str | None = None) -> ImagePrediction:
    keep = header.probabilities
    classes = ((layer >= t, t, layer if keep else None) for layer, t in zip(layers(seed), LIMITS, strict=True))
    return encode_image(name, file or f"{name}.png", classes)


def write(path: Path, names: list[str], header: TableHeader = SPARSE) -> list[dict[str, Any]]:
    return write_predictions(path, header, (predicted(name, i, header) for i, name in enumerate(names)))


@pytest.mark.parametrize("header", [ABOUT, SPARSE])
def test_masks_come_back_to_the_pixel(tmp_path: Path, header: TableHeader) -> None:
    names = [f"P/{i:03d}" for i in range(400)]  # 1200 rows: more than a row group
    write(tmp_path / "out.parquet", names, header)
    table = Predictions(tmp_path / "out.parquet")
    assert len(table) == 400
    assert table.header == header
    for i, (name, image) in enumerate(zip(names, table, strict=True)):
        assert (image.name, image.file, image.width, image.height) == (name, f"{name}.png", 41, 23)
        expected = layers(i) >= np.array(LIMITS, np.float32)[:, None, None]
        np.testing.assert_array_equal([*bitmask.to_masks(image.planes(), 3)], expected)
        np.testing.assert_array_equal(image.mask(1), expected[1])
        assert image.areas == expected.sum(axis=(1, 2)).tolist()
        assert list(image.thresholds) == list(LIMITS)


def test_probabilities_above_the_floor_come_back_in_steps_of_a_255th(tmp_path: Path) -> None:
    write(tmp_path / "out.parquet", ["a", "b"])
    for i, image in enumerate(Predictions(tmp_path / "out.parquet")):
        for c, layer in enumerate(layers(i)):
            found = image.probabilities(c)
            if c == 2:
                assert found is None
                continue
            assert found is not None
            (x0, y0, x1, y1), levels = found
            back = np.zeros(layer.shape)
            back[y0:y1, x0:x1] = levels / 255
            np.testing.assert_allclose(
                back, np.where(layer > probability_floor(LIMITS[c]), layer, 0), atol=0.5 / 255 + 1e-6
            )


def test_the_floor_is_low_where_the_threshold_is() -> None:
    assert [probability_floor(threshold) for threshold in (0.9, 0.5, 0.2)] == pytest.approx([0.3, 0.3, 0.12])


def test_any_tool_reads_the_table(tmp_path: Path) -> None:
    write(tmp_path / "out.parquet", ["a", "b"])
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["name"], row["class"]) for row in rows] == [(name, c) for name in "ab" for c in CLASSES]
    for row, layer, limit in zip(rows, [*layers(0), *layers(1)], LIMITS * 2, strict=True):
        mask = layer >= limit
        runs = parse_runs(row["rle"], row["width"] * row["height"], 1, "here")
        np.testing.assert_array_equal(runs_mask(runs, row["height"], row["width"], "row"), mask)
        assert (row["area"], row["threshold"]) == (mask.sum(), limit)
        if mask.any():
            y, x = np.nonzero(mask)
            assert row["box"] == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        else:
            assert (row["rle"], row["box"], row["extent"], row["probabilities"]) == ("", None, None, None)


def test_what_was_found_is_counted(tmp_path: Path) -> None:
    found = write(tmp_path / "out.parquet", ["a", "b"])
    pixels = [int((layers(0)[c] >= t).sum() + (layers(1)[c] >= t).sum()) for c, t in enumerate(LIMITS)]
    keys = ("name", "threshold", "images", "pixels")
    expected = zip(CLASSES, LIMITS, (2, 2, 0), pixels, strict=True)
    assert found == [dict(zip(keys, row, strict=True)) for row in expected]


def test_names_must_ascend_and_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    write(path, ["a", "b"])
    before = path.read_bytes()
    for names, words in ((["a", "a"], "twice"), (["b", "a"], "after b")):
        with pytest.raises(TrainError, match=f"image a comes {words}"):
            write(path, names)
    with pytest.raises(ZeroDivisionError):
        write_predictions(path, ABOUT, _fails())
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def _fails() -> Iterator[ImagePrediction]:
    yield predicted("a", 0)
    raise ZeroDivisionError


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("name,class")
    pq.write_table(pq.ParquetFile(_plain(tmp_path)).read(), tmp_path / "other.parquet")
    for name, words in (("text", "is no table"), ("other.parquet", "is no table"), ("none", "does not exist")):
        with pytest.raises(TrainError, match=words):
            Predictions(tmp_path / name)


def _plain(folder: Path) -> Path:
    """A Parquet file of something else."""
    import pyarrow as pa

    pq.write_table(pa.table({"name": ["a"]}), folder / "plain.parquet")
    return folder / "plain.parquet"


def test_damage_and_missing_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    write(path, ["a", "b"])
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 5), tmp_path / "short.parquet")
    with pytest.raises(TrainError, match="image b are not one for each class"):
        [*Predictions(tmp_path / "short.parquet")]
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(TrainError, match="damaged"):
        [*Predictions(path)]


def test_a_contests_csv_decodes_to_the_predicted_masks(tmp_path: Path) -> None:
    write(tmp_path / "out.parquet", ["P1/one", "P2/two"])
    write_csv(tmp_path / "out.parquet", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    assert head == ["image_name", "class", "rle"]
    assert [row[:2] for row in rows] == [[f"{n}.png", c] for n in ("one", "two") for c in CLASSES]
    planes = np.concatenate([layers(i) >= np.array(LIMITS)[:, None, None] for i in range(2)])
    for (_, _, rle), mask in zip(rows, planes, strict=True):
        found = runs_mask(parse_runs(rle, mask.size, 1, "here"), mask.shape[0], mask.shape[1], "row")
        np.testing.assert_array_equal(found, mask)
    assert rows[2][2] == ""


def test_image_names_in_the_csv(tmp_path: Path) -> None:
    write(tmp_path / "apart.parquet", ["P1/one", "P2/two"])
    write(tmp_path / "alike.parquet", ["P1/one", "P2/one"])

    def names(table: str, **options: Any) -> list[str]:
        write_csv(tmp_path / table, tmp_path / "out.csv", **options)
        with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
            return [row["image_name"] for row in csv.DictReader(stream)][::3]

    assert names("apart.parquet") == ["one.png", "two.png"]
    assert names("apart.parquet", image_name="path") == ["P1/one.png", "P2/two.png"]
    assert names("alike.parquet") == ["P1/one.png", "P2/one.png"]
    with pytest.raises(TrainError, match=r"2 images have the file name one\.png.*--image-name path"):
        names("alike.parquet", image_name="file")

"""The phantom data set on disk, in the layout of the contest's archive."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import openpyxl

from augforge.errors import AugforgeError
from augforge.files import open_named, storage_error, writing
from augforge.phantom.anatomy import Traits
from augforge.phantom.hand import Hand, render_hand

MIN_SIZE = 64
META_COLUMNS = ("ID", "나이", "성별", "키(신장)", "몸무게(체중)")
TRUTH_COLUMNS = ("person", "image", "hand", "outlier", "tilt_deg", "bent")

_FIRST_STAMP = 1_661_000_000_000  # image names look like the millisecond of the exposure
_EPOCH = datetime(2023, 1, 1)
_TRAITS, _LEFT, _RIGHT, _CASES, _FORM = 9, 1, 2, 8, 7  # last numbers of the seeds, one per use and none of them 0

# One person in so many has a special picture; the seed chooses the first one.
_RING_EVERY, _IMPLANT_EVERY, _IMPLANT_WITHIN, _TURN_EVERY, _BENT_EVERY = 6, 18, 12, 7, 9


@dataclass(frozen=True)
class PhantomSummary:
    """What was written: numbers of persons and images, including test persons, and of special images."""

    path: Path
    persons: int
    images: int
    outliers: int
    turned: int
    bent: int


@dataclass(frozen=True)
class Case:
    """How one image is special."""

    hand: str  # "L" or "R"
    outlier: str = "none"  # or "ring", "implant"
    turned: bool = False
    bent: bool = False


def write_phantom(
    out: str | Path,
    *,
    persons: int = 12,
    size: int = 1024,
    seed: int = 7,
    test_persons: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PhantomSummary:
    """Write a data set of synthetic hand radiographs, two hands per person, to a new folder.

    The same arguments give the same bytes, and the files of a person do not depend on the number of persons. The folder
    appears only when it is complete.

    Args:
        out: a new or empty folder.
        persons: number of persons with outlines, 1 to 999 with the test persons.
        size: side of the square pictures in pixels, at least 64.
        seed: 0 or more.
        test_persons: number of further persons, whose pictures have no outlines.
        progress: called with (images done, all images).

    Raises:
        AugforgeError: a number out of range, or a folder that is not empty.
    """
    _check(persons, size, seed, test_persons)
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AugforgeError(
            f"{target} exists and is not empty; the phantom needs a new or empty folder."
            " Choose another folder or delete this one."
        )
    with writing(target.absolute()):
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    try:
        summary = _write_all(building, target, persons, test_persons, size, seed, progress)
        building.chmod(0o777 & ~_umask())  # mkdtemp makes a private folder
        building.replace(target)  # takes the place of an empty folder too
    except OSError as error:
        path = str(error.filename or target).replace(str(building), str(target))
        raise storage_error(Path(path), error) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)  # if it is still there, it is not whole
    return summary


def cases(seed: int, person: int) -> tuple[Case, Case]:
    """How the left and the right image of a person are special; depends only on the seed and the person."""
    offsets = np.random.default_rng([seed, _CASES]).integers(
        0, [_RING_EVERY, _IMPLANT_WITHIN, _TURN_EVERY, _BENT_EVERY]
    )
    ring, implant = person % _RING_EVERY == offsets[0], person % _IMPLANT_EVERY == offsets[1] + 1
    turn = (person + offsets[2]) % _TURN_EVERY
    bent = person % _BENT_EVERY == offsets[3]
    side = int(np.random.default_rng([seed, person, _CASES]).integers(0, 2))
    made = []
    for index, hand in enumerate("LR"):
        first = index == side
        outlier = "ring" if ring and first else "implant" if implant and not first else "none"
        turned = turn == 0 or (turn in (2, 4) and first)
        made.append(Case(hand, outlier, bool(turned), bool(bent and not first)))
    return made[0], made[1]


def _check(persons: int, size: int, seed: int, test_persons: int) -> None:
    if persons < 1 or test_persons < 0:
        raise AugforgeError(
            f"{persons} persons and {test_persons} test persons were asked for; at least 1 and 0 are needed."
            " Ask for more persons."
        )
    if persons + test_persons > 999:
        raise AugforgeError(
            f"{persons + test_persons} persons were asked for; the layout's three-digit names end at 999."
            " Ask for fewer."
        )
    if size < MIN_SIZE:
        raise AugforgeError(f"The size is {size} pixels; a hand needs at least {MIN_SIZE}. Choose a larger size.")
    if seed < 0:
        raise AugforgeError(f"The seed is {seed}; it must not be negative. Choose 0 or more.")


def _write_all(
    root: Path,
    target: Path,
    persons: int,
    test_persons: int,
    size: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> PhantomSummary:
    people: list[tuple[object, ...]] = []
    truth: list[tuple[object, ...]] = []
    special = {"outliers": 0, "turned": 0, "bent": 0}
    total = persons + test_persons
    for person in range(1, total + 1):
        traits = Traits.draw(np.random.default_rng([seed, person, _TRAITS]))
        people.append(_meta_row(seed, person, traits))
        for case in cases(seed, person):
            stem = _stem(seed, person, case.hand)
            hand = _render(seed, person, size, traits, case)
            _write_image(root, person, stem, hand, labelled=person <= persons)
            tilt, bent = f"{hand.tilt_deg + 0.0:.2f}", "yes" if case.bent else "no"
            truth.append((f"ID{person:03d}", f"{stem}.png", case.hand, case.outlier, tilt, bent))
            special["outliers"] += case.outlier != "none"
            special["turned"] += case.turned
            special["bent"] += case.bent
            if progress is not None:
                progress(len(truth), 2 * total)
    _write(root / "meta_data.xlsx", _workbook(people))
    _write_truth(root / "truth.csv", truth)
    return PhantomSummary(path=target, persons=total, images=len(truth), **special)


def _render(seed: int, person: int, size: int, traits: Traits, case: Case) -> Hand:
    rng = np.random.default_rng([seed, person, _LEFT if case.hand == "L" else _RIGHT])
    return render_hand(rng, size, traits, hand=case.hand, outlier=case.outlier, turned=case.turned, bent=case.bent)


def _stem(seed: int, person: int, hand: str) -> str:
    """A name that is unique in the data set: each image has an interval of 100 milliseconds of its own."""
    number = 2 * person + (hand == "R")
    jitter = int(np.random.default_rng([seed, number, _FORM]).integers(0, 100))
    return f"image{_FIRST_STAMP + seed % 10_000 * 1_000_000 + number * 100 + jitter}"


def _write_image(root: Path, person: int, stem: str, hand: Hand, *, labelled: bool) -> None:
    folder = root / ("train" if labelled else "test")
    picture = folder / "DCM" / f"ID{person:03d}" / f"{stem}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", hand.image, [cv2.IMWRITE_PNG_COMPRESSION, 2])
    if not done:
        raise AugforgeError(f"OpenCV could not encode {picture.name} as PNG. Check the installed opencv package.")
    _write(picture, data.tobytes())
    if labelled:
        outlines = folder / "outputs_json" / f"ID{person:03d}" / f"{stem}.json"
        outlines.parent.mkdir(parents=True, exist_ok=True)
        _write(outlines, json.dumps(_annotation(stem, hand)).encode())


def _annotation(stem: str, hand: Hand) -> dict[str, object]:
    height, width = hand.image.shape
    return {
        "annotations": [
            {
                "id": f"{stem}-{number}",
                "type": "poly_seg",
                "attributes": {},
                "label": label,
                "points": polygon.tolist(),
            }
            for number, (label, polygon) in enumerate(hand.polygons.items())
        ],
        "attributes": {},
        "filename": f"{stem}.png",
        "metadata": {"width": width, "height": height},
    }


def _meta_row(seed: int, person: int, traits: Traits) -> tuple[object, ...]:
    sex = "남" if traits.male else "여"
    stray = np.random.default_rng([seed, person, _FORM]).random() < 0.3  # as in the contest's own file
    return person, traits.age, ("_x0008_" if stray else "") + sex, traits.height_cm, traits.weight_kg


def _workbook(rows: list[tuple[object, ...]]) -> bytes:
    """An xlsx file whose bytes depend only on the rows: openpyxl's time stamps are replaced by a fixed one."""
    book = openpyxl.Workbook()
    book.properties.created = _EPOCH
    sheet = book.active
    for row in (META_COLUMNS, *rows):
        sheet.append(row)
    written = io.BytesIO()
    book.save(written)
    fixed = io.BytesIO()
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as result:
        for name in source.namelist():
            content = source.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", f"{_EPOCH.isoformat()}Z".encode(), content)
            result.writestr(zipfile.ZipInfo(name, _EPOCH.timetuple()[:6]), content, zipfile.ZIP_DEFLATED)
    return fixed.getvalue()


def _write_truth(path: Path, rows: list[tuple[object, ...]]) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(TRUTH_COLUMNS)
    writer.writerows(rows)
    _write(path, file.getvalue().encode())


def _write(path: Path, data: bytes) -> None:
    with open_named(path) as stream:
        stream.write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Sources that were written for version 0.1 still work, and are told what is called otherwise now."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from makedata import block, put_image, put_pixels

from augforge.cache.filecache import FileCache
from augforge.sources.formats.mask_folder import MaskFolder
from augforge.sources.scan.scanning import Scan

MODULES = {
    "augforge.sources.scanning": ["Scan", "IMAGES"],
    "augforge.sources.masks": ["read_mask", "read_values"],
    "augforge.sources.records": ["name_of", "record_of", "folder_or_name", "inside"],
    "augforge.sources.loading": ["listed_image", "loaded"],
    "augforge.sources.scan.records": ["record_of", "inside"],
    "augforge.store.filecache": ["FileCache", "file_sha256"],
}

EXAMPLE = '''
#: Images beside one folder of PNG masks for each class.

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from augforge import bitmask
from augforge.errors import SourceError
from augforge.sample import Sample
from augforge.sources.classes import class_table
from augforge.sources.core import Listing, Record, Source
from augforge.sources.loading import listed_image, loaded
from augforge.sources.masks import read_mask
from augforge.sources.records import name_of, record_of
from augforge.sources.scanning import Scan
from augforge.store.filecache import FileCache


class MaskFolders(Source):
    """Lists and loads images whose masks lie in one folder a class, 0 outside and anything else inside."""

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                      source.path
  images/p01-left.png      the group is what stands before the first '-'
  masks/lung/p01-left.png  one folder a class, one mask an image"""

    format: Literal["mask-folders"] = "mask-folders"

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.need_folder("images")
        classes = class_table(self, scan.folders("masks"), self.root / "masks").names
        images = scan.unique((name_of(place, "images"), place) for place in scan.walk("images", {".png"}))
        facts = scan.images(images.items())
        masks = scan.images((name, place) for name in images for place in _masks(name, classes))
        drawn = {name: [masks.get(mask, {}).get("sha256") for mask in _masks(name, classes)] for name in images}
        records = (
            record_of(name, place, facts[place], drawn[name], group=name.split("-")[0])
            for name, place in images.items()
            if place in facts and None not in drawn[name]
        )
        return scan.listing(records, classes)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image, count = listed_image(self.root, record), len(classes)
        try:
            planes = bitmask.from_masks((read_mask(self.root / mask) for mask in _masks(record.name, classes)), count)
            return loaded(record, image, planes, bitmask.all_bits(count))
        except ValueError as error:
            raise SourceError(f"{record.name} in {self.root}: {error}. Draw its masks again.") from error


def _masks(name: str, classes: Sequence[str]) -> list[str]:
    return [f"masks/{label}/{name}.png" for label in classes]
'''
"""The source in CONTRIBUTING.md of version 0.1, apart from its first line."""


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in MODULES.items() for name in names])
def test_old_names_are_found_with_a_warning(module: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{module}.{name} is called augforge.* now"):
        assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_other_names_are_not_there(module: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = importlib.import_module(module).nothing


def test_old_names_of_a_scan(tmp_path: Path) -> None:
    scan: Any = Scan(MaskFolder(path=str(tmp_path)), FileCache())
    with pytest.warns(DeprecationWarning, match=r"Scan.wrong is called Scan.bad_sample now"):
        scan.wrong("a", "broken", "a is broken")
    with pytest.warns(DeprecationWarning, match=r"Scan.bad is called"):
        assert scan.bad == {"a"}
    assert scan.problems == ["a is broken"]
    with pytest.raises(AttributeError, match="'Scan' object has no attribute 'nothing'"):
        _ = scan.nothing


def test_the_old_example_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old_mask_folders.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    put_image(tmp_path / "data/images/p01-left.png")
    put_pixels(tmp_path / "data/masks/lung/p01-left.png", block(1, 1, 5, 5))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DeprecationWarning)
        source = importlib.import_module("old_mask_folders").MaskFolders(path=str(tmp_path / "data"))
        listing = source.scan(FileCache())
        sample = source.load(listing.records[0], listing.classes)
    del sys.modules["old_mask_folders"]
    assert (listing.classes, sample.name, sample.group, int(sample.masks.sum())) == (("lung",), "p01-left", "p01", 16)
    assert len({str(warning.message) for warning in told}) >= 10
    assert {Path(warning.filename).name for warning in told} == {"old_mask_folders.py"}

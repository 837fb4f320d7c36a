"""The source reads what NumPy wrote, and names a damaged file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sources import SOURCES


def test_masks_come_back(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    (tmp_path / "p01").mkdir()
    np.savez(tmp_path / "p01/a.npz", image=np.full((4, 6), 7, np.uint8), lung=mask, heart=~mask)
    source = SOURCES["npz"].model_validate({"format": "npz", "path": str(tmp_path), "class_map": {"heart": None}})
    listing = source.scan(FileCache())
    assert listing.classes == ("lung",)
    (record,) = listing.records
    assert (record.name, record.group) == ("p01/a", "p01")
    sample = source.load(record, listing.classes)
    assert np.array_equal(bitmask.class_mask(sample.masks, 0).astype(bool), mask)


def test_a_mask_that_is_not_bool_loses_no_label_in_silence(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((4, 6), np.uint8), lung=np.full((4, 6), 0.5))
    source = SOURCES["npz"].model_validate({"format": "npz", "path": str(tmp_path)})
    with pytest.raises(SourceError, match="lung is no bool array"):
        source.scan(FileCache())


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no archive")
    source = SOURCES["npz"].model_validate({"format": "npz", "path": str(tmp_path)})
    with pytest.raises(SourceError, match=r"a\.npz is damaged"):
        source.scan(FileCache())

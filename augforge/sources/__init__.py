"""Adapters that list annotated data sets and load their samples. One adapter per file; this dict names them."""

from __future__ import annotations

from augforge.sources.core import Listing, Record, Records, Refused, Source
from augforge.sources.formats.coco.source import Coco
from augforge.sources.formats.csv_table import CsvTable
from augforge.sources.formats.dataset import AugforgeDataset
from augforge.sources.formats.datumaro.source import Datumaro
from augforge.sources.formats.dicom.source import Dicom
from augforge.sources.formats.hand_bone import HandBone
from augforge.sources.formats.image_folder import ImageFolder
from augforge.sources.formats.index_mask import IndexMask
from augforge.sources.formats.labelme.source import Labelme
from augforge.sources.formats.mask_folder import MaskFolder
from augforge.sources.formats.union import Union
from augforge.sources.formats.volume.source import VolumeSlices
from augforge.sources.formats.yolo.source import Yolo

SOURCES: dict[str, type[Source]] = {
    "coco": Coco,
    "csv": CsvTable,
    "dataset": AugforgeDataset,
    "datumaro": Datumaro,
    "dicom": Dicom,
    "hand-bone": HandBone,
    "image-folder": ImageFolder,
    "index-mask": IndexMask,
    "labelme": Labelme,
    "mask-folder": MaskFolder,
    "union": Union,
    "volume": VolumeSlices,
    "yolo": Yolo,
}

__all__ = [
    "SOURCES",
    "AugforgeDataset",
    "Coco",
    "CsvTable",
    "Datumaro",
    "Dicom",
    "HandBone",
    "ImageFolder",
    "IndexMask",
    "Labelme",
    "Listing",
    "MaskFolder",
    "Record",
    "Records",
    "Refused",
    "Source",
    "Union",
    "VolumeSlices",
    "Yolo",
]

"""Adapters that list annotated data sets and load their samples. One adapter a file; this dict names them."""

from __future__ import annotations

from augforge.sources.coco import Coco
from augforge.sources.core import Listing, Record, Records, Refused, Source
from augforge.sources.csv_table import CsvTable
from augforge.sources.dataset import AugforgeDataset
from augforge.sources.datumaro import Datumaro
from augforge.sources.dicom import Dicom
from augforge.sources.hand_bone import HandBone
from augforge.sources.image_folder import ImageFolder
from augforge.sources.index_mask import IndexMask
from augforge.sources.labelme import Labelme
from augforge.sources.mask_folder import MaskFolder
from augforge.sources.union import Union
from augforge.sources.volume import VolumeSlices
from augforge.sources.yolo import Yolo

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

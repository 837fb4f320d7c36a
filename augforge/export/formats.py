"""The export formats by name. One module per format."""

from __future__ import annotations

from augforge.export.coco import Coco, write_coco
from augforge.export.core import Format
from augforge.export.csv_table import Csv, write_csv
from augforge.export.index_mask import IndexMask, write_index_mask
from augforge.export.labelme import LabelMe, write_labelme
from augforge.export.mask_folder import MaskFolder, write_mask_folder
from augforge.export.webdataset import WebDataset, write_webdataset
from augforge.export.yolo import Yolo, write_yolo

FORMATS: dict[str, Format] = {
    "coco": Format(Coco, write_coco),
    "csv": Format(Csv, write_csv),
    "index-mask": Format(IndexMask, write_index_mask, marks_unlabelled="sample"),
    "labelme": Format(LabelMe, write_labelme, marks_unlabelled="sample"),
    "mask-folder": Format(MaskFolder, write_mask_folder, marks_unlabelled="split"),
    "webdataset": Format(WebDataset, write_webdataset, order="id"),
    "yolo": Format(Yolo, write_yolo, marks_unlabelled="sample"),
}

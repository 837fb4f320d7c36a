"""Classification: the folder that an image lies in is its class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from augforge.cache.filecache import FileCache
from augforge.errors import nearest, some
from augforge.sample import NO_CLASSES, Sample
from augforge.sources.classes import report_alike_labels
from augforge.sources.core import Listing, PhotoSource, Record, Refused, source
from augforge.sources.loading import load_labelled_image
from augforge.sources.scan.class_folders import shared_folders
from augforge.sources.scan.own_splits import is_split_name
from augforge.sources.scan.records import make_record, name_of
from augforge.sources.scan.scanning import Scan


class LabelFolder(BaseModel):
    """Which folder of an image's path is its class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Annotated[int, Field(ge=1)] = Field(description="counted from the image upwards, 1 is the one it lies in")


@source
class ImageFolder(PhotoSource):
    """Reads classified images: the folder is the class, the 1 in a label vector.

    ``classes`` and ``class_map`` are about the labels; without ``classes`` these are the folders, sorted. There are no
    masks: the class table is ``ignore`` alone, unknown everywhere. A folder that ``class_map`` leaves out is refused.

    The usual group is the folder within the class's folder, so that images of a patient stay together whatever their
    class; an image without such a folder is a group of its own. Where domains or sites stand above the classes, as in
    Office-Home (Art/Alarm_Clock/1.jpg), ``label: {folder: 1}`` takes the folder that the image lies in for its class.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          source.path
  cat/one.jpg                  one folder a class, and any folders in it; .jpg, .png, .bmp, .webp, .tif
  dog/P01/two.jpg              or train/cat/one.jpg, val/dog/P01/two.jpg, test/..."""

    format: Literal["image-folder"] = "image-folder"
    label: LabelFolder | None = Field(
        None,
        description="{folder: n}: the n-th folder above the image is its class, counted from 1; null takes the first "
        "folder of its name, below those of splits",
        examples=[{"folder": 1}],
    )

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.require_folder("")
        images = scan.places_by_name((name_of(place), place) for place in scan.walk(""))
        depth = self._class_depth(images, scan)
        folders = {name: parts for name in images if (parts := self._class_folders(name, depth, scan))}
        self._report_repeated_folders(scan, folders)
        labelled = sorted({folder for folder, *_ in folders.values()})
        report_alike_labels(scan, labelled)
        scan.note_labels(labelled)
        found = self.classes_of(labelled)
        labels = found if self.classes is None else self.classes
        facts = scan.image_facts(images.items())
        records = [
            self._make_record(name, images[name], facts[images[name]], parts, labels, scan)
            for name, parts in folders.items()
            if images[name] in facts
        ]
        return scan.make_listing((record for record in records if record), NO_CLASSES, labels)

    def _class_depth(self, names: Iterable[str], scan: Scan) -> int:
        """Index of the folder in names that is the class: 0, or 1 if the first folders are splits."""
        folders = [parts for name in names if (parts := name.split("/")[:-1])]
        tops = sorted({parts[0] for parts in folders})
        splits = [top for top in tops if is_split_name(top)]
        below = sorted({parts[1] for parts in folders if len(parts) > 1})
        if self.own_splits and splits and len(splits) < len(tops):
            others = some([top for top in tops if top not in splits], 3)
            fact = f"{self.root}: {some(splits)} are named as splits are, {others} are not"
            expected = "folders of classes, or folders of splits with those of the classes in each"
            scan.source_error(
                f"{fact}; expected {expected}. Move them, or set own_splits: false where all are classes."
            )
            scan.raise_problems()
        if self.own_splits and len(tops) == 1 and not splits and below and all(map(is_split_name, below)):
            scan.source_error(f"{self.root} holds {tops[0]}/ alone, and splits in it. Set source.path to {tops[0]}.")
        return int(bool(splits) and len(splits) == len(tops))

    def _class_folders(self, name: str, depth: int, scan: Scan) -> list[str]:
        """The class's folder and those below it; an image outside of all classes is a bad sample and has none."""
        folders = name.split("/")[depth:-1]
        if self.label is not None:
            folders = folders[-self.label.folder :] if len(folders) >= self.label.folder else []
        if not folders:
            fact = f"{scan.root / name} lies in no folder of a class; expected {'its split, then ' * depth}its class"
            scan.bad_sample(name, "no class folder", f"{fact}. Move it, or correct source.path.")
        return folders

    def _report_repeated_folders(self, scan: Scan, folders: Mapping[str, list[str]]) -> None:
        """Tell if the same folders repeat in every class: then they may be the classes, and those above domains."""
        inner: dict[str, set[str]] = {}
        for class_, *below in folders.values():
            inner.setdefault(class_, set()).update(below[:1])
        repeated = shared_folders(inner) if self.label is None else []
        if repeated:
            scan.find(
                "the same folders in every class",
                f"every class ({some(sorted(inner), 3)}) holds the same folders ({some(repeated, 3)}), which count as "
                "groups",
                "if those are the classes, set 'label: {folder: 1}', the folder that an image lies in",
                repeated,
            )

    def _make_record(
        self, name: str, place: str, facts: dict[str, Any], folders: list[str], labels: tuple[str, ...], scan: Scan
    ) -> Record | None:
        folder, *inner = folders
        label = self.class_of(folder)
        if label is None:
            scan.refused.append(Refused(name, "class left out", folder))
            return None
        if label not in labels:
            hint = f"Map it: 'class_map: {{{folder}: CLASS}}', or null to leave it out."
            fact = f"{scan.root / place}: folder '{folder}' is not in classes.{nearest(label, labels)} {hint}"
            scan.bad_sample(name, "unknown class", fact)
            return None
        data = {"label": labels.index(label), "of": len(labels)}
        return make_record(name, place, facts, label, group="/".join(inner) or None, data=data, drawn=[label])

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        return load_labelled_image(self.root, record, classes)

"""What ops read and return: Sample, an image with its masks; Drop, a refusal; Placement, where an input went."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # for annotations alone: planning knows samples, and must not load OpenCV
    import PIL.Image

    from augforge.bitmask import Planes
    from augforge.lineage import SampleLineage

Image = NDArray[Any]
"""uint8 or uint16: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA."""
Label = NDArray[np.float32]
Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]
Box = tuple[int, int, int, int]

SPLITS = ("train", "val", "test")
"""The names of splits. They become names of files and folders, so there are no others."""

IGNORE = "ignore"
"""The reserved class of pixels that count neither in training nor in evaluation: VOC's void, COCO's crowds."""

NO_CLASSES = (IGNORE,)
"""The class table of samples that have labels and no masks: a table cannot be empty, and nobody knows this class."""

IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def weights_or_none(label: Label) -> list[float | None]:
    """The entries of a label vector as JSON has them: None for one that is unknown."""
    return [None if math.isnan(weight) else weight for weight in label.tolist()]


def is_reflection(matrix: Matrix) -> bool:
    """Whether a matrix mirrors: its determinant is negative."""
    (a, b, _), (d, e, _) = matrix
    return a * e - b * d < 0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an input of an op lies in its output.

    Attributes:
        matrix: 2x3, input pixel (x, y, 1) to output pixel (x, y); pixel centres are at integers.
        clip: x0, y0, x1, y1 in output pixels, half-open: the input shows nowhere else.
        input: index of the op's input, 0 for the anchor.
        mirrored: whether the input shows mirrored, where the matrix, which may be a fit, does not tell; else None.
    """

    matrix: Matrix
    clip: Box
    input: int = 0
    mirrored: bool | None = None

    @property
    def is_mirrored(self) -> bool:
        """Whether the input shows mirrored: a reflection has a negative determinant, whatever its axis."""
        return is_reflection(self.matrix) if self.mirrored is None else self.mirrored


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image with its class masks.

    Attributes:
        name: the stable key, unique in a dataset.
        image: uint8 or uint16, (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA.
        masks: bit-planes, uint8 (H, W, P); see `augforge.bitmask`.
        known: uint8 (P,), one bit per class, set if somebody labelled it: absent and unlabelled are different.
        group: what must stay in one split, usually the patient.
        split: ``train``, ``val`` or ``test``.
        label: float32 (L,) classification vector, NaN for a label that is unknown here, or None.
        metadata: JSON-like values of the sample, such as the patient's age.
        placements: where the op's inputs went; set by `derive`, read by lineage.
        mark: distinguishes several outputs of one op in their names, such as ``@512,0``.
        notes: what the op computed rather than drew, such as ``{"angle_deg": 12.5}``; JSON-like.
        read_lineage: reads `lineage`, for a sample of a dataset.
    """

    name: str
    image: Image
    masks: Planes
    known: NDArray[np.uint8]
    group: str = ""
    split: str = "train"
    label: Label | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    placements: tuple[Placement, ...] = ()
    mark: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    read_lineage: Callable[[], SampleLineage] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_image(self.image)
        planes = self.known.shape[0]
        if self.masks.dtype != np.uint8 or self.masks.shape != (*self.image.shape[:2], planes):
            raise ValueError(
                f"masks are {self.masks.dtype} {self.masks.shape}; expected uint8 {(*self.image.shape[:2], planes)}"
            )

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.image.shape[0])

    @property
    def lineage(self) -> SampleLineage:
        """How the sample was made: steps with what they drew, roots, parents. It is read when it is asked for.

        Raises:
            ValueError: the sample was not read from a dataset.
            DatasetError: the index of the dataset is gone or damaged.
        """
        if self.read_lineage is None:
            raise ValueError(f"sample '{self.name}' was not read from a dataset, and only there lineage is stored")
        return self.read_lineage()

    def plot(self, classes: Sequence[str] | None = None, *, legend: bool = True) -> PIL.Image.Image:
        """A picture of the sample with its classes in colour, which a notebook shows and `save` writes.

        Args:
            classes: names of the classes, such as those of the dataset; by default their numbers.
            legend: a title and a legend around the picture; without them it has the pixels of the image.
        """
        picture: PIL.Image.Image = notebook().plot_sample(self, classes, legend=legend)
        return picture

    def _repr_html_(self) -> str:
        return str(notebook().sample_html(self))

    def derive(
        self,
        image: Image,
        masks: Planes,
        *,
        matrix: Matrix = IDENTITY,
        placements: tuple[Placement, ...] | None = None,
        mark: str = "",
        notes: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Sample:
        """The sample that an op makes of this one: new pixels, and where the inputs went.

        Args:
            image: the new image.
            masks: the new bit-planes, same height and width.
            matrix: 2x3, old pixel to new pixel, for an op with one input, which may fill the whole output.
            placements: one per input that shows, for an op with several; instead of ``matrix``.
            mark: distinguishes several outputs of one op in their names.
            notes: what the op computed, for the lineage.
            changes: other fields to replace, such as ``label`` or ``known``.
        """
        if placements is None:
            placements = (Placement(matrix, (0, 0, image.shape[1], image.shape[0])),)
        made: dict[str, Any] = {"placements": placements, "mark": mark, "notes": notes or {}, "read_lineage": None}
        return replace(self, image=image, masks=masks, **made, **changes)


@dataclass(frozen=True, slots=True)
class Drop:
    """An op's refusal to make a sample; ``reason`` is a few words, by which refusals are counted."""

    reason: str


def notebook() -> Any:
    """The module that shows samples and datasets in notebooks; named and imported late, since readers draw nothing."""
    return import_module("augforge.report.notebook")


def check_image(image: NDArray[Any]) -> None:
    """Raise ValueError unless the image is uint8 or uint16 and (H, W), (H, W, 3) or (H, W, 4)."""
    shape_fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
    if image.dtype not in (np.uint8, np.uint16) or not shape_fits or 0 in image.shape:
        raise ValueError(
            f"image is {image.dtype} {image.shape}; expected uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4)"
        )

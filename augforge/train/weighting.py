"""Settings of what counts: weights of pixels in the losses, and the figure that chooses the best network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Monitor = Literal[
    "auto",
    "mean_dice",
    "mean_iou",
    "present_dice",
    "present_iou",
    "pooled_dice",
    "pooled_iou",
    "pooled_dice_background",
    "pooled_iou_background",
    "miou",
    "overlap_dice",
    "overlap_iou",
]


class WeightsConfig(BaseModel):
    """How much pixels count in the losses bce, focal and cross_entropy; the others know only that 0 counts nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="weights of classes of masks by name, 1 for others; cross_entropy takes the true class's; of "
        "labels there is class_weights of each loss",
    )
    border: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="weight added between objects that nearly touch, such as 10: w0 of U-Net's paper; objects are the "
        "connected parts of each class",
    )
    border_sigma: Annotated[float, Field(gt=0)] = Field(5.0, description="pixels of the network's input: its sigma")
    regions: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="classes that are not learnt but weigh the pixels that they mark, such as uncertain: 0.2",
    )

    @property
    def of_pixels(self) -> bool:
        """Whether pixels of a sample weigh differently."""
        return self.border is not None or bool(self.regions)

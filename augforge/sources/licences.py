"""Licences of annotated data: what a recipe or the data themselves say, and under which key it travels with samples."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(strip_whitespace=True)]


class Licence(BaseModel):
    """The licence of images and annotations: its name, where its text is, and whom to name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="such as CC BY 4.0"
    )
    url: Text = Field("", description="where its text is")
    attribution: Text = Field("", description="whom to name")

    @property
    def key(self) -> str:
        """What stands for it beside each sample: the name, and whom to name, if anybody."""
        return f"{self.name} ({self.attribution})" if self.attribution else self.name

"""What every section of params.yaml is made of: a strict, frozen model, and the kinds of numbers."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Alpha = Annotated[float, Field(ge=0, le=1)]  # the share of the new weights
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of params.yaml: frozen, no unknown key, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    noun: ClassVar[str] = "key"  # what a name in this section is called in errors

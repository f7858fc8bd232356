"""The base class of all sections of params.yaml, and the types of their values."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Alpha = Annotated[float, Field(ge=0, le=1)]  # the share of the new weights
Text = Annotated[str, Field(min_length=1)]
CLASS_NAME = r"\{\}"
Template = Annotated[str, Field(pattern=CLASS_NAME)]  # {} is replaced by the class name
ImageFormat = Literal["png", "jpg"]


class Section(BaseModel):
    """A part of params.yaml: frozen, without unknown keys, without type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    noun: ClassVar[str] = "key"  # what errors call a name in this section


def text_or_section(value: object) -> str:
    """Returns the tag of a value that may be a text or a section: "text" or "section"."""
    return "section" if isinstance(value, (dict, BaseModel)) else "text"

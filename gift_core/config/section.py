"""The base class of all sections of params.yaml, and the types of their values."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

# Upper bounds are far beyond every published experiment and far below what a typing error such as 1.0e+30 gives. A
# value that passes them fits an int64 and a float32, and so do its products with the others. Lower bounds are far below
# what has an effect.
Count = Annotated[int, Field(ge=1, le=10_000_000)]  # images, iterations
Batch = Annotated[int, Field(ge=1, le=65_536)]  # held in memory at once; CLIP was trained with 32,768
Weight = Annotated[float, Field(ge=1e-9, le=1e9)]
MIN_RATE, MAX_RATE = 1e-9, 10.0
Rate = Annotated[float, Field(ge=MIN_RATE, le=MAX_RATE)]  # a learning rate
Temperature = Annotated[float, Field(ge=0.001, le=1000)]
Share = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(ge=0.001, le=1)]  # of a rate
Alpha = Annotated[float, Field(ge=0, le=1)]  # the share of the new weights
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"
Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=ONE_LINE)]
Pattern = Annotated[str, Field(min_length=1, max_length=10_000, pattern=ONE_LINE)]  # of files, also a list of them
# {} stands for the class name, and is replaced as it is. tasks.check_templates looks at them.
Template = str
TEMPLATE = r"[^{}\x00-\x1f\x7f-\x9f]*\{\}[^{}\x00-\x1f\x7f-\x9f]*"
MAX_NAMES = 500  # tasks, steps and methods
ImageFormat = Literal["png", "jpg"]


class Section(BaseModel):
    """A part of params.yaml: frozen, without unknown keys, without type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    noun: ClassVar[str] = "key"  # what errors call a name in this section


def text_or_section(value: object) -> str:
    """Returns the tag of a value that may be a text or a section: "text" or "section"."""
    return "section" if isinstance(value, (dict, BaseModel)) else "text"

"""The base class of all sections of params.yaml, and the types of their values."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

T = TypeVar("T")

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
TEMPLATE = re.compile(r"(?=.{2,1000}\Z)[^{}\x00-\x1f\x7f-\x9f]*\{\}[^{}\x00-\x1f\x7f-\x9f]*")
SHOWN = 80  # characters of a wrong template in a message
MAX_NAMES = 500  # tasks, steps and methods
CODE_FILE = r"^([A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*\.py$"
ImageFormat = Literal["png", "jpg"]


def template(text: str) -> str:
    """Returns a template. ValueError says what is wrong with it."""
    if not TEMPLATE.fullmatch(text):
        problem = f"{text[:SHOWN]!r} should contain {{}} for the class name once, and no other braces"
        raise ValueError(f"{problem}, in one line of at most 1000 characters. Write one like 'a photo of a {{}}'.")
    return text


def distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """Returns the values. ValueError if one is a duplicate."""
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"{value!r} is listed more than once. Remove the duplicate.")
    return values


def code_file(path: str) -> str:
    """Returns the path of a Python file. ValueError for one in data/, which a remote can write."""
    if path.startswith("data/"):
        raise ValueError(f"{path} is in data/, which has no code that runs. Put it beside params.yaml.")
    return path


# A Python file that can be imported from the project's root.
CodeFile = Annotated[str, Field(max_length=1000, pattern=CODE_FILE), AfterValidator(code_file)]
Template = Annotated[str, AfterValidator(template)]  # {} stands for the class name, and is replaced as it is
Templates = Annotated[tuple[Template, ...], Field(min_length=1, max_length=1000), AfterValidator(distinct)]
Names = Annotated[tuple[str, ...], Field(max_length=MAX_NAMES), AfterValidator(distinct)]


class Section(BaseModel):
    """A part of params.yaml: frozen, without unknown keys, without type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    noun: ClassVar[str] = "key"  # what errors call a name in this section
    others: ClassVar[type[Section] | None] = None  # what an unknown key is, where it is allowed

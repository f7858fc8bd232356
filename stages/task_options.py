"""The options of `gift add-task`: what a person says of a data set."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer


class OnBadImage(str, Enum):
    """What happens to an image that cannot be decoded."""

    REFUSE = "refuse"
    SKIP = "skip"


def _option(name: str, help: str, panel: str | None = None) -> Any:
    return typer.Option(name, help=help, show_default=False, rich_help_panel=panel)


TABLE = "Images listed in a table"
TARS = "Images in WebDataset tars"
Name = Annotated[str, typer.Argument(help="The task's name: small letters, digits and _.", show_default=False)]
Images = Annotated[Path, _option("--images", "The folder: <class>/*, or train/<class>/* and test/<class>/*.")]
Templates = Annotated[
    list[str] | None, _option("--template", "A prompt with {} for the class name; give it again for more.")
]
TestFraction = Annotated[
    float, typer.Option("--test-fraction", help="Share of each class to test on, where the data has no splits.")
]
BadImage = Annotated[OnBadImage, typer.Option("--on-bad-image", help="What an undecodable image does.")]
ClassNames = Annotated[Path | None, _option("--class-names", "A text file in the folder: a name a line, by label.")]
Shots = Annotated[int | None, _option("--shots", "Learn from so many images a class, drawn by seed.")]
Table = Annotated[str | None, _option("--table", "A CSV or Parquet file in the folder, a row an image.", TABLE)]
ImageColumn = Annotated[str | None, _option("--image-column", "Its files, relative to the folder: image.", TABLE)]
LabelColumn = Annotated[str | None, _option("--label-column", "Its labels, numbers or names: label.", TABLE)]
SplitColumn = Annotated[str | None, _option("--split-column", "train or test; none: split by seed.", TABLE)]
Tars = Annotated[str | None, _option("--webdataset", "Tars of the folder: birds-{000..005}.tar, train/*.tar.", TARS)]
TestTars = Annotated[str | None, _option("--webdataset-test", "Those to test on; none: split by seed.", TARS)]
Label = Annotated[str | None, _option("--label", "Extension of a sample's label: cls; or json:<key>.", TARS)]
Factor = Annotated[float, typer.Option("--learning-rate-factor", help="Times the method's rate, for this task.")]
Link = Annotated[bool, typer.Option("--link", help="Images elsewhere: link them into data/0_raw.")]
Copy = Annotated[bool, typer.Option("--copy", help="Images elsewhere: copy them into data/0_raw.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and show it, write nothing.")]


def chosen_place(*, link: bool, copy: bool) -> str | None:
    """Returns how images from elsewhere are brought into data/0_raw: link, copy, or None."""
    if link and copy:
        raise typer.BadParameter("give --link or --copy, not both")
    return "link" if link else "copy" if copy else None

"""predict MODEL IMAGES: the most likely classes of images from anywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.models import Device, Model, Pretrained, open_model
from stages.stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.prediction.answers import Unreadable

Images = Annotated[list[str], typer.Argument(help="Files, folders, quoted patterns.", show_default=False)]
Classes = Annotated[
    str,
    typer.Option(help="A text file with a class name a line, a task.json, or an ingested task.", show_default=False),
]
Templates = Annotated[Path | None, typer.Option(help="A text file with a template a line ({} for the class name).")]
Top = Annotated[int, typer.Option(help="How many classes an image, most likely first.", min=1)]
Format = Annotated[str, typer.Option("--format", help="table, csv or json.")]
BatchSize = Annotated[int, typer.Option(help="Images encoded at once.", min=1)]


def predict(
    model: Model,
    images: Images,
    classes: Classes,
    templates: Templates = None,
    top: Top = 1,
    output: Format = "table",
    batch_size: BatchSize = 64,
    device: Device = "auto",
    pretrained: Pretrained = None,
    root: Root = ROOT,
) -> None:
    """Name the class of each image: zero-shot, by the names alone. Exit code 1 where an image could not be read."""
    from gift_core.errors import lookup
    from gift_core.layout import Layout
    from gift_core.prediction.formats import FORMATS
    from gift_core.prediction.inputs import find_images, read_classes

    lines = lookup(FORMATS, output, "predict --format")
    asked, paths = read_classes(classes, templates, Layout(root)), find_images(images)
    clip = open_model(model, pretrained, device)
    from gift_core.prediction.answers import answer, readable
    from gift_core.progress import progress

    unreadable: list[Unreadable] = []
    answers = answer(clip, paths, asked, top=top, batch_size=batch_size)
    shown = answers if sys.stdout.isatty() else progress(answers, len(paths), "images")  # printed lines need no bar
    for line in lines(readable(shown, unreadable), paths):
        typer.echo(line)
    for file in unreadable:
        typer.secho(f"not read: {file.path}: {file.reason}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1 if unreadable else 0)

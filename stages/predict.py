"""predict MODEL IMAGES: classifies any images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import complete_classes
from .export import Model, Pretrained
from .output import AsJson
from .stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.predict import Unreadable

Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE", help="Image files, folders, or quoted patterns.", show_default=False),
]
Classes = Annotated[
    str,
    typer.Option(
        metavar="CLASSES",
        help="A text file with one class name per line, a task.json, or an ingested task.",
        show_default=False,
        autocompletion=complete_classes,
    ),
]
Templates = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A text file with one template per line ({} for the class name)."),
]
Top = Annotated[int, typer.Option(metavar="N", help="Number of classes per image, most likely first.", min=1)]
Format = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="The output format: table, csv or json (as --json).")
]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Number of images per batch.", min=1)]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="The device: auto, cpu, mps, cuda or cuda:<number>.")]


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
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Classify images zero-shot, with only the class names.

    The exit code is 1 if an image cannot be read.

    Example: gift predict data/5_models/gift/digits photos/ --classes digits --top 3
    """
    from gift_core.artifacts.model_folder import require_model_path
    from gift_core.datasets.spelling import printable
    from gift_core.errors import lookup
    from gift_core.layout import Layout
    from gift_core.predict import FORMATS, classify_images, find_images, read_classes, readable

    lines = lookup(FORMATS, "json" if as_json else output, "predict --format")
    require_model_path(model)
    chosen, paths = read_classes(classes, templates, Layout(root)), find_images(images)
    from gift_core.interop.importing import open_model
    from gift_core.progress import progress

    clip = open_model(model, pretrained, device=device)
    unreadable: list[Unreadable] = []
    results = classify_images(clip, paths, chosen, top=top, batch_size=batch_size)
    shown = (
        results if sys.stdout.isatty() else progress(results, len(paths), "images")
    )  # no progress bar between printed lines
    for line in lines(readable(shown, unreadable), paths):
        typer.echo(line)
    for file in unreadable:
        typer.secho(f"not read: {printable(str(file.path))}: {file.reason}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1 if unreadable else 0)

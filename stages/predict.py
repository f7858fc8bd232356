"""predict MODEL IMAGES: classifies any images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import complete_classes
from .export import Model, Pretrained
from .output import AsJson, note
from .stage import MOST, ROOT, Root

if TYPE_CHECKING:
    from gift_core.predict import Unreadable

Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE", help="Image files, folders, or quoted patterns.", show_default=False),
]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="CLASSES",
        help="A text file with one class name per line, a task.json, or an ingested task. "
        "Default: the classes of all tasks that the model has learned.",
        show_default=False,
        autocompletion=complete_classes,
    ),
]
Templates = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A text file with one template per line ({} for the class name)."),
]
Top = Annotated[int, typer.Option(metavar="N", help="Number of classes per image, most likely first.", min=1, max=MOST)]
Format = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="The output format: table, csv or json (as --json).")
]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Number of images per batch.", min=1, max=65_536)]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="The device: auto, cpu, mps, cuda or cuda:<number>.")]


def predict(
    model: Model,
    images: Images,
    classes: Classes = None,
    templates: Templates = None,
    top: Top = 1,
    output: Format = "table",
    batch_size: BatchSize = 64,
    device: Device = "auto",
    pretrained: Pretrained = None,
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Classify images among the classes that the model has learned, or among any class names.

    Files that are no images are left out and counted. The exit code is 1 if an image
    cannot be read.

    Example: gift predict data/5_models/gift/digits photos/ --top 3
    """
    from gift_core.artifacts.model_folder import require_model_path
    from gift_core.class_lists import learned_classes, names_of, read_classes
    from gift_core.errors import lookup
    from gift_core.layout import Layout
    from gift_core.predict import FORMATS, classify_images, find_images, readable

    lines, layout = lookup(FORMATS, "json" if as_json else output, "predict --format"), Layout(root)
    require_model_path(model)
    chosen = [read_classes(classes, templates, layout)] if classes is not None else learned_classes(model, templates)
    paths, notes = find_images(images)
    from gift_core.interop.importing import open_model
    from gift_core.progress import progress

    clip = open_model(model, pretrained, device=device)
    for text in notes:
        note(text)
    if classes is None:
        note(f"{len(names_of(chosen))} classes: those that the model has learned")
    unreadable: list[Unreadable] = []
    results = classify_images(clip, paths, chosen, top=top, batch_size=batch_size)
    shown = (
        results if sys.stdout.isatty() else progress(results, len(paths), "images")
    )  # no progress bar between printed lines
    for line in lines(readable(shown, unreadable), paths):
        typer.echo(line)
    exit_with(unreadable)


def exit_with(unreadable: list[Unreadable]) -> None:
    """Says which files were not read, and exits with 1 if there are any, else with 0."""
    from gift_core.predict import unreadable_notes

    for line in unreadable_notes(unreadable):
        typer.secho(line, fg=typer.colors.RED, err=True)
    raise typer.Exit(1 if unreadable else 0)

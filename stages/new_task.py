"""What `gift add-task` shows: the classes and their counts, the difference, the cells that will run."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from gift_core.config.experiment import Config
    from gift_core.tasks.adding import Addition

CLASSES_SHOWN = 40
WIDTH = 100
COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED}
# What a method's replay reads -> its stages of dvc.yaml.
CELLS = {
    "synthetic": ("teach", "finetune", "evaluate"),
    "real": ("teach_real", "finetune_real", "evaluate"),
    "none": ("finetune_plain", "evaluate"),
}


def show_addition(name: str, addition: Addition) -> None:
    """Prints the data set's classes with their counts in both splits, and the difference in params.yaml."""
    listing = addition.listing
    train, test = (Counter(item.label for item in items) for items in (listing.train, listing.test))
    counts = f"{len(listing.train)} images to learn from, {len(listing.test)} to test on"
    typer.echo(f"{name}: {len(listing.class_names)} classes, {counts}")
    width = max(map(len, listing.class_names))
    typer.echo(f"  {'class':<{width}}  train  test")
    for label, class_name in enumerate(listing.class_names[:CLASSES_SHOWN]):
        typer.echo(f"  {class_name:<{width}}  {train[label]:5}  {test[label]:4}")
    if len(listing.class_names) > CLASSES_SHOWN:
        typer.echo(f"  ... and {len(listing.class_names) - CLASSES_SHOWN} more")
    if all(class_name.isdigit() for class_name in listing.class_names):
        typer.secho("  The names are numbers, which say little to CLIP: see --class-names", fg=typer.colors.YELLOW)
    for note in listing.notes:
        typer.echo(f"  {note}")
    for line in addition.difference():
        typer.secho(line, fg=COLOURS.get(line[:1]))


def show_next(config: Config, task: str) -> None:
    """Prints what to run, and the cells that will run then."""
    typer.echo("params.yaml has the task. Next: dvc repro, which runs")
    names = ", ".join(cells_of(config, task))
    typer.echo(textwrap.indent(textwrap.fill(names, WIDTH, break_long_words=False, break_on_hyphens=False), "  "))


def cells_of(config: Config, task: str) -> Iterator[str]:
    """Yields the cells of dvc.yaml that the task's step has, in the order in which they can run, and the report."""
    step = config.position(task)
    yield from (f"ingest@{task}", f"write_prompts@{step}", f"synthesize@{step}")
    for method in config.run.methods:
        for stage in CELLS[config.methods[method].replay.reads]:
            yield f"{stage}@{method}-step{step}"
    yield "report"

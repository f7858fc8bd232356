"""init DIR: makes a project that uses the installed package, without a clone of its code."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or one without a project.")]
Preset = Annotated[str, typer.Option("--preset", metavar="NAME", help="The experiment that params.yaml gets.")]


def init(folder: Folder, preset: Preset = "mini_quick") -> None:
    """Make a project: dvc.yaml, params.yaml, presets, the miniature models, git and DVC.

    Nothing in the folder is overwritten. An existing git repository is kept.

    Example: gift init my-project
    """
    from gift_core.new_project.create import plan_project

    project = plan_project(folder, preset)
    project.create()
    for name in project.kept:
        typer.echo(f"{folder / name} is yours and stays as it is")
    typer.echo(f"{folder} is now a project with the preset {preset}. Next:")
    for line in _next(folder, project.needs):
        typer.echo(f"  {line}")
    typer.echo("Its README.md says what is where. `gift presets` lists other experiments.")


def _next(folder: Path, needs: tuple[str, ...]) -> list[str]:
    """Returns the commands to type now."""
    lines = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    if not all(map(shutil.which, ("gift", "dvc"))):
        lines.append(f'export PATH="{Path(sys.executable).parent}:$PATH"   # where gift and dvc are')
    if needs:
        lines.append(f"gift doctor    # the preset needs more ({', '.join(needs)}); this says what to do")
    return [
        *lines,
        "dvc repro      # runs the pipeline",
        "gift show      # prints the table of results, and the location of the report",
        "git add --all && git commit --message 'A new project'",
    ]

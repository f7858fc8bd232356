"""hub push: models and synthetic shards on the Hugging Face hub."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Literal

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout

from ..command_line import GiftCommand, print_files, require_new
from ..stage import ROOT, Root, argument, flag, option

hub = typer.Typer(
    help="Models and synthetic shards on the Hugging Face hub. Log in once with: hf auth login.", no_args_is_help=True
)


@hub.command(cls=GiftCommand)
def push(
    kind: Literal["model", "shards"] = argument("KIND", "What it is: model or shards."),
    folders: list[Path] = argument(
        "FOLDER", "A model folder, such as data/6_released/gift/birds, or folders of shards."
    ),
    to: str = option("USER/NAME", "The repository.", default=...),
    private: bool = flag("--private", "A new repository is visible to you alone."),
    license: str | None = option("NAME", "The license for the card, as the hub names it: mit, cc-by-4.0 ..."),
    branch: str | None = option("BRANCH", "A branch, instead of main.", "--revision"),
    out: Path | None = option("FOLDER", "Write what would be uploaded to this folder, and upload nothing.", "--out"),
    root: Root = ROOT,
) -> None:
    """Upload a model folder, or synthetic image-text pairs (shards), with a card.

    open_clip loads a model as hf-hub:USER/NAME. Its card says what it was trained
    on, how, and its accuracies before and after. `datasets.load_dataset("USER/NAME")`
    loads shards: data/3_shards/birds. Images of real tasks are refused.

    Example: gift hub push model data/6_released/gift/birds --to user/clip-birds
    """
    from gift_core.team.hub import build_model, build_shards, upload
    from gift_core.work.publishing import build_folder

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", to):
        raise UserError(f"--to {to}: the name of a repository should be user/name, or organization/name.")
    if kind == "model" and len(folders) > 1:
        raise typer.BadParameter(f"a repository has one model, {len(folders)} given")
    if out is not None:
        require_new(out, *map(str, folders))
    with build_folder(out) if out else tempfile.TemporaryDirectory() as name:
        target = Path(name)
        if kind == "model":
            build_model(folders[0], target, to, Layout(root), license)
        else:
            build_shards(folders, target, to, license)
        repo_type = "model" if kind == "model" else "dataset"
        address = None if out else upload(target, to, repo_type, branch, private=private)
    if out is not None:
        print_files(sorted(path for path in out.rglob("*") if path.is_file()))
        return
    typer.echo(address)
    if kind == "model":
        typer.echo(f'open_clip.create_model_and_transforms("hf-hub:{to}")')

"""hub push, hub pull: models and synthetic shards on the Hugging Face hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gift_core.errors import lookup
from gift_core.layout import Layout

from ..command_line import GiftCommand, print_files, require_new
from ..completion import complete_from
from ..stage import ROOT, Root, argument, flag, option

KINDS = {"model": "model", "shards": "dataset"}  # the hub's kinds of repositories
Kind = Annotated[str, argument("KIND", "What it is: model or shards.", autocompletion=complete_from(KINDS))]

hub = typer.Typer(
    help="Models and synthetic shards on the Hugging Face hub. Log in once with: hf auth login.", no_args_is_help=True
)


@hub.command(cls=GiftCommand)
def push(
    kind: Kind,
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
    from gift_core.team.hub import Repository, build_model, build_shards, upload, write

    repository = Repository(to, lookup(KINDS, kind, "gift hub push"), branch)
    if kind == "shards":
        build = partial(build_shards, folders, repository=repository, license=license)
    elif len(folders) == 1:
        build = partial(build_model, folders[0], repository=repository, layout=Layout(root), license=license)
    else:
        raise typer.BadParameter(f"a repository has one model, {len(folders)} given")
    if out is not None:
        require_new(out, *map(str, folders))
        print_files(write(build, out))
        return
    typer.echo(upload(build, repository, private=private))
    if kind == "model":
        typer.echo(f'open_clip.create_model_and_transforms("hf-hub:{to}")')


@hub.command(cls=GiftCommand)
def pull(
    kind: Kind,
    name: str = argument("USER/NAME", "The repository."),
    folder: Path = argument("DIR", "The folder to write."),
    revision: str | None = option("REVISION", "A branch, a tag or a commit, instead of main."),
) -> None:
    """Download a model, or synthetic shards with a folder for each task, into a folder.

    DVC watches data/0_raw/models/NAME. To fine-tune a model of the hub, this is not
    needed: set model.name to hf-hub:USER/NAME.

    Example: gift hub pull model user/clip-birds data/0_raw/models/clip-birds
    """
    from gift_core.team.hub import Repository, download_whole

    require_new(folder)
    print_files(download_whole(Repository(name, lookup(KINDS, kind, "gift hub pull"), revision), folder))

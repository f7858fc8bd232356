"""hub push, hub pull: models and synthetic shards on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gift_core.layout import Layout

from ..command_line import CommandGroup, GiftCommand, print_files, require_new
from ..stage import ROOT, Root, argument, flag, option

if TYPE_CHECKING:
    from gift_core.team.hub import Repository

Model = Annotated[Path, argument("MODEL", "A model folder, such as data/6_released/gift/birds.")]
Shards = Annotated[list[Path], argument("SHARDS", "Folders of the stage synthesize: data/3_shards/birds.")]
To = Annotated[str, option("USER/NAME", "The repository.")]
Name = Annotated[str, argument("USER/NAME", "The repository.")]
Folder = Annotated[Path, argument("DIR", "The folder to write.")]
Private = Annotated[bool, flag("--private", "A new repository is visible to you alone.")]
License = Annotated[
    str | None, option("NAME", "The license for the card, as the hub names it: mit, apache-2.0, cc-by-4.0 ...")
]
Revision = Annotated[str | None, option("BRANCH", "A branch, instead of main. `pull` also takes a tag or a commit.")]
Out = Annotated[Path | None, option("FOLDER", "Write what would be uploaded to this folder, and upload nothing.")]

hub = typer.Typer(
    help="Models and synthetic shards on the Hugging Face hub. Log in once with: hf auth login.", no_args_is_help=True
)
push = typer.Typer(help="Upload a model, or synthetic shards, with a card.", no_args_is_help=True)
pull = typer.Typer(help="Download a model, or synthetic shards.", no_args_is_help=True)
hub.add_typer(push, name="push", cls=CommandGroup)
hub.add_typer(pull, name="pull", cls=CommandGroup)


@push.command("model", cls=GiftCommand)
def push_model(
    model: Model,
    to: To,
    private: Private = False,
    license: License = None,
    revision: Revision = None,
    out: Out = None,
    root: Root = ROOT,
) -> None:
    """Upload a model folder. open_clip loads it as hf-hub:USER/NAME.

    The model card says what it was trained on, how, and its accuracies before and after.

    Example: gift hub push model data/6_released/gift/birds --to user/clip-birds
    """
    from gift_core.team.hub import MODEL, Repository, build_model

    repository = Repository(to, MODEL, revision)
    build = partial(build_model, model, repository=repository, layout=Layout(root), license=license)
    _push(build, repository, [model], private=private, out=out)
    if out is None:
        typer.echo(f'open_clip.create_model_and_transforms("hf-hub:{to}")')


@push.command("shards", cls=GiftCommand)
def push_shards(
    shards: Shards,
    to: To,
    private: Private = False,
    license: License = None,
    revision: Revision = None,
    out: Out = None,
) -> None:
    """Upload synthetic image-text pairs as a dataset. `datasets.load_dataset("USER/NAME")` loads it.

    Images of real tasks are refused.

    Example: gift hub push shards data/3_shards/birds --to user/birds-replay
    """
    from gift_core.team.hub import DATASET, Repository, build_shards

    repository = Repository(to, DATASET, revision)
    build = partial(build_shards, shards, repository=repository, license=license)
    _push(build, repository, shards, private=private, out=out)


@pull.command("model", cls=GiftCommand)
def pull_model(name: Name, folder: Folder, revision: Revision = None) -> None:
    """Download a model into a folder, for example data/0_raw/models/NAME, which DVC watches.

    To fine-tune a model of the hub, this is not needed: set model.name to hf-hub:USER/NAME.

    Example: gift hub pull model user/clip-birds data/0_raw/models/clip-birds
    """
    from gift_core.team.hub import MODEL, Repository

    _pull(Repository(name, MODEL, revision), folder)


@pull.command("shards", cls=GiftCommand)
def pull_shards(name: Name, folder: Folder, revision: Revision = None) -> None:
    """Download synthetic shards: a folder for each task, with images, prompts and the manifest.

    Example: gift hub pull shards user/birds-replay birds-replay
    """
    from gift_core.team.hub import DATASET, Repository

    _pull(Repository(name, DATASET, revision), folder)


def _push(
    build: Callable[[Path], None], repository: Repository, inputs: Sequence[Path], *, private: bool, out: Path | None
) -> None:
    from gift_core.team.hub import push, write

    if out is None:
        typer.echo(push(build, repository, private=private))
        return
    require_new(out, *map(str, inputs))
    print_files(write(build, out))


def _pull(repository: Repository, folder: Path) -> None:
    from gift_core.team.hub import pull

    require_new(folder)
    print_files(pull(repository, folder))

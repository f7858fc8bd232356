"""hub push, hub pull: models and synthetic shards on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gift_core.layout import Layout

from ..command_line import CommandGroup, GiftCommand, grouped, member, print_files, require_new
from ..stage import ROOT, Root, argument, option

if TYPE_CHECKING:
    from gift_core.team.hub import Repository

Model = Annotated[Path, argument("MODEL", "A model folder, such as data/6_released/gift/birds.")]
Shards = Annotated[list[Path], argument("SHARDS", "Folders of the stage synthesize: data/3_shards/birds.")]
Name = Annotated[str, argument("USER/NAME", "The repository.")]
Folder = Annotated[Path, argument("DIR", "The folder to write.")]
REVISION = "A branch, instead of main. `pull` also takes a tag or a commit."
LICENSE = "The license for the card, as the hub names it: mit, apache-2.0, cc-by-4.0 ..."
OUT = "Write what would be uploaded to this folder, and upload nothing."
Revision = Annotated[str | None, option("BRANCH", REVISION)]


@dataclass
class Upload:
    """Where something is uploaded, and how."""

    to: str = member("USER/NAME", "The repository.", default=...)
    private: bool = member(None, "A new repository is visible to you alone.", "--private", default=False)
    license: str | None = member("NAME", LICENSE)
    revision: str | None = member("BRANCH", REVISION)
    out: Path | None = member("FOLDER", OUT)


hub = typer.Typer(
    help="Models and synthetic shards on the Hugging Face hub. Log in once with: hf auth login.", no_args_is_help=True
)
push = typer.Typer(help="Upload a model, or synthetic shards, with a card.", no_args_is_help=True)
pull = typer.Typer(help="Download a model, or synthetic shards.", no_args_is_help=True)
hub.add_typer(push, name="push", cls=CommandGroup)
hub.add_typer(pull, name="pull", cls=CommandGroup)


@push.command("model", cls=GiftCommand)
@grouped
def push_model(model: Model, upload: Upload, root: Root = ROOT) -> None:
    """Upload a model folder. open_clip loads it as hf-hub:USER/NAME.

    The model card says what it was trained on, how, and its accuracies before and after.

    Example: gift hub push model data/6_released/gift/birds --to user/clip-birds
    """
    from gift_core.team.hub import MODEL, Repository, build_model

    repository = Repository(upload.to, MODEL, upload.revision)
    build = partial(build_model, model, repository=repository, layout=Layout(root), license=upload.license)
    _push(build, repository, [model], upload)
    if upload.out is None:
        typer.echo(f'open_clip.create_model_and_transforms("hf-hub:{upload.to}")')


@push.command("shards", cls=GiftCommand)
@grouped
def push_shards(shards: Shards, upload: Upload) -> None:
    """Upload synthetic image-text pairs as a dataset. `datasets.load_dataset("USER/NAME")` loads it.

    Images of real tasks are refused.

    Example: gift hub push shards data/3_shards/birds --to user/birds-replay
    """
    from gift_core.team.hub import DATASET, Repository, build_shards

    repository = Repository(upload.to, DATASET, upload.revision)
    build = partial(build_shards, shards, repository=repository, license=upload.license)
    _push(build, repository, shards, upload)


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


def _push(build: Callable[[Path], None], repository: Repository, inputs: Sequence[Path], upload: Upload) -> None:
    from gift_core.team.hub import push, write

    if upload.out is None:
        typer.echo(push(build, repository, private=upload.private))
        return
    require_new(upload.out, *map(str, inputs))
    print_files(write(build, upload.out))


def _pull(repository: Repository, folder: Path) -> None:
    from gift_core.team.hub import pull

    require_new(folder)
    print_files(pull(repository, folder))

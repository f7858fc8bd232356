"""Models and synthetic shards on the Hugging Face hub: what is uploaded, the upload, and the way back.

The token is the one of `hf auth login`, which huggingface_hub reads itself. Nothing here sees it.
"""

from __future__ import annotations

import glob
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from gift_core.artifacts.contract import require_hashes
from gift_core.artifacts.model_folder import CONFIG, LOSSES, PROVENANCE, WEIGHTS, require_noted_files
from gift_core.artifacts.shards import MANIFEST, STAGE, Manifest, read_manifest
from gift_core.clip.model import check_folder, open_folder
from gift_core.clip.tokenizers import TOKENIZER_FILES, tokenizer_files_of
from gift_core.datasets.hub_fetch import hub_errors
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.team.hub_cards import dataset_card, model_card
from gift_core.work.publishing import build_folder

CARD = "README.md"
MODEL, DATASET = "model", "dataset"  # the hub's kinds of repositories
# Nothing else of a repository is downloaded: no code, no pickles.
MODEL_FILES = (CONFIG, WEIGHTS, PROVENANCE, LOSSES, CARD, *TOKENIZER_FILES)
SHARD_FILES = ("*.tar", "*.parquet", "*_stats.json")  # besides the manifest, which names them, and the card
_LOGIN = "Log in with: hf auth login. The token needs the right to write."


@dataclass(frozen=True)
class Repository:
    """A repository of the hub: user/name, model or dataset, and a branch, tag or commit (None: main)."""

    name: str
    kind: str
    revision: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.name):
            raise UserError(f"{self.name}: the name of a repository should be user/name, or organization/name.")

    @property
    def address(self) -> str:
        """As the hub's library shows it."""
        return f"datasets/{self.name}" if self.kind == DATASET else self.name


def build_model(folder: Path, target: Path, repository: Repository, layout: Layout, license: str | None) -> None:
    """Fills `target` with what is uploaded of the model in `folder`: open_clip's layout and the model card.

    In open_clip_config.json the tokenizer is named by its repository, since open_clip looks for it there.
    UserError for a folder that is no whole open_clip model.
    """
    config = check_folder(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder}: has no {WEIGHTS}. Write the model again: gift merge, or a stage of the pipeline.")
    require_noted_files(folder)
    if tokenizer_files_of(folder):
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = repository.name
    for name in (*TOKENIZER_FILES, WEIGHTS, PROVENANCE, LOSSES):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    (target / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (target / CARD).write_text(model_card(folder, layout, repository.name, license), encoding="utf-8")


def build_shards(folders: Sequence[Path], target: Path, repository: Repository, license: str | None) -> None:
    """Fills `target` with a folder for each of `folders`, named like it, and the dataset card.

    UserError for a folder that is not of the stage synthesize. ContractError for one that is not as it was written.
    """
    by_name = {folder.resolve().name: folder for folder in folders}
    manifests = {name: _synthetic(folder) for name, folder in by_name.items()}
    for name, manifest in manifests.items():
        (target / name).mkdir()
        files = [file for shard in manifest.shards for file in (shard.name, *shard.sidecars)]
        for file in (MANIFEST, *files):
            shutil.copyfile(by_name[name] / file, target / name / file)
    (target / CARD).write_text(dataset_card(manifests, repository.name, license), encoding="utf-8")


def write(build: Callable[[Path], None], folder: Path) -> list[Path]:
    """Writes what would be uploaded to `folder`; returns its files."""
    with build_folder(folder) as unfinished:
        build(unfinished)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def push(build: Callable[[Path], None], repository: Repository, *, private: bool) -> str:
    """Uploads what `build` writes as one commit; returns its address. The repository is made if there is none.

    `private` counts for a new repository. A revision that does not exist becomes a branch.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as temporary:
        build(Path(temporary))
        api = HfApi()
        with hub_errors(repository.address, _LOGIN):
            api.create_repo(repository.name, repo_type=repository.kind, private=private or None, exist_ok=True)
            if repository.revision:
                api.create_branch(repository.name, branch=repository.revision, repo_type=repository.kind, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository.name,
                repo_type=repository.kind,
                folder_path=temporary,
                revision=repository.revision,
                commit_message=f"A {repository.kind} of the GIFT pipeline",
            )
    return str(commit.commit_url)


def pull(repository: Repository, folder: Path) -> list[Path]:
    """Downloads a model or shards to `folder`, checks them, and returns the files.

    The folder appears only when it is complete. Of shards only the files that a manifest names are fetched, of a model
    only those of the known layout. A model is loaded once.
    """
    with build_folder(folder) as unfinished:
        if repository.kind == MODEL:
            _download(repository, unfinished, MODEL_FILES)
        else:
            _download(repository, unfinished, (CARD, MANIFEST, f"*/{MANIFEST}"))
            with _kept_only_if_whole(unfinished, repository):
                if not (manifests := sorted(unfinished.rglob(MANIFEST))):
                    raise UserError(f"it has no {MANIFEST}, so these are no shards of this pipeline.")
                names = [
                    glob.escape((path.parent / name).relative_to(unfinished).as_posix())
                    for path in manifests
                    for shard in read_manifest(path.parent).shards
                    for name in (shard.name, *shard.sidecars)
                    if any(fnmatchcase(name, pattern) for pattern in SHARD_FILES)
                ]
            _download(repository, unfinished, names)
        shutil.rmtree(unfinished / ".cache", ignore_errors=True)
        with _kept_only_if_whole(unfinished, repository):
            if repository.kind == MODEL:
                open_folder(unfinished, device=torch.device("cpu"), precision="fp32")
            for manifest in unfinished.rglob(MANIFEST):
                _synthetic(manifest.parent)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _download(repository: Repository, folder: Path, patterns: Sequence[str]) -> None:
    from huggingface_hub import snapshot_download

    with hub_errors(repository.address, _LOGIN):
        snapshot_download(
            repository.name,
            repo_type=repository.kind,
            revision=repository.revision,
            local_dir=folder,
            allow_patterns=list(patterns),
        )


@contextmanager
def _kept_only_if_whole(folder: Path, repository: Repository) -> Iterator[None]:
    """Turns what is wrong with the download in `folder` into a UserError that names the repository."""
    try:
        yield
    except (UserError, ContractError) as error:
        reason = str(error).replace(f"{folder}", repository.address).partition(" Recreate it with")[0]
        raise UserError(f"{repository.address}: nothing was kept. {reason}") from error


def _synthetic(folder: Path) -> Manifest:
    """Returns the manifest of a folder of the stage synthesize, whose files have the hashes in it."""
    if not (folder / MANIFEST).is_file():
        what = "images of a task" if (folder / "task.json").is_file() else f"without {MANIFEST}"
        remedy = "Only synthetic images are shared this way: name a folder of data/3_shards."
        raise UserError(f"{folder}: {what}, not shards of the stage synthesize. {remedy}")
    manifest = read_manifest(folder)
    if not manifest.generator.get("pipeline"):
        raise UserError(f"{folder / MANIFEST}: names no generator, so the images may be real. Nothing was uploaded.")
    for shard in manifest.shards:
        require_hashes(folder, shard.hashes, STAGE)
    return manifest

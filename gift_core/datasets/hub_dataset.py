"""Data sets of the Hugging Face hub, as `gift data fetch` leaves them: the card, and Parquet files or WebDataset tars.

Nothing here uses a network.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import HubTaskConfig, PairsTaskConfig, WebDatasetTaskConfig, is_inside
from gift_core.datasets.dataset import Listing
from gift_core.datasets.parquet_images import list_parquet, split_by_name
from gift_core.datasets.webdataset import list_tars
from gift_core.errors import UserError, lookup
from gift_core.untrusted import parse_yaml

CARD, DEFAULT = "README.md", "default"
COMMIT = "commit.txt"  # which `gift data fetch` writes beside the files
DATA_FILES = (".parquet", ".tar")
JOINED_SPLITS, JOINED_FILES = "+", "::"
_PART = re.compile(r"(.*)-\d+-of-(\d+)")
Splits = dict[str, list[str]]  # {split of the repository: its files}


def read_card(text: str) -> dict[str, Any]:
    """Returns the metadata of a data set's card: the YAML between two lines "---". Without any, an empty dictionary."""
    try:
        found = parse_yaml(text.split("---", 2)[1]) if text.startswith("---") else {}
    except (ValueError, IndexError):  # the names of the files are enough
        found = {}
    return found if isinstance(found, dict) else {}


def hub_files(names: Sequence[str], card: Mapping[str, Any], config: str | None, location: str) -> Splits:
    """Returns the files of each split of a config: those that the card lists, otherwise as their names say.

    UserError, beginning with `location`, for an unknown config, and where there are several and none is named.
    """
    data = [name for name in sorted(names) if name.endswith(DATA_FILES) and is_inside(name)]
    if not data:
        raise UserError(f"{location}: there are no files {' or '.join(DATA_FILES)}. Name another one, or a revision.")
    configs: dict[str, Splits] = {}
    found = card.get("configs")
    listed = [each for each in (found if isinstance(found, list) else ()) if isinstance(each, dict)]
    for each in listed:
        entries = each.get("data_files")
        for entry in entries if isinstance(entries, list) else [entries]:
            entry = entry if isinstance(entry, dict) else {"split": "train", "path": entry}
            paths = entry["path"] if isinstance(entry.get("path"), list) else [entry.get("path")]
            files = [name for name in data if any(fnmatchcase(name, str(path).removeprefix("./")) for path in paths)]
            if files:
                splits = configs.setdefault(str(each.get("config_name")), {})
                splits.setdefault(str(entry.get("split")), []).extend(files)
    for name in () if configs else data:
        named, split = split_by_name(name)
        configs.setdefault(named or DEFAULT, {}).setdefault(split, []).append(name)
    if config is None:
        marked = [str(each.get("config_name")) for each in listed if each.get("default") is True]
        config = next((each for each in (*marked, DEFAULT) if each in configs), None) or next(iter(configs))
        if len(configs) > 1 and config not in (*marked, DEFAULT):
            raise UserError(f"{location}: there are several configs. Name one: --config {' | '.join(sorted(configs))}")
    return lookup(configs, config, f"{location}: config")


def files_of(splits: Mapping[Any, str], files: Splits, location: str) -> Splits:
    """Returns the files of train, test and validation. UserError for a split that the repository does not have."""
    return {
        split: [file for each in named.split(JOINED_SPLITS) for file in lookup(files, each, f"{location}: split")]
        for split, named in splits.items()
    }


def list_hub(name: str, config: HubTaskConfig | PairsTaskConfig, root: Path) -> Listing:
    """Returns the images of the task, in the order of the files and their rows. No image is read.

    UserError for files that are missing or of another commit, and as list_parquet and list_tars.
    """
    folder, again = root / config.path, f"Remove the folder, then: gift data fetch {name}"
    location = f"params.yaml: tasks.{name}.path: {config.path}"
    commit, card = (
        file.read_text("utf-8", "replace") if file.is_file() else "" for file in (folder / COMMIT, folder / CARD)
    )
    if config.revision and commit.strip() not in ("", config.revision):
        raise UserError(f"{location}: has commit {commit.strip()[:40]!r}, not {config.revision}. {again}.")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    files = files_of(config.splits or {}, hub_files(names, read_card(card), config.config, location), location)
    if not (every := [each for found in files.values() for each in found]):
        raise UserError(f"params.yaml: tasks.{name}.splits: missing. Write splits: {{train: the repository's split}}.")
    for (prefix, parts), count in Counter(part.groups() for each in every if (part := _PART.match(each))).items():
        if count < int(parts):
            raise UserError(f"{location}: has {count} of {int(parts)} files {prefix}-*. {again}.")
    if every[0].endswith(".tar"):
        train, test = (JOINED_FILES.join(files[split]) if split in files else None for split in SPLITS)
        if isinstance(config, PairsTaskConfig):
            return list_tars(name, config.model_copy(update={"train": train, "test": test}), root)
        packed = WebDatasetTaskConfig.model_construct(
            train=train, test=test, path=config.path, label=config.label_column
        )
        return list_tars(name, packed, root)
    paths = {split: [folder / each for each in found] for split, found in files.items()}
    return list_parquet(paths, config, folder=folder, location=location)

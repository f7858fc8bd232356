"""Data sets of the Hugging Face hub: what a repository has, the download, and the files that it leaves.

These are the card, and Parquet files or WebDataset tars. Only look_up and what follows from it use a network.
"""

from __future__ import annotations

import glob
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import HubTaskConfig, PairsTaskConfig, is_inside
from gift_core.datasets.card import CARD, card_of, names_in_card, read_card, sections
from gift_core.datasets.dataset import VALIDATION, Listing
from gift_core.datasets.parquet_images import Features, features_of, list_parquet, split_by_name
from gift_core.datasets.spelling import split_of
from gift_core.datasets.webdataset import read_tars
from gift_core.downloads import PATIENCE, download_problem
from gift_core.errors import UserError, lookup
from gift_core.progress import progress
from gift_core.quantities import byte_size, first_names, plural
from gift_core.work.folder import work_folder
from gift_core.work.publishing import build_folder, require_free_bytes

DEFAULT = "default"
COMMIT = "commit.txt"  # which `gift data fetch` writes beside the files
DATA_FILES = (".parquet", ".tar")
JOINED_SPLITS = "+"
_PART = re.compile(r"(.*)-\d+-of-(\d+)")
Splits = dict[str, list[str]]  # {split of the repository: its files}


def hub_files(names: Sequence[str], card: Mapping[str, Any], config: str | None, location: str) -> Splits:
    """Returns the files of each split of a config: those that the card lists, otherwise as their names say.

    UserError, beginning with `location`, for an unknown config, and where there are several and none is named.
    """
    data = [name for name in sorted(names) if name.endswith(DATA_FILES) and is_inside(name)]
    if not data:
        raise UserError(f"{location}: there are no files {' or '.join(DATA_FILES)}. Name another one, or a revision.")
    configs = _configs_of_card(card, data) or _configs_by_name(data)
    if config is None:
        listed = sections(card.get("configs"))
        marked = [str(section.get("config_name")) for section in listed if section.get("default") is True]
        config = next(name for name in (*marked, DEFAULT, *configs) if name in configs)
        if len(configs) > 1 and config not in (*marked, DEFAULT):
            raise UserError(f"{location}: there are several configs. Name one: --config {' | '.join(sorted(configs))}")
    return lookup(configs, config, f"{location}: config")


def _configs_of_card(card: Mapping[str, Any], data: Sequence[str]) -> dict[str, Splits]:
    """The files of each split of each config that the card lists. A pattern without a split is of the split train."""
    configs: dict[str, Splits] = {}
    for section in sections(card.get("configs")):
        entries = section.get("data_files")
        for entry in entries if isinstance(entries, list) else [entries]:
            listed = entry if isinstance(entry, dict) else {"split": "train", "path": entry}
            paths = listed.get("path")
            patterns = [str(path).removeprefix("./") for path in (paths if isinstance(paths, list) else [paths])]
            files = [name for name in data if any(fnmatchcase(name, pattern) for pattern in patterns)]
            if files:
                splits = configs.setdefault(str(section.get("config_name")), {})
                splits.setdefault(str(listed.get("split")), []).extend(files)
    return configs


def _configs_by_name(data: Sequence[str]) -> dict[str, Splits]:
    configs: dict[str, Splits] = {}
    for name in data:
        config, split = split_by_name(name)
        configs.setdefault(config or DEFAULT, {}).setdefault(split, []).append(name)
    return configs


def files_of(splits: Mapping[Any, str], files: Splits, location: str) -> Splits:
    """Returns the files of train, test and validation. UserError for a split that the repository does not have."""
    chosen: Splits = {}
    for split, names in splits.items():
        chosen[split] = []
        for name in names.split(JOINED_SPLITS):
            chosen[split] += lookup(files, name, f"{location}: split")
    return chosen


def list_hub(name: str, config: HubTaskConfig | PairsTaskConfig, root: Path) -> Listing:
    """Returns the images of the task, in the order of the files and their rows. No image is read.

    UserError for files that are missing or of another commit, and as list_parquet and read_tars.
    """
    folder = root / config.path
    again = f"Remove the folder, then: gift data fetch {name}"
    location = f"params.yaml: tasks.{name}.path: {config.path}"
    commit = (folder / COMMIT).read_text("utf-8", "replace") if (folder / COMMIT).is_file() else ""
    if config.revision and commit.strip() not in ("", config.revision):
        raise UserError(f"{location}: has commit {commit.strip()[:40]!r}, not {config.revision}. {again}.")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    files = files_of(config.splits or {}, hub_files(names, card_of(folder), config.config, location), location)
    chosen = [file for of_split in files.values() for file in of_split]
    if not chosen:
        raise UserError(f"params.yaml: tasks.{name}.splits: missing. Write splits: {{train: the repository's split}}.")
    parts = Counter(part.groups() for part in map(_PART.match, chosen) if part)
    for (prefix, total), count in parts.items():
        if count < int(total):
            raise UserError(f"{location}: has {count} of {int(total)} files {prefix}-*. {again}.")
    paths = {split: [folder / file for file in of_split] for split, of_split in files.items()}
    if chosen[0].endswith(".tar"):
        label = config.label_column if isinstance(config, HubTaskConfig) else None
        tars = {split: sorted(set(paths[split])) for split in SPLITS if split in paths}
        return read_tars(name, tars, label, location=location)
    return list_parquet(paths, config, folder=folder, location=location)


CONVERTED = "refs/convert/parquet"  # where the hub puts its own copy of a data set in another format
NAMED = 8  # classes that are shown
_WORDS = 40  # of an error of the hub


@dataclass(frozen=True)
class HubRepository:
    """What a config of a repository has at a commit: {split: files}, and of all files {name: size or SHA-256}."""

    name: str
    commit: str
    config: str | None
    card: Mapping[str, Any]
    files: Splits
    sizes: Mapping[str, int]
    hashes: Mapping[str, str]

    @property
    def splits(self) -> dict[str, str]:
        """{train, test or validation: its split}. The only one is for training, a validation split may be the test."""
        theirs = {split_of(name): name for name in reversed(self.files)}  # the first one of several counts
        if "train" not in theirs:
            return {"train": next(iter(self.files))}
        if "test" not in theirs and VALIDATION in theirs:
            theirs["test"] = theirs.pop(VALIDATION)
        return {split: theirs[split] for split in ("train", "test", VALIDATION) if split in theirs}

    @cached_property
    def features(self) -> Features | None:
        """What the schema of the first file says, None for WebDataset tars. UserError if it cannot be read."""
        first = self.files[self.splits["train"]][0]
        return features_of(self._footer(first)[0]) if first.endswith(".parquet") else None

    @cached_property
    def counts(self) -> dict[str, int | None]:
        """The number of images of each split, as the card or the files say. None if neither does."""
        entries = sections(self.card.get("dataset_info"))
        known = [entry for entry in entries if len(entries) == 1 or entry.get("config_name") == self.config]
        listed = [stated for entry in known for stated in sections(entry.get("splits"))]
        counts = {
            str(stated.get("name")): stated["num_examples"]
            for stated in listed
            if type(stated.get("num_examples")) is int
        }
        for split, files in self.files.items() if self.features else ():
            if split not in counts:
                counts[split] = sum(self._footer(file)[1] for file in progress(files, len(files), f"count {split}"))
        return {split: counts.get(split) for split in dict.fromkeys((*self.splits.values(), *self.files))}

    def lines(self) -> Iterator[str]:
        """Yields what is to be known before the download: the size, the license, images of each split, and classes."""
        size = byte_size(sum(self.sizes[file] for files in self.files.values() for file in files))
        license = str(self.card.get("license") or "none stated")
        yield f"{self.name} at {self.commit[:12]}: {size}, license: {license}"
        for split, count in self.counts.items():
            images = "images" if count is None else plural(count, "image")
            yield f"  {split}: {images} in {plural(len(self.files[split]), 'file')}"
        for column, in_schema in self.features.labels.items() if self.features else ():
            names = in_schema or names_in_card(self.card, column)
            if names:
                yield f"  column {column!r}: {plural(len(names), 'class')}: {first_names(names, NAMED)}"

    def _footer(self, file: str) -> tuple[Any, int]:
        """The schema and the number of rows of a Parquet file, of which only the end is downloaded."""
        import pyarrow.parquet as pq
        from huggingface_hub import HfFileSystem

        address = f"datasets/{self.name}@{self.commit}/{file}"
        with hub_errors(address), HfFileSystem().open(address, block_size=1 << 20) as stream:
            opened = pq.ParquetFile(stream)
            return opened.schema_arrow, opened.metadata.num_rows


@contextmanager
def hub_errors(address: str, login: str = "Log in with: hf auth login.") -> Iterator[None]:
    """Turns what the hub's library raises into a UserError with a remedy. It begins with `address`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the library and its HTTP client raise many types
        text = " ".join(str(error).split()[:_WORDS]).rstrip(".")
        status = getattr(getattr(error, "response", None), "status_code", None)
        if type(error).__name__ == "GatedRepoError":
            remedy = "Accept its conditions on its page, then log in: hf auth login."
        elif status in (401, 403) or type(error).__name__ == "LocalTokenNotFoundError":
            remedy = login
        elif status == 404:
            remedy = "Check the name and the revision. A private repository needs: hf auth login."
        else:
            remedy = "Check the connection, and try again."
        raise UserError(f"{address}: {text}. {remedy}") from error


def _as_images(folder: str) -> str:
    """The options that read a local copy of a repository."""
    files = sorted(file.relative_to(folder).as_posix() for file in Path(folder).rglob("*") if file.suffix in DATA_FILES)
    patterns = [(Path(file).parent / f"*{Path(file).suffix}").as_posix() for file in files[:1]]
    kind = "--webdataset" if files and files[0].endswith(".tar") else "--table"
    table = "".join(f" {kind} {shlex.quote(pattern)}" for pattern in patterns)
    return f"--images {shlex.quote(folder)} --link{table}"


def look_up(repository: str, *, revision: str | None, config: str | None, location: str) -> HubRepository:
    """Asks the hub what a repository has at a revision.

    Without one: on its main branch, or in the hub's own Parquet copy where that has neither Parquet files nor tars.
    UserError, beginning with `location`, without a network, for an unknown or a gated repository, and one without data.
    """
    from huggingface_hub import HfApi, hf_hub_download

    if Path(repository).is_dir():
        raise UserError(f"{location}: {repository} is a folder of this machine. Read it with: {_as_images(repository)}")
    problem = download_problem(PATIENCE)
    if problem is not None:
        raise UserError(f"{location}: {problem[0]}. {problem[1]}.")
    address = f"{location}: datasets/{repository}"
    with hub_errors(address):
        info = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
        if revision is None and not any(file.rfilename.endswith(DATA_FILES) for file in info.siblings or ()):
            info = HfApi().dataset_info(repository, revision=CONVERTED, files_metadata=True)
        files = {file.rfilename: file for file in info.siblings or ()}
        card = ""
        if CARD in files:
            path = hf_hub_download(repository, CARD, repo_type="dataset", revision=info.sha)
            card = Path(path).read_text(encoding="utf-8", errors="replace")
    metadata = read_card(card)
    splits = hub_files([*files], metadata, config, address)
    sizes = {name: file.size or 0 for name, file in files.items()}
    hashes = {name: file.lfs.sha256 for name, file in files.items() if file.lfs}
    return HubRepository(repository, str(info.sha), config, metadata, splits, sizes, hashes)


def fetch_hub(name: str, config: HubTaskConfig | PairsTaskConfig, work: Path, root: Path) -> None:
    """Downloads the card and the files of the task's splits to its path. Does nothing if they are there.

    An interrupted download stays in the folder `work`, and the next one continues it. UserError as look_up, for other
    files in the path, too little space, and a file whose hash is not the one that the hub lists.
    """
    from huggingface_hub import snapshot_download

    path = root / config.path
    location = f"gift data fetch {name}"
    if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        list_hub(name, config, root)
        return
    repository = look_up(str(config.repository), revision=config.revision, config=config.config, location=location)
    chosen = [file for files in files_of(config.splits or {}, repository.files, location).values() for file in files]
    require_free_bytes(path, sum(repository.sizes[file] for file in chosen), location)
    with work_folder(work, {"repository": repository.name, "commit": repository.commit}) as parts:
        wanted = [*dict.fromkeys(chosen), *({CARD} & {*repository.sizes})]
        with hub_errors(f"{location}: datasets/{repository.name}"):
            snapshot_download(
                repository.name,
                repo_type="dataset",
                revision=repository.commit,
                local_dir=parts / "files",
                allow_patterns=[glob.escape(file) for file in wanted],
            )
        for file in progress(wanted, len(wanted), "compare hashes"):
            if file in repository.hashes and sha256_of(parts / "files" / file) != repository.hashes[file]:
                (parts / "files" / file).unlink()
                raise UserError(f"{location}: {file} does not have the hash that the hub lists. Run it again.")
        with build_folder(path) as temporary:
            for file in wanted:
                (temporary / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(parts / "files" / file, temporary / file)
            (temporary / COMMIT).write_text(f"{repository.commit}\n", encoding="utf-8")

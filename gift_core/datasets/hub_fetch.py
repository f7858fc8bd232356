"""Data sets of the Hugging Face hub before they are here: what a repository has, and the download."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import sha256_of
from gift_core.config.tasks import HubTaskConfig, PairsTaskConfig
from gift_core.datasets.dataset import VALIDATION
from gift_core.datasets.hub_dataset import CARD, COMMIT, DATA_FILES, Splits, files_of, hub_files, list_hub, read_card
from gift_core.datasets.parquet_images import Features, features_of
from gift_core.datasets.spelling import split_of
from gift_core.downloads import PATIENCE, download_problem
from gift_core.errors import UserError
from gift_core.progress import progress
from gift_core.quantities import byte_size, first_names, plural
from gift_core.work.folder import work_folder
from gift_core.work.publishing import build_folder, require_free_bytes

CONVERTED = "refs/convert/parquet"  # where the hub puts its own copy of a data set in another format
NAMED = 8  # classes that are shown
_LOGIN = "Log in with: hf auth login."
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
        found = {of: split for split in reversed(self.files) if (of := split_of(split))}
        if "train" not in found:
            return {"train": next(iter(self.files))}
        if "test" not in found and VALIDATION in found:
            found["test"] = found.pop(VALIDATION)
        return {of: found[of] for of in ("train", "test", VALIDATION) if of in found}

    @cached_property
    def features(self) -> Features | None:
        """What the schema of the first file says, None for WebDataset tars. UserError if it cannot be read."""
        first = self.files[self.splits["train"]][0]
        return features_of(self._footer(first)[0]) if first.endswith(".parquet") else None

    @cached_property
    def counts(self) -> dict[str, int | None]:
        """The number of images of each split, as the card or the files say. None if neither does."""
        entries = self.card.get("dataset_info") or []
        entries = [each for each in (entries if isinstance(entries, list) else [entries]) if isinstance(each, dict)]
        known = [each for each in entries if len(entries) == 1 or each.get("config_name") == self.config]
        counts = {each["name"]: each.get("num_examples") for entry in known for each in entry.get("splits") or ()}
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
        for column, names in self.features.labels.items() if self.features else ():
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
def hub_errors(address: str, login: str = _LOGIN) -> Iterator[None]:
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


def look_up(repository: str, *, revision: str | None, config: str | None, location: str) -> HubRepository:
    """Asks the hub what a repository has at a revision.

    Without one: on its main branch, or in the hub's own Parquet copy where that has neither Parquet files nor tars.
    UserError, beginning with `location`, without a network, for an unknown or a gated repository, and one without data.
    """
    from huggingface_hub import HfApi, hf_hub_download

    if (problem := download_problem(PATIENCE)) is not None:
        raise UserError(f"{location}: {problem[0]}. {problem[1]}.")
    address = f"{location}: datasets/{repository}"
    with hub_errors(address):
        info = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
        if revision is None and not any(each.rfilename.endswith(DATA_FILES) for each in info.siblings or ()):
            info = HfApi().dataset_info(repository, revision=CONVERTED, files_metadata=True)
        files, card = {each.rfilename: each for each in info.siblings or ()}, ""
        if CARD in files:
            path = hf_hub_download(repository, CARD, repo_type="dataset", revision=info.sha)
            card = Path(path).read_text(encoding="utf-8", errors="replace")
    splits, metadata = hub_files([*files], read_card(card), config, address), read_card(card)
    sizes = {name: each.size or 0 for name, each in files.items()}
    hashes = {name: each.lfs.sha256 for name, each in files.items() if each.lfs}
    return HubRepository(repository, str(info.sha), config, metadata, splits, sizes, hashes)


def fetch_hub(name: str, config: HubTaskConfig | PairsTaskConfig, work: Path, root: Path) -> None:
    """Downloads the card and the files of the task's splits to its path. Does nothing if they are there.

    An interrupted download stays in the folder `work`, and the next one continues it. UserError as look_up, for other
    files in the path, too little space, and a file whose hash is not the one that the hub lists.
    """
    from huggingface_hub import snapshot_download

    path, location = root / config.path, f"gift data fetch {name}"
    if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        list_hub(name, config, root)
        return
    found = look_up(str(config.repository), revision=config.revision, config=config.config, location=location)
    chosen = [file for files in files_of(config.splits or {}, found.files, location).values() for file in files]
    require_free_bytes(path, sum(found.sizes[file] for file in chosen), location)
    with work_folder(work, {"repository": found.name, "commit": found.commit}) as parts:
        wanted = [*dict.fromkeys(chosen), *({CARD} & {*found.sizes})]
        with hub_errors(f"{location}: datasets/{found.name}"):
            snapshot_download(
                found.name,
                repo_type="dataset",
                revision=found.commit,
                local_dir=parts / "files",
                allow_patterns=[glob.escape(file) for file in wanted],
            )
        for file in progress(wanted, len(wanted), "compare hashes"):
            if file in found.hashes and sha256_of(parts / "files" / file) != found.hashes[file]:
                (parts / "files" / file).unlink()
                raise UserError(f"{location}: {file} does not have the hash that the hub lists. Run it again.")
        with build_folder(path) as unfinished:
            for file in wanted:
                (unfinished / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(parts / "files" / file, unfinished / file)
            (unfinished / COMMIT).write_text(f"{found.commit}\n", encoding="utf-8")

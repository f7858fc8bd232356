"""WebDataset tars: samples of an image and its label, many in a tar."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from gift_core.config.tasks import WebDatasetTaskConfig, is_inside
from gift_core.errors import UserError
from gift_core.progress import progress
from gift_core.tasks.class_names import name_classes
from gift_core.tasks.found import Found, Splits, labels_to_learn, list_found, split_by_seed
from gift_core.tasks.listing import Listing
from gift_core.tasks.places import nearest_name, require_folder
from gift_core.tasks.tar_index import index_tar


def webdataset_listing(name: str, config: WebDatasetTaskConfig, *, root: Path, seed: int) -> Listing:
    """Returns the samples of the tars, in the order of the tars' names and within each tar.

    A pattern is a shell's: birds-{000..005}.tar, train/*.tar; several are joined with "::", as WebDataset has it.
    UserError for a missing or damaged tar, a sample without an image or label, a tar of both splits, and what the
    classes lack.
    """
    place = f"params.yaml: tasks.{name}"
    folder = root / config.path
    require_folder(folder, f"{place}.path: {config.path}")
    splits = _index(folder, config, name, seed)
    labels = labels_to_learn(splits, f"{place}.train: {config.train}")
    return list_found(splits, name_classes(labels, config, folder=folder, task=name), config.templates)


def find_tars(folder: Path, pattern: str, place: str) -> list[Path]:
    """Returns the tars below `folder` that the pattern names, sorted, each once.

    UserError for a name that isn't there (with the nearest), for a pattern that nothing matches, and for one that
    leaves the folder.
    """
    found: set[Path] = set()
    for name in _expand(pattern, place):
        if not is_inside(name):
            raise UserError(f"{place}: {name} lies outside the task's path. Name tars relative to it.")
        matches = sorted(folder.glob(name)) if glob.has_magic(name) else [folder / name]
        if not matches:
            raise UserError(f"{place}: no file matches {name!r}. {_tars_there(folder)}")
        if not matches[0].is_file():
            near = nearest_name(folder, name)
            hint = f"Did you mean {near!r}?" if near else _tars_there(folder)
            raise UserError(f"{place}: there is no tar {name!r}. {hint}")
        found.update(matches)
    return sorted(found, key=lambda path: path.as_posix())


def _index(folder: Path, config: WebDatasetTaskConfig, name: str, seed: int) -> Splits:
    place = f"params.yaml: tasks.{name}"
    train = find_tars(folder, config.train, f"{place}.train")
    if config.test is None:
        found = _index_all(train, config.label, name, "train")
        split_place = f"{place}.train: {config.train}"
        return split_by_seed(found, test_fraction=config.test_fraction, seed=seed, place=split_place)
    test = find_tars(folder, config.test, f"{place}.test")
    both = [tar.name for tar in test if tar in set(train)]
    if both:
        raise UserError(f"{place}.test: {both[0]} is a tar of train too. Take it out of one of the two patterns.")
    return {
        "train": _index_all(train, config.label, name, "train"),
        "test": _index_all(test, config.label, name, "test"),
    }


def _index_all(tars: Sequence[Path], label: str, name: str, split: str) -> list[Found]:
    place = f"params.yaml: tasks.{name}.{split}"
    found: list[Found] = []
    for tar in progress(tars, len(tars), f"list {name} {split} tars"):
        found.extend(index_tar(tar, label, place=place))
    if not found:
        raise UserError(f"{place}: the tars hold no samples. Write files of one name into them: 0001.jpg, 0001.cls.")
    return found


def _expand(pattern: str, place: str) -> list[str]:
    import braceexpand

    try:
        return [name for part in pattern.split("::") for name in braceexpand.braceexpand(part)]
    except ValueError:  # its UnbalancedBracesError
        raise UserError(f"{place}: {pattern!r} has a brace without its other one. Write {{000..005}}.") from None


def _tars_there(folder: Path) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tar"))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"There are: {shown}." if names else "There are no tars below the task's path."

"""The class names of a user's own data set: as its labels spell them, from a text file, or from a mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gift_core.config.tasks import OwnTaskConfig
from gift_core.errors import UserError, did_you_mean
from gift_core.tasks.found import in_order


def name_classes(labels: Sequence[str], config: OwnTaskConfig, *, folder: Path, task: str) -> dict[str, str]:
    """Returns {label: class name} in the order of `labels`, which are the data's own: folders' names, numbers, texts.

    UserError where the row's class_names do not name exactly these labels, or give two of them one name.
    """
    place = f"params.yaml: tasks.{task}.class_names"
    wanted = config.class_names
    if wanted is None:
        return _require_distinct({label: label.strip() for label in labels}, place)
    if isinstance(wanted, str):
        return _require_distinct(_name_from_file(labels, folder / wanted, f"{place}: {wanted}"), place)
    return _require_distinct(_name_from_mapping(labels, wanted, place), place)


def name_folders(labels: Sequence[str], config: OwnTaskConfig, *, folder: Path, task: str) -> dict[str, str]:
    """Returns the same for labels that are folders' names: without class_names, _ and - stand for spaces."""
    if config.class_names is not None:
        return name_classes(labels, config, folder=folder, task=task)
    names = {label: " ".join(label.replace("_", " ").replace("-", " ").split()) for label in labels}
    return _require_distinct(names, f"params.yaml: tasks.{task}.path: {config.path}")


def _name_from_mapping(labels: Sequence[str], wanted: Mapping[str, str], place: str) -> dict[str, str]:
    for label in wanted:
        if label not in labels:
            raise UserError(f"{place}.{label}: the data has no such label. {did_you_mean(label, labels)}")
    unnamed = [label for label in labels if label not in wanted]
    if unnamed:
        more = f" and {len(unnamed) - 1} more labels have" if len(unnamed) > 1 else " has"
        raise UserError(f'{place}: {unnamed[0]!r}{more} no name there. Add a line: "{unnamed[0]}": <its name>')
    return {label: wanted[label].strip() for label in labels}


def _name_from_file(labels: Sequence[str], path: Path, place: str) -> dict[str, str]:
    """A line names the label at its place; a file that lists the very labels, in whatever order, renames nothing."""
    names = _read_lines(path, place)
    if sorted(names) == sorted(labels):
        return {label: label for label in labels}
    ordered = in_order(labels)
    if len(names) != len(ordered):
        shown = ", ".join(ordered[:5]) + (", ..." if len(ordered) > 5 else "")
        what = f"{len(names)} names for {len(ordered)} labels ({shown})"
        raise UserError(f"{place}: {what}. Write a name a line, in the order of the labels.")
    for label, name in zip(ordered, names, strict=True):
        if name != label and name in labels:
            what = f"{name!r} is a label of the data, but stands where {label!r} is named"
            raise UserError(f"{place}: {what}. Sort the lines as the labels are, or write class_names as a mapping.")
    by_label = dict(zip(ordered, names, strict=True))
    return {label: by_label[label] for label in labels}


def _read_lines(path: Path, place: str) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        texts = [file.name for file in path.parent.glob("*.txt")] if path.parent.is_dir() else []
        raise UserError(
            f"{place}: there is no such file in the task's path. {did_you_mean(path.name, texts)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place}: cannot be read ({error}). Save it as UTF-8 text.") from None
    return [line for line in lines if line and not line.startswith("#")]


def _require_distinct(names: dict[str, str], place: str) -> dict[str, str]:
    for name in names.values():
        same = [label for label, other in names.items() if other == name]
        if not name:
            raise UserError(f"{place}: the class {same[0]!r} has an empty name. Rename it, or name it in class_names.")
        if len(same) > 1:
            what = f"{', '.join(same)} give the same class name, {name!r}"
            raise UserError(f"{place}: {what}. Rename them, or tell them apart in class_names.")
    return names

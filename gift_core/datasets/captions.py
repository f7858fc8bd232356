"""What a user gives for prompts: captions, of class names or of no class, and the names of the base vocabulary."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from gift_core.artifacts.table_files import TableSchema, distinct_lines, read_table_file
from gift_core.datasets.spelling import plain_name, require_sound_labels
from gift_core.errors import UserError, nearest

VOCABULARY = "params.yaml: prompts.base_vocabulary"
LOCATION = "params.yaml: prompts.captions"
COLUMNS = TableSchema(required=("class_name", "caption"))


@dataclass(frozen=True)
class Captions:
    """`by_class`: {class name: its captions in the order of the file}. `general`: captions that belong to no class."""

    by_class: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    general: tuple[str, ...] = ()

    def cover(self, class_name: str) -> bool:
        """Returns whether prompts of this class are captions."""
        return class_name in self.by_class or class_name in self.general

    def unknown_classes(self, known: Collection[str]) -> tuple[str, ...]:
        """Returns the classes that have captions but are not `known`, each with the known class that it may mean."""
        hints = {name: nearest(name, known).strip() for name in self.by_class if name not in known}
        return tuple(f"{name!r} ({hint})" if hint else repr(name) for name, hint in hints.items())


def read_captions(name: str | None, root: Path = Path()) -> Captions:
    """Returns the captions of a file below `root`, no captions for None.

    A table (CSV, TSV, Parquet or JSON lines) has the columns class_name and caption; {} in a caption stands for the
    class name. A text file has one general caption per line; empty lines and lines that begin with # are skipped.
    Repeated captions count once. UserError names the file and the row if a column is missing, or a cell is empty.
    """
    if name is None:
        return Captions()
    path = root / name
    if path.suffix.lower() in (".txt", ".text"):
        return Captions(general=distinct_lines(path, LOCATION, noun="caption"))
    _, rows = read_table_file(path, COLUMNS, location=LOCATION)
    if not rows:
        raise UserError(f"{LOCATION}: {path}: no rows. Write one row per caption.")
    captions: dict[str, dict[str, None]] = {}  # the distinct ones of each class
    for row in rows:
        class_name, caption = (plain_name(row.cells[column]) for column in COLUMNS.columns)
        captions.setdefault(class_name, {})[caption] = None
    return Captions({class_name: tuple(distinct) for class_name, distinct in captions.items()})


def base_vocabulary(name: str, root: Path = Path(), *, location: str = VOCABULARY) -> tuple[str, ...]:
    """Returns the class names of a vocabulary: mini, imagenet, none, or the lines of a UTF-8 text file below `root`.

    Empty lines of a file, lines that begin with # and repeated ones are skipped. UserError, which begins with
    `location`, for a file that is missing, empty or unreadable.
    """
    if name == "none":
        return ()
    if name == "mini":
        from gift_core.mini.world import base_vocabulary as names_of_miniature

        return tuple(names_of_miniature())
    if name == "imagenet":
        # The 1,000 names that CLIP's authors curated, as open_clip ships them. They are read from its source, because
        # importing open_clip imports torch, which takes seconds.
        package = find_spec("open_clip")
        assert package is not None and package.origin is not None
        source = Path(package.origin).with_name("zero_shot_metadata.py").read_text(encoding="utf-8")
        assignments = (node for node in ast.parse(source).body if isinstance(node, ast.Assign))
        listed = next(node.value for node in assignments if ast.unparse(node.targets[0]) == "IMAGENET_CLASSNAMES")
        return tuple(ast.literal_eval(listed))
    names = distinct_lines(root / name, location, noun="name")
    require_sound_labels(names, f"{location}: {root / name}")
    return names

"""The base vocabulary: the class names that represent what the pre-trained model knows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from gift_core.artifacts.table_files import distinct_lines
from gift_core.datasets.spelling import require_sound_labels
from gift_core.errors import UserError, did_you_mean

KEY = "params.yaml: prompts.base_vocabulary"


def base_vocabulary(name: str, root: Path = Path()) -> tuple[str, ...]:
    """Returns the class names of a vocabulary: mini, imagenet, none, or the lines of a UTF-8 text file below `root`.

    Empty lines of a file and lines that begin with # are skipped. UserError for an unknown name, and for a file that is
    empty, unreadable or has duplicates.
    """
    if name in VOCABULARIES:
        return VOCABULARIES[name]()
    path = root / name
    if not path.is_file():
        hint = did_you_mean(name, VOCABULARIES)
        raise UserError(f"{KEY}: {name!r} is neither a vocabulary nor a text file. {hint} Or write a file's path.")
    names = distinct_lines(path, KEY, noun="name")
    require_sound_labels(names, f"{KEY}: {path}")
    return names


def _mini() -> tuple[str, ...]:
    from gift_core.mini.world import base_vocabulary as names

    return tuple(names())


def _imagenet() -> tuple[str, ...]:
    """The 1,000 ImageNet class names that CLIP's authors curated, as open_clip ships them.

    They are read from open_clip's source, because importing open_clip imports torch, which takes seconds.
    """
    package = find_spec("open_clip")
    assert package is not None and package.origin is not None
    source = Path(package.origin).with_name("zero_shot_metadata.py").read_text(encoding="utf-8")
    assigned = (each for each in ast.parse(source).body if isinstance(each, ast.Assign))
    names = next(each.value for each in assigned if ast.unparse(each.targets[0]) == "IMAGENET_CLASSNAMES")
    return tuple(ast.literal_eval(names))


VOCABULARIES: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "mini": _mini,
    "imagenet": _imagenet,
    "none": lambda: (),
}

"""The catalogue of methods, presets/methods.yaml: the row of each, and what it is in one sentence.

`gift add-method` writes a row of it to params.yaml. In a preset, `lwf: catalogue` below `methods` stands for the row.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

from gift_core.config.editing import Document
from gift_core.errors import UserError
from gift_core.shipped import shipped_root
from gift_core.untrusted import MAX_YAML_BYTES, decode_text, read_limited

CATALOGUE = "methods.yaml"  # beside the presets, and none itself
MINIATURE = "/mini/clip"  # ends the name of the miniature CLIP
ITERATIONS = 1000  # per task, for which the rows are written
COUNTED = (("average", "every"), ("consolidation", "iterations"))


@dataclass(frozen=True)
class KnownMethod:
    """A method of the catalogue: what it is, and its row, with ruamel.yaml's comments. Copy the row to change it."""

    about: str
    row: Any


def read_catalogue(folder: Path, *, model: str, iterations: int) -> dict[str, KnownMethod]:
    """Returns the methods of folder/methods.yaml, or where there is none, of the file that comes with GIFT.

    The rows are for an experiment with this model.name and training.iterations. UserError if the file is damaged.
    """
    folders = (folder, shipped_root() / "presets")
    file = next(file for each in folders if (file := each / CATALOGUE).is_file())
    try:
        return _methods(decode_text(read_limited(file, MAX_YAML_BYTES)), model.endswith(MINIATURE), iterations)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, UserError) as error:
        what = f"it should have `about` and the row of each method ({error})"
        raise UserError(f"{file}: {what}. Correct it, or remove it to use GIFT's own.") from None


def catalogue_rows(params: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the rows of the catalogue as plain data, for the experiment `params`. `folder` and errors as above."""
    known = read_catalogue(folder, model=params["model"]["name"], iterations=params["training"]["iterations"])
    return {name: json.loads(json.dumps(method.row)) for name, method in known.items()}


@lru_cache(maxsize=4)
def _methods(text: str, miniature: bool, iterations: int) -> dict[str, KnownMethod]:
    found = {}
    for name, row in Document.parse(text, CATALOGUE).content.items():
        about, changes = row.pop("about"), row.pop("mini", {})
        for key, value in changes.items() if miniature else ():
            *sections, last = key.split(".")
            reduce(operator.getitem, sections, row)[last] = value
        for section, key in COUNTED:
            if key in (row.get(section) or {}):
                row[section][key] = max(1, row[section][key] * iterations // ITERATIONS)
        found[name] = KnownMethod(about, row)
    return found

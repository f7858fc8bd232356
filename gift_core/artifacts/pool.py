"""The prompt pool after a task: every class name that replay may draw from then on, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gift_core.artifacts.atomic import write_atomically
from gift_core.errors import ContractError

REMAKE = "re-make it with: dvc repro write_vocabulary write_prompts"


@dataclass(frozen=True)
class PoolEntry:
    """One class name, where it came from ("base" or a task), and the templates that make it a prompt, in their order.

    The first is the one its data set is trained with.
    """

    source_task: str
    class_name: str
    templates: tuple[str, ...]


def write_pool(path: Path, entries: Sequence[PoolEntry]) -> None:
    """Writes the pool, one entry a line, in the order given; ContractError for an entry that can be no prompt."""
    for entry in entries:
        _require_sound(path, entry)
    lines = ",\n".join(json.dumps(asdict(entry), ensure_ascii=False) for entry in entries)
    with write_atomically(path) as unfinished:
        unfinished.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_pool(path: Path) -> list[PoolEntry]:
    """Returns the pool's entries; ContractError where the file is missing or is no pool."""
    try:
        entries = [
            PoolEntry(**{**entry, "templates": tuple(entry["templates"])})
            for entry in json.loads(path.read_text(encoding="utf-8"))
        ]
    except FileNotFoundError as error:
        raise ContractError(f"{path}: the prompt pool is missing; {REMAKE}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ContractError(f"{path}: is no prompt pool ({error!r}); {REMAKE}") from error
    for entry in entries:
        _require_sound(path, entry)
    return entries


def _require_sound(path: Path, entry: PoolEntry) -> None:
    named = all(isinstance(name, str) and name for name in (entry.source_task, entry.class_name))
    fillable = all(isinstance(template, str) and "{}" in template for template in entry.templates)
    if not (named and fillable and entry.templates):
        what = f"{entry} must have a source, a class name and templates with a {{}} each"
        raise ContractError(f"{path}: {what}; {REMAKE}")

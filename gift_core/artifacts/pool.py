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
    """One class name, where it came from ("base" or a task) and the template that makes it a prompt."""

    source_task: str
    class_name: str
    template: str


def write_pool(path: Path, entries: Sequence[PoolEntry]) -> None:
    """Writes the pool, one entry a line, in the order given."""
    for entry in entries:
        if "{}" not in entry.template or not entry.class_name:
            raise ContractError(f"{path}: {entry} must have a class name and a template with a {{}}; {REMAKE}")
    lines = ",\n".join(json.dumps(asdict(entry), ensure_ascii=False) for entry in entries)
    with write_atomically(path) as unfinished:
        unfinished.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_pool(path: Path) -> list[PoolEntry]:
    """Returns the pool's entries; ContractError where the file is missing or is no pool."""
    try:
        return [PoolEntry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError as error:
        raise ContractError(f"{path}: the prompt pool is missing; {REMAKE}") from error
    except (json.JSONDecodeError, TypeError) as error:
        raise ContractError(f"{path}: is no prompt pool ({error}); {REMAKE}") from error

"""The blocks of dvc.yaml, read without DVC, which takes a second to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.errors import UserError
from gift_core.untrusted import MAX_YAML_BYTES, parse_yaml, read_limited

PARAMS = "params.yaml"


@dataclass(frozen=True)
class Block:
    """A block of dvc.yaml, with its variables as they are written there: tasks.${key}."""

    name: str
    deps: Sequence[str]
    params: Sequence[str]


def read_blocks(root: Path) -> list[Block]:
    """Returns the blocks of root/dvc.yaml in their order. UserError if it is damaged."""
    file, blocks = root / "dvc.yaml", []
    try:
        for name, content in parse_yaml(read_limited(file, MAX_YAML_BYTES))["stages"].items():
            body = content.get("do", content)
            blocks.append(Block(name, body.get("deps", []), body.get("params", [])))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"it should have the stages of the pipeline ({error})"
        raise UserError(f"{file}: {what}. Restore it: git checkout dvc.yaml") from None
    return blocks


def value_at(content: Any, key: str) -> Any:
    """Returns the value of a dotted key, such as run.methods, in the content of a YAML file; None without the key."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content

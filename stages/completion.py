"""What the Tab key completes: the names of tasks, methods and presets, as params.yaml and presets/ have them.

It runs at every press of the key, so it reads the names from the lines of params.yaml, without its checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_CHARACTERS = 1 << 18
PARAMS = "params.yaml"


def complete_task(ctx: Any, incomplete: str) -> list[str]:
    """Returns the tasks of the sequence that begin with `incomplete`."""
    lines = _section(_params(ctx), "sequence")
    steps = (re.search(r"\btask: *['\"]?([\w.-]+)", line) for line in lines)
    return _beginning(incomplete, (step[1] for step in steps if step))


def complete_method(ctx: Any, incomplete: str) -> list[str]:
    """Returns the methods of params.yaml that begin with `incomplete`."""
    return _beginning(incomplete, _keys(_section(_params(ctx), "methods")))


def complete_preset(ctx: Any, incomplete: str) -> list[str]:
    """Returns the files of presets/ that begin with `incomplete`."""
    presets = (_root(ctx) / "presets").glob("*.yaml")
    return _beginning(incomplete, sorted(preset.stem for preset in presets))


def complete_classes(ctx: Any, incomplete: str) -> list[str]:
    """Returns the tasks that are ingested, of which `gift predict --classes` takes the class names."""
    from gift_core.layout import Layout

    tasks = Layout(_root(ctx)).task("any").parent.glob("*/task.json")
    return _beginning(incomplete, sorted(task.parent.name for task in tasks))


def _root(ctx: Any) -> Path:
    return Path(ctx.params.get("root") or "")


def _params(ctx: Any) -> list[str]:
    """The lines of params.yaml; none if it cannot be read, because a completion never fails."""
    given = ctx.params.get("params")
    path = Path(given) if given else _root(ctx) / PARAMS
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        return file.read(MOST_CHARACTERS).splitlines()
    return []


def _section(lines: list[str], name: str) -> list[str]:
    """The lines below a key at the start of a line, without comments and blank ones."""
    start = next((index for index, line in enumerate(lines, 1) if line.startswith(f"{name}:")), len(lines))
    found = []
    for line in lines[start:]:
        if line[:1] not in (" ", "-", "#", ""):
            break
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(line)
    return found


def _keys(lines: list[str]) -> Iterator[str]:
    """The keys with the indentation of the first one."""
    margin: int | None = None
    for line in lines:
        key = re.match(r"( +)['\"]?([\w.-]+)['\"]?:", line)
        if key and margin in (None, len(key[1])):
            margin = len(key[1])
            yield key[2]


def _beginning(incomplete: str, names: Iterator[str] | list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]

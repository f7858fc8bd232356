"""What the Tab key completes: the names of tasks, methods and presets, as params.yaml and presets/ have them.

It runs at every press of the key, so params.yaml is not checked, and one that cannot be read completes to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gift_core.layout import Layout

PARAMS, CATALOGUE = "params.yaml", "methods.yaml"


def complete_task(ctx: Any, incomplete: str) -> list[str]:
    """Returns the tasks of the sequence that begin with `incomplete`."""
    steps = _params(ctx).get("sequence") or []
    return [step["task"] for step in steps if str(step.get("task")).startswith(incomplete)]


def complete_method(ctx: Any, incomplete: str) -> list[str]:
    """Returns the methods of params.yaml that begin with `incomplete`."""
    return [name for name in _params(ctx).get("methods") or () if name.startswith(incomplete)]


def complete_known_method(ctx: Any, incomplete: str) -> list[str]:
    """Returns the methods of params.yaml and of presets/methods.yaml that begin with `incomplete`."""
    catalogue = [name for name in _yaml(_root(ctx) / "presets" / CATALOGUE) if name.startswith(incomplete)]
    return list(dict.fromkeys([*complete_method(ctx, incomplete), *catalogue]))


def complete_preset(ctx: Any, incomplete: str) -> list[str]:
    """Returns the files of presets/ that begin with `incomplete`."""
    presets = (_root(ctx) / "presets").glob(f"{incomplete}*.yaml")
    return sorted(preset.stem for preset in presets if preset.name != CATALOGUE)


def complete_classes(ctx: Any, incomplete: str) -> list[str]:
    """Returns the tasks that are ingested, of which `gift predict --classes` takes the class names."""
    tasks = Layout(_root(ctx)).task("any").parent.glob(f"{incomplete}*/task.json")
    return sorted(task.parent.name for task in tasks)


def complete_from(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Returns a function that completes to those of the names that begin with what was typed."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def _root(ctx: Any) -> Path:
    return Path(ctx.params.get("root") or "")


def _params(ctx: Any) -> dict[str, Any]:
    return _yaml(Path(ctx.params.get("params") or _root(ctx) / PARAMS))


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    content = None
    with suppress(OSError, yaml.YAMLError):
        content = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return content if isinstance(content, dict) else {}

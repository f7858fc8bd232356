"""What the Tab key completes: the names of tasks, methods and presets, as params.yaml and presets/ have them.

It runs at every press of the key, so params.yaml is not checked, and one that cannot be read completes to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

PARAMS, CATALOGUE = "params.yaml", "methods.yaml"


def complete_task(ctx: Any, incomplete: str) -> list[str]:
    """Returns the tasks of the sequence that begin with `incomplete`."""
    with suppress(LookupError, TypeError):
        return _beginning(incomplete, [step["task"] for step in _params(ctx)["sequence"]])
    return []


def complete_method(ctx: Any, incomplete: str) -> list[str]:
    """Returns the methods of params.yaml that begin with `incomplete`."""
    with suppress(LookupError, TypeError):
        return _beginning(incomplete, _params(ctx)["methods"])
    return []


def complete_known_method(ctx: Any, incomplete: str) -> list[str]:
    """Returns the methods of params.yaml and of presets/methods.yaml that begin with `incomplete`."""
    catalogue = _yaml(_root(ctx) / "presets" / CATALOGUE) or {}
    return list(dict.fromkeys([*complete_method(ctx, incomplete), *_beginning(incomplete, catalogue)]))


def complete_preset(ctx: Any, incomplete: str) -> list[str]:
    """Returns the files of presets/ that begin with `incomplete`."""
    presets = (_root(ctx) / "presets").glob("*.yaml")
    return _beginning(incomplete, sorted(preset.stem for preset in presets if preset.name != CATALOGUE))


def complete_classes(ctx: Any, incomplete: str) -> list[str]:
    """Returns the tasks that are ingested, of which `gift predict --classes` takes the class names."""
    from gift_core.layout import Layout

    tasks = Layout(_root(ctx)).task("any").parent.glob("*/task.json")
    return _beginning(incomplete, sorted(task.parent.name for task in tasks))


def _root(ctx: Any) -> Path:
    return Path(ctx.params.get("root") or "")


def _params(ctx: Any) -> Any:
    given = ctx.params.get("params")
    return _yaml(Path(given) if given else _root(ctx) / PARAMS)


def _yaml(path: Path) -> Any:
    import yaml

    with suppress(OSError, yaml.YAMLError):
        return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return None


def _beginning(incomplete: str, names: Iterable[object]) -> list[str]:
    return [name for name in map(str, names) if name.startswith(incomplete)]

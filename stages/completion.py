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


def _completes(names: Callable[[Any], Iterable[str]]) -> Callable[[Any, str], list[str]]:
    """Returns a function that completes to the names that begin with what was typed. They depend on the context."""
    return lambda ctx, incomplete: [name for name in names(ctx) if name.startswith(incomplete)]


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


complete_task = _completes(lambda ctx: [step["task"] for step in _params(ctx).get("sequence") or ()])
complete_method = _completes(lambda ctx: _params(ctx).get("methods") or ())
complete_known_method = _completes(
    lambda ctx: {**(_params(ctx).get("methods") or {}), **_yaml(_root(ctx) / "presets" / CATALOGUE)}
)
complete_preset = _completes(
    lambda ctx: sorted(file.stem for file in (_root(ctx) / "presets").glob("*.yaml") if file.name != CATALOGUE)
)
complete_classes = _completes(  # the tasks that are ingested, of which `gift predict --classes` takes the class names
    lambda ctx: sorted(file.parent.name for file in Layout(_root(ctx)).task("any").parent.glob("*/task.json"))
)

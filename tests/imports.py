"""The project's folder, methods and sequence, and what a file imports, also for type checkers alone."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from gift_core.config.params_edit import catalogue_rows
from gift_core.config.presets import complete_text

ROOT = Path(__file__).resolve().parents[1]


def first_params() -> str:
    """Returns params.yaml as the project has it at first. The one in ROOT is the experiment of whoever works there."""
    return complete_text(ROOT / "presets" / "mini_quick.yaml")


def with_all_methods(params: dict[str, Any]) -> dict[str, Any]:
    """Returns an experiment with the rows of the catalogue that it lacks."""
    return params | {"methods": catalogue_rows(params, ROOT / "presets") | params["methods"]}


def sequence_of(tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the section `sequence` of params.yaml, whose steps learn the tasks one after another."""
    steps = zip(tasks, ("../pretrained", *tasks), strict=False)
    return [{"task": task, "after": after, "learning_rate_factor": 1.0} for task, after in steps]


@cache
def imported_modules(file: Path) -> frozenset[str]:
    """Returns the absolute dotted names: of `from a import b` both a and a.b."""
    package = ".".join(file.relative_to(ROOT).parts[:-1])
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(names)

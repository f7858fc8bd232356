"""Reads imports from source: which files of ours a file really uses, at any depth, type-checking ones left out."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("gift_core", "stages")


@cache
def imported_modules(file: Path) -> frozenset[str]:
    """Returns the dotted names that `file` imports when it runs, inside functions too."""
    names: set[str] = set()
    for node in _running_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _running_nodes(tree: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        found += [node, *_running_nodes(node)]
    return found


def file_of(module: str) -> Path | None:
    """Returns the file of one of our modules, None where the name is no module of ours."""
    if module.split(".")[0] not in OURS:
        return None
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def closure(file: Path, *, until: tuple[str, ...] = ()) -> set[Path]:
    """Returns every file of ours that running `file` may import, itself included.

    Files whose path begins with one of `until` are returned, and not followed further.
    """
    seen: set[Path] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if not str(current.relative_to(ROOT)).startswith(until):
            waiting += [found for name in imported_modules(current) if (found := file_of(name))]
    return seen

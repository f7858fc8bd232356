"""Edits of a function in a copy of the project's code, as a person makes them."""

from __future__ import annotations

import ast
from pathlib import Path

MARK = "_edited = 0"


def edit_function(root: Path, file: str, name: str) -> None:
    """Adds a statement to the function or the method "Class.method" in a file. It computes the same."""
    path = root / file
    text = path.read_text(encoding="utf-8")
    node = _find(ast.parse(text), name)
    first = node.body[1] if len(node.body) > 1 and _is_docstring(node.body[0]) else node.body[0]
    lines = text.splitlines(keepends=True)
    at = min([first.lineno, *(each.lineno for each in getattr(first, "decorator_list", []))]) - 1
    lines.insert(at, f"{' ' * first.col_offset}{MARK}\n")
    path.write_text("".join(lines), encoding="utf-8")


def _find(tree: ast.Module, name: str) -> ast.FunctionDef:
    node: ast.AST = tree
    for part in name.split("."):
        node = next(each for each in ast.iter_child_nodes(node) if getattr(each, "name", None) == part)
    assert isinstance(node, ast.FunctionDef)
    return node


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

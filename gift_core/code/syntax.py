"""Hashes of code: comments, docstrings, layout and texts of errors do not count. All Python versions give the same."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from typing import Any


def normalized(node: ast.AST) -> str:
    """Returns the syntax tree as text that is the same on every Python version.

    ast.dump and ast.unparse are not: their output changed in 3.9, 3.12 and 3.13. Empty fields are left out, since new
    versions of Python add fields.
    """
    if isinstance(node, ast.Constant):
        return f"Constant<{type(node.value).__name__} {node.value!r}>"
    parts = [type(node).__name__]
    for name, value in _counting_fields(node):
        values = [each for each in (value if isinstance(value, list) else [value]) if not is_type_checking(each)]
        if values:
            texts = (normalized(each) if isinstance(each, ast.AST) else f"<{each!r}>" for each in values)
            parts.append(f"({name}{''.join(texts)})")
    return "".join(parts)


def _counting_fields(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The fields of a node without documentation, messages of errors, and empty ones."""
    if isinstance(node, ast.Raise):
        yield "exc", node.exc.func if isinstance(node.exc, ast.Call) else node.exc or []
        return
    for name in node._fields:
        value = getattr(node, name, None)
        if name in ("ctx", "type_comment") or (name == "msg" and isinstance(node, ast.Assert)):
            continue
        if isinstance(node, ast.JoinedStr):  # some versions add empty texts to f-strings
            value = [each for each in node.values if not (isinstance(each, ast.Constant) and each.value == "")]
        if name == "body" and isinstance(value, list) and value and is_docstring(value[0]):
            value = value[1:]
        if value is not None:
            yield name, value


def is_docstring(node: ast.AST) -> bool:
    """Returns whether a statement is a text alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_type_checking(node: object) -> bool:
    """Returns whether a statement is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def digest_of(data: bytes) -> str:
    """Returns the first digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:8]

"""Python files of the project that params.yaml names, and the files of the project that they import."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib.util import resolve_name
from pathlib import Path

from gift_core.code.versions import PACKAGES, hash_of_module


def own_files(root: Path, files: Iterable[str]) -> dict[str, str]:
    """Returns {file: hash} of these files below `root`, and of all that they import from there, sorted.

    Comments, docstrings and the texts of errors do not count. A file that is missing or that Python cannot read has an
    empty hash: who runs it says what is wrong.
    """
    waiting, found = [*files], dict[str, str]()
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        try:
            text = (root / file).read_text(encoding="utf-8")
            tree = ast.parse(text, file)
        except (OSError, SyntaxError, ValueError):
            found[file] = ""
            continue
        found[file] = hash_of_module(text)
        waiting += [path for name in _imported(tree, file) for path in _paths(root, name)]
    return dict(sorted(found.items()))


def _imported(tree: ast.Module, file: str) -> Iterator[str]:
    """The dotted names of what a module may import. Of `from a import b`: a and a.b."""
    package = file.rpartition("/")[0].replace("/", ".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level and package:
                base = resolve_name("." * node.level + base, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _paths(root: Path, name: str) -> Iterator[str]:
    """The files of the project that run where the dotted name is imported, those of its packages included."""
    parts = name.split(".")
    if parts[0] in PACKAGES:  # GIFT's own code has versions
        return
    for count in range(1, len(parts) + 1):
        module = "/".join(parts[:count])
        for path in (f"{module}.py", f"{module}/__init__.py"):
            if (root / path).is_file():
                yield path

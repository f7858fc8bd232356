"""Measures the power of the tests: seeded mistakes in the code, and how many of them make a test fail.

A mistake is a changed operator, number, condition or returned value, or a call that is left out. Half of them are in
the method (tests/test_architecture.py: CIRCLE_1), the others in artifacts/, execution/ and stages/. For each one, the
tests that import its module run, the nearest first, until one fails. Those that compare the code with a record of it
are left out. Run it in a clone of its own: the files are changed in place, and restored.
"""

from __future__ import annotations

import argparse
import ast
import copy
import csv
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.imports import ROOT, imported_modules
from tests.test_architecture import files_of_circle_1

MORE = ("gift_core/artifacts", "gift_core/execution", "stages")
RECORDS = ("test_revisions.py", "test_revisions_probe.py", "test_fingerprint.py", "test_architecture.py")
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Not: ast.UAdd,
}  # fmt: skip
UNSEEN = ("echo", "secho", "say", "print", "info", "warning", "debug")  # a text on the screen is no mistake in a result


@dataclass(frozen=True)
class Mutant:
    """A mistake: where it is, what it is, and the text of the file with it."""

    file: Path
    line: int
    what: str
    text: str


def mutants(file: Path) -> Iterator[Mutant]:
    """Yields every mistake that can be made in the functions of a file."""
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in (each for function in functions for statement in function.body for each in _seen(statement)):
        for what, change in _changes(node):
            changed = copy.deepcopy(node)
            change(changed)
            yield Mutant(file, node.lineno, what, _replaced(source, node, ast.unparse(changed)))


def _seen(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """The statements and expressions below a node that can change a result."""
    is_text = isinstance(node, ast.Raise | ast.JoinedStr | ast.FunctionDef | ast.ClassDef) or (
        isinstance(node, ast.Call) and (getattr(node.func, "attr", "") or getattr(node.func, "id", "")) in UNSEEN
    )
    if is_text:
        return
    if isinstance(node, ast.stmt | ast.expr):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _seen(child)


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """(what is changed, a function that changes a copy of the node)."""
    for name in ("op", "ops"):
        operator = getattr(node, name, None)
        first = operator[0] if isinstance(operator, list) else operator
        if type(first) in SWAPPED and not isinstance(node, ast.AugAssign):
            other = SWAPPED[type(first)]()
            yield (
                f"{type(first).__name__} -> {type(other).__name__}",
                lambda copied, name=name, other=other: setattr(
                    copied, name, [other, *getattr(copied, name)[1:]] if name == "ops" else other
                ),
            )
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield f"{node.value} -> {value}", lambda copied: setattr(copied, "value", value)
    if isinstance(node, ast.If | ast.IfExp) and not isinstance(node.test, ast.Compare | ast.BoolOp):
        yield "the condition is true", lambda copied: setattr(copied, "test", ast.Constant(True))
        yield "the condition is false", lambda copied: setattr(copied, "test", ast.Constant(False))
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield "returns None", lambda copied: setattr(copied, "value", ast.Constant(None))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and list(_seen(node.value)):
        yield "the call is left out", lambda copied: setattr(copied, "value", ast.Constant(...))


def _replaced(source: str, node: ast.stmt | ast.expr, text: str) -> str:
    """The source with another text instead of a node. Statements keep their indentation."""
    lines = source.encode().splitlines(keepends=True)
    end = node.end_lineno or node.lineno
    before, after = lines[node.lineno - 1][: node.col_offset], lines[end - 1][node.end_col_offset :]
    is_expression = isinstance(node, ast.expr)
    new = f"({text})" if is_expression else text.replace("\n", f"\n{' ' * node.col_offset}")
    return b"".join([*lines[: node.lineno - 1], before, new.encode(), after, *lines[end:]]).decode()


def tests_of(file: Path, most: int) -> list[str]:
    """Returns the test files that import a module, also through others, the nearest first."""
    found: dict[Path, int] = {}
    graph = {path: set(map(_file_of, imported_modules(path))) - {None} for path in _all_files()}
    for test in (path for path in graph if path.name.startswith("test_") and path.name not in RECORDS):
        distance, border, seen = 0, {test}, {test}
        while border and file not in border:
            border = {each for path in border for each in graph.get(path, ())} - seen
            seen |= border
            distance += 1
        if file in border:
            found[test] = distance
    own = file.stem

    def rank(path: Path) -> tuple[bool, int, str]:
        return own not in path.stem, found[path], str(path)

    return [str(path.relative_to(ROOT)) for path in sorted(found, key=rank)][:most]


def _all_files() -> list[Path]:
    return [path for name in ("gift_core", "stages", "tests") for path in sorted((ROOT / name).rglob("*.py"))]


def _file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


def is_killed(mutant: Mutant, most: int, layer: str, seconds: float) -> str:
    """Returns what the tests say of a mistake: killed, survived, or too long."""
    kept = mutant.file.read_bytes()
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-W", "ignore", "-m", layer]
    try:
        mutant.file.write_text(mutant.text, encoding="utf-8")
        done = subprocess.run(
            [*command, *tests_of(mutant.file, most)], cwd=ROOT, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return "too long"
    finally:
        mutant.file.write_bytes(kept)
    return "survived" if done.returncode in (0, 5) else "killed"


def main() -> None:
    """Chooses mistakes, runs the tests of each, and writes and prints what they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="how many mistakes")
    parser.add_argument("--seed", type=int, default=26)
    parser.add_argument("--start", type=int, default=0, help="leave out the first ones")
    parser.add_argument("--step", type=int, default=1, help="take every n-th")
    parser.add_argument("--most", type=int, default=40, help="test files for each mistake")
    parser.add_argument("--seconds", type=float, default=600.0, help="for the tests of one mistake")
    parser.add_argument("--layer", default="not thorough and not slow and not hostile and not gpu and not end_to_end")
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "mutants.csv")
    options = parser.parse_args()
    files = [*files_of_circle_1(), *(path for name in MORE for path in sorted((ROOT / name).glob("*.py")))]
    generator = random.Random(options.seed)
    half = options.count // 2
    of_circle_1, others = (
        [each for file in some for each in mutants(file)]
        for some in (files[: len(files_of_circle_1())], files[len(files_of_circle_1()) :])
    )
    chosen = [*generator.sample(of_circle_1, half), *generator.sample(others, options.count - half)]
    with options.record.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "line", "mistake", "result"])
        for mutant in chosen[options.start :: options.step]:
            result = is_killed(mutant, options.most, options.layer, options.seconds)
            row = [str(mutant.file.relative_to(ROOT)), str(mutant.line), mutant.what, result]
            rows.writerow(row)
            file.flush()
            print(*row, flush=True)


if __name__ == "__main__":
    main()

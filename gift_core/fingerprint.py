"""Fingerprints of the code that a stage runs, so that DVC runs a stage again when its code changes, and only then.

A fingerprint covers every module that the stage's command imports, at any depth. It is computed from syntax trees, so
comments, docstrings, layout, type-checking imports and the texts of raised errors do not count. It is the same on every
supported Python version. Data files that lie beside the modules count by their bytes.

The sections of params.yaml (gift_core.config) count by their methods and their defaults only: their values are DVC
parameters, and a new key or check in them must not run everything again.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

if TYPE_CHECKING:
    from gift_core.config.section import Section

PACKAGES = ("gift_core", "stages")
CONFIG = "gift_core/config/"
# What a person sees while a stage runs, how it is interrupted, and which process computes what. It does not change what
# the stage writes.
DISPLAY = (
    "gift_core/progress.py",
    "gift_core/out_of_memory.py",
    "gift_core/work/spread.py",
    "gift_core/tracking/",
    "stages/interruption.py",
    "stages/completion.py",
    "stages/output.py",
    "stages/tracked.py",
)
DIGITS = 16


@dataclass
class CodeBase:
    """The modules of gift_core, below `root`, and of stages. Each is read and parsed once.

    `stages` is the folder of that package, root/stages if None. A wheel has it inside gift_core (setup.py), but its
    modules have the same names here as in the repository: stages/finetune.py.
    """

    root: Path
    stages: Path | None = None
    _modules: dict[Path, Module] = field(default_factory=dict)
    _imported: dict[Path, set[Path]] = field(default_factory=dict)
    _found: dict[str, Path | None] = field(default_factory=dict)

    @classmethod
    def that_runs(cls, stages: Path) -> CodeBase:
        """Returns the code of this process: the gift_core of this module, and the package in the folder `stages`."""
        return cls(Path(__file__).resolve().parents[1], stages)

    @property
    def commands(self) -> Path:
        """The folder of the commands: commands/<stage>.py is that of a stage."""
        return self.stages or self.root / "stages"

    def module(self, path: Path) -> Module:
        """Returns the module in the file `path`."""
        if path not in self._modules:
            self._modules[path] = Module(path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
        return self._modules[path]

    def find(self, name: str) -> Path | None:
        """Returns the file of one of our modules by its dotted name, None for any other name."""
        if name not in self._found:
            package, *rest = name.split(".")
            path = (self.commands if package == "stages" else self.root / package).joinpath(*rest)
            files = (path.with_suffix(".py"), path / "__init__.py")
            self._found[name] = next((file for file in files if file.is_file()), None)
        return self._found[name]

    def _files(self, name: str) -> list[Path]:
        """The module of a dotted name, and the packages that contain it."""
        parts = name.split(".")
        if parts[0] not in PACKAGES:
            return []
        found = [self.find(".".join(parts[:end])) for end in range(1, len(parts) + 1)]
        return [file for file in found if file]

    def closure(self, path: Path) -> list[Path]:
        """Returns every file of ours that running `path` may import, itself included, sorted."""
        seen: set[Path] = set()
        waiting = [path]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                waiting += self._files_of_imports(current)
        return sorted(seen, key=self._order)

    def _files_of_imports(self, path: Path) -> set[Path]:
        if path not in self._imported:
            self._imported[path] = {file for name in self.imports(path) for file in self._files(name)}
        return self._imported[path]

    def imports(self, path: Path) -> frozenset[str]:
        """Returns the absolute dotted names that the module in `path` imports when it runs."""
        package = ".".join(self._relative(path).split("/")[:-1])
        return frozenset(
            resolve_name(name, package) if name.startswith(".") else name for name in self.module(path).imports
        )

    def fingerprint(self, path: Path) -> dict[str, str]:
        """Returns {file: hash} of the modules that running `path` imports, and of the data files beside them."""
        with _no_garbage_collection():
            modules = self.closure(path)
            hashes = {self._relative(module): self._hash(module) for module in modules}
        folders = {module.parent for module in modules}
        files = sorted((file for folder in folders for file in data_files_in(folder)), key=self._order)
        return {name: digest for name, digest in hashes.items() if digest} | {
            self._relative(file): _digest(file.read_bytes()) for file in files
        }

    def _order(self, path: Path) -> list[str]:
        return self._relative(path).split("/")

    def _relative(self, path: Path) -> str:
        if path.is_relative_to(self.commands):
            return f"stages/{path.relative_to(self.commands).as_posix()}"
        return path.relative_to(self.root).as_posix()

    def _hash(self, path: Path) -> str:
        """Empty where nothing of the module counts."""
        name, module = self._relative(path), self.module(path)
        if name.startswith(DISPLAY):
            return ""
        return module.hash_of_methods if name.startswith(CONFIG) else module.hash


@dataclass(frozen=True)
class Module:
    """A parsed module."""

    path: Path
    tree: ast.Module

    @cached_property
    def imports(self) -> frozenset[str]:
        """The dotted names that it imports when it runs, also inside functions. Relative ones start with dots."""
        names: set[str] = set()
        for node in _running_statements(self.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                if node.module:
                    names.add(base)
                names.update(f"{base}.{alias.name}" if node.module else base + alias.name for alias in node.names)
        return frozenset(names)

    @cached_property
    def hash(self) -> str:
        """The hash of the syntax tree, see `normalized`."""
        return _digest(normalized(self.tree).encode())

    @cached_property
    def hash_of_methods(self) -> str:
        """The hash of the functions of its classes, empty if there are none."""
        classes = [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]
        functions = [(each.name, node) for each in classes for node in each.body if isinstance(node, ast.FunctionDef)]
        text = "".join(name + normalized(node) for name, node in functions)
        return _digest(text.encode()) if text else ""


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """For syntax trees: they are many objects, and none of them is garbage. The collection takes a fifth of `check`."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def normalized(node: ast.AST) -> str:
    """Returns the syntax tree as text that is the same on every Python version.

    ast.dump and ast.unparse are not: their output changed in 3.9, 3.12 and 3.13. Empty fields are left out, since new
    versions of Python add fields.
    """
    parts: list[str] = []
    _add_normalized(node, parts)
    return "".join(parts)


def _add_normalized(node: ast.AST, parts: list[str]) -> None:
    parts.append(type(node).__name__)
    if isinstance(node, ast.Constant):
        parts.append(f"<{type(node.value).__name__} {node.value!r}>")
        return
    for name, value in _counting_fields(node):
        values = [each for each in (value if isinstance(value, list) else [value]) if not _is_type_checking(each)]
        if values:
            parts.append(f"({name}")
            for each in values:
                if isinstance(each, ast.AST):
                    _add_normalized(each, parts)
                else:
                    parts.append(f"<{each!r}>")
            parts.append(")")


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
        if name == "body" and isinstance(value, list) and _has_docstring(node, value):
            value = value[1:]
        if value is not None:
            yield name, value


def _has_docstring(node: ast.AST, body: list[ast.stmt]) -> bool:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = body[0] if body else None
    return (
        isinstance(node, documented)
        and isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def _running_statements(tree: ast.AST) -> Iterator[ast.AST]:
    waiting = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if not isinstance(node, ast.expr) and not _is_type_checking(node):
                yield node
                waiting.append(node)


def _is_type_checking(node: object) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def data_files_in(folder: Path) -> list[Path]:
    """Returns the data files in the folder of a module and in subfolders that are not packages."""
    found: list[Path] = []
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__" and not any(entry.rglob("*.py")):
            found += [file for file in entry.rglob("*") if file.is_file()]
        elif entry.is_file() and entry.suffix not in (".py", ".pyc", ".md"):
            found.append(entry)
    return found


def schema_defaults(annotation: Any) -> dict[str, str]:
    """Returns {"MethodConfig.start": "'previous'", ...}: the defaults below a section of params.yaml.

    A default of None means a feature that is not used. It does not count, so that new optional keys run nothing.
    """
    found: dict[str, str] = {}
    for section in _sections(annotation):
        for name, info in section.model_fields.items():
            default = None if info.is_required() else info.get_default(call_default_factory=True)
            if default is not None:
                found[f"{section.__name__}.{name}"] = repr(default)
            found |= schema_defaults(info.annotation)
    return found


def _sections(annotation: Any) -> list[type[Section]]:
    from gift_core.config.section import Section

    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, dict, tuple, list):
        return [section for argument in get_args(annotation) for section in _sections(argument)]
    return []


def fingerprints(code: CodeBase, params_of: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Returns {stage: {"code": {file: hash}, "defaults": {key: value}}} for each stage of `params_of`.

    `params_of` gives the DVC parameters of each stage, whose sections' defaults count.
    """
    from gift_core.config.experiment import Config

    return {
        stage: {
            "code": code.fingerprint(code.commands / f"{stage}.py"),
            "defaults": _defaults_of(Config, params),
        }
        for stage, params in params_of.items()
    }


def _defaults_of(config: type[Section], params: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in sorted({param.split(".")[0] for param in params}):
        found |= schema_defaults(config.model_fields[name].annotation)
    return dict(sorted(found.items()))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]

"""The definitions of a module: what each of them refers to, and a hash of what of it counts.

A definition is a function, a class, a method of a class, a value of a module, or an entry of a table (TABLES). Its hash
is that of its syntax tree: comments, docstrings, layout, type-checking imports and the texts of raised errors do not
count, and it is the same on every supported Python version.

The sections of params.yaml (gift_core.config) count by their methods and their defaults only: their values are DVC
parameters, and a new key in them must not run everything again. A default of None means a feature that is not used.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

PACKAGES = ("gift_core", "stages")
REVISIONS, VERIFIED = "gift_core/revisions.json", "gift_core/verified_code.json"
NOT_RUN = ("gift_core/new_project/files/", "gift_core/new_project/template/", "gift_core/stages/")
CONFIG = "gift_core/config/"
# Dictionaries whose entries are definitions of their own, with the option of params.yaml that chooses one.
TABLES = {
    "gift_core/losses.py: LOSSES": "losses",
    "gift_core/methods.py: ENTROPIES": "losses",
    "gift_core/consolidation.py: CONSOLIDATIONS": "consolidation",
    "gift_core/replay/teach.py: REPLAYS": "replay",
    "gift_core/clip/trained.py: TRAINS": "trains",
    "gift_core/datasets/ingest.py: READERS": "source",
}
NAMED_ATTRIBUTES = ("getattr", "hasattr", "setattr", "attrgetter", "methodcaller")
DIGITS = 12


@dataclass(frozen=True)
class References:
    """What a definition refers to.

    `names` are those that it uses, `chains` its expressions `name.attribute`, and `attributes` all names after a dot.
    `imports` maps the names that it imports itself to dotted names. `is_dynamic`: it has getattr with a name that is
    computed.
    """

    names: frozenset[str]
    chains: frozenset[tuple[str, str]]
    attributes: frozenset[str]
    imports: Mapping[str, str]
    is_dynamic: bool


@dataclass(frozen=True)
class Definition:
    """A part of a module: its syntax trees. `counting`: the text that counts instead of them."""

    file: str
    name: str
    nodes: tuple[ast.AST, ...]
    counting: str | None = None

    @property
    def key(self) -> str:
        """ "gift_core/losses.py: distill", or with a colon at the end for a module's other statements."""
        return f"{self.file}: {self.name}".rstrip()

    @cached_property
    def hash(self) -> str:
        """The hash of what counts, empty where nothing does."""
        text = "".join(map(normalized, self.nodes)) if self.counting is None else self.counting
        return digest_of(f"{self.name} {text}".encode()) if text else ""

    @property
    def lines(self) -> tuple[int, int]:
        """The first line, of a decorator if there is one, and the last line."""
        starts = [each for node in self.nodes for each in (node, *getattr(node, "decorator_list", ()))]
        lines = [(getattr(each, "lineno", 0), getattr(each, "end_lineno", 0)) for each in starts]
        return min((first for first, _ in lines), default=0), max((last for _, last in lines), default=0)

    @cached_property
    def references(self) -> References:
        """What it refers to."""
        names: set[str] = set()
        chains: set[tuple[str, str]] = set()
        attributes: set[str] = set()
        imports: dict[str, str] = {}
        is_dynamic = False
        for node in (each for start in self.nodes for each in _running_nodes(start)):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                attributes.add(node.attr)
                if isinstance(node.value, ast.Name):
                    chains.add((node.value.id, node.attr))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                imports |= _imports_of(node, self.file)
            elif isinstance(node, ast.Call) and _called_name(node) in NAMED_ATTRIBUTES:
                texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
                attributes |= {text for text in texts if isinstance(text, str)}
                is_dynamic |= any(not isinstance(each, ast.Constant) for each in node.args[1:2])
        return References(frozenset(names), frozenset(chains), frozenset(attributes), imports, is_dynamic)


@dataclass
class Module:
    """A module of ours. Its definitions have "" for its statements that are none, apart from imports.

    `methods` are those of its classes, `bases` the bases of its classes as they are written.
    """

    file: str
    imports: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    methods: dict[str, dict[str, Definition]] = field(default_factory=dict)
    bases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tables: dict[str, list[Definition]] = field(default_factory=dict)

    @property
    def rest(self) -> Definition:
        """The statements that are no definitions and no imports."""
        return self.definitions[""]

    def all_definitions(self) -> Iterator[Definition]:
        """Yields every definition, those of classes and tables included."""
        yield from self.definitions.values()
        for methods in self.methods.values():
            yield from methods.values()
        for entries in self.tables.values():
            yield from entries


def read_module(file: str, tree: ast.Module) -> Module:
    """Returns the definitions of a syntax tree."""
    module, rest = Module(file), []
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            module.imports |= _imports_of(statement, file)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            module.definitions[statement.name] = Definition(file, statement.name, (statement,))
        elif isinstance(statement, ast.ClassDef):
            _read_class(module, statement)
        elif (name := _assigned_name(statement)) is not None:
            if f"{file}: {name}" in TABLES:
                entries = _entries(statement)
                module.tables[name] = [Definition(file, f"{name}[{key}]", (value,)) for key, value in entries]
            else:
                text = "" if file.startswith(CONFIG) else None
                module.definitions[name] = Definition(file, name, (statement,), text)
        elif not _is_type_checking(statement) and not _is_docstring(statement):
            rest.append(statement)
    module.definitions[""] = Definition(file, "", tuple(rest))
    return module


def _read_class(module: Module, node: ast.ClassDef) -> None:
    functions = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    fields = [each for each in node.body if each not in functions and not _is_docstring(each)]
    methods: dict[str, list[ast.stmt]] = {}
    for each in functions:  # a property may have several functions of one name
        methods.setdefault(each.name, []).append(each)
    module.methods[node.name] = {
        name: Definition(module.file, f"{node.name}.{name}", tuple(nodes)) for name, nodes in methods.items()
    }
    module.bases[node.name] = tuple(
        ast.unparse(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases
    )
    parts = (*node.bases, *node.keywords, *node.decorator_list, *fields)
    text = "".join(map(_default, fields)) if module.file.startswith(CONFIG) else None
    module.definitions[node.name] = Definition(module.file, node.name, parts, text)


def _default(node: ast.stmt) -> str:
    """The name and the default of a key of params.yaml, without its type; empty without a default."""
    value = getattr(node, "value", None)
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        return ""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    return "".join(map(normalized, [*targets, value]))


def _assigned_name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def _entries(node: ast.stmt) -> list[tuple[str, ast.AST]]:
    """The entries of a dictionary with texts as keys."""
    value = getattr(node, "value", None)
    if not isinstance(value, ast.Dict):
        return []
    return [
        (key.value, entry)
        for key, entry in zip(value.keys, value.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    ]


def _called_name(node: ast.Call) -> str:
    return str(getattr(node.func, "id", "") or getattr(node.func, "attr", ""))


def _imports_of(node: ast.Import | ast.ImportFrom, file: str) -> dict[str, str]:
    """{the name here: the dotted name of what it is}, without other packages' modules."""
    if isinstance(node, ast.Import):
        found = {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
    else:
        package = file.removesuffix(".py").rpartition("/")[0].replace("/", ".")
        base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
        found = {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
    return {name: target for name, target in found.items() if target.split(".")[0] in PACKAGES}


def _running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, without what only type checkers see."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if not _is_type_checking(current):
            yield current
            waiting.extend(ast.iter_child_nodes(current))


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
        if name == "body" and isinstance(value, list) and value and _is_docstring(value[0]):
            value = value[1:]
        if value is not None:
            yield name, value


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_type_checking(node: object) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def hashes_of_files(root: Path, stages: Path) -> dict[str, str]:
    """Returns {file: hash} of the modules in root/gift_core and `stages`, and of the data files beside them, sorted.

    What `gift init` copies is left out, and so are the two records of what was verified.
    """
    found: dict[str, Path] = {}
    for package, base in zip(PACKAGES, (root / PACKAGES[0], stages), strict=True):
        files = (path for path in base.rglob("[!.]*") if "__pycache__" not in path.parts and path.is_file())
        found |= {f"{package}/{path.relative_to(base).as_posix()}": path for path in files}
    ours = (name for name in sorted(found) if not name.startswith(NOT_RUN) and name not in (REVISIONS, VERIFIED))
    return {name: digest_of(found[name].read_bytes()) for name in ours}


def edited_files(root: Path, stages: Path) -> tuple[str, ...]:
    """Returns the files of the code whose bytes are not those of verified_code.json, new and deleted ones included."""
    record = root / VERIFIED
    verified = json.loads(record.read_text(encoding="utf-8")).get("files", {}) if record.is_file() else {}
    found = hashes_of_files(root, stages)
    return tuple(sorted(name for name in {*verified, *found} if verified.get(name) != found.get(name)))


def digest_of(data: bytes) -> str:
    """Returns the first digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]

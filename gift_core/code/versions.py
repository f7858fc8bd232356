"""The code that each stage runs, the stage's version, and what was edited since.

A stage runs its own module, the modules that these import, also inside functions, and the data files beside them. Its
version (versions.yaml) is raised by hand, with a sentence, when it writes something else. recorded.json has the hashes
of the code at the present versions (`make versions`). A module with another hash was edited: the stages that import it
depend on its hash, too (docs/decisions/0071-versions.md).
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import yaml

PACKAGES = ("gift_core", "stages")
TABLE, RECORD = "gift_core/code/versions.yaml", "gift_core/code/recorded.json"
# Modules that never decide a result: what a person sees, how a stage is started, and the reader of params.yaml, whose
# values count by themselves. Their imports do not count either.
NEVER = (
    "gift_core/__init__.py",
    "gift_core/code/",
    "gift_core/config/loading.py",
    "gift_core/process_variables.py",
    "gift_core/progress.py",
    "gift_core/tracking/",
    "gift_core/work/os_errors.py",
    "stages/command_line.py",
    "stages/dvc/",
)
NO_CODE = ("gift_core/new_project/files/", "gift_core/new_project/template/", "gift_core/stages/")


@dataclass(frozen=True)
class Code:
    """The modules of gift_core and stages below `root`. Each file is read once.

    A wheel has stages inside gift_core (setup.py). Its files have the same names here as in the repository:
    stages/finetune.py.
    """

    root: Path

    @cached_property
    def versions(self) -> dict[str, dict[int, str]]:
        """{stage: {version: what it changed}}. The last version is the present one."""
        return yaml.safe_load(self.path(TABLE).read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    @cached_property
    def recorded(self) -> dict[str, list[str]]:
        """The content of recorded.json: of each file the hash of its bytes and its hash_of. {} without that file."""
        path = self.path(RECORD)
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return {file: row.split() for file, row in rows.items()}

    @cached_property
    def files(self) -> dict[str, str]:
        """{file: hash of its bytes} of all modules and the data files beside them, sorted."""
        found = dict[str, Path]()
        for package in PACKAGES:
            base = self.path(package)
            paths = (path for path in base.rglob("[!.]*") if "__pycache__" not in path.parts and path.is_file())
            found |= {f"{package}/{path.relative_to(base).as_posix()}": path for path in paths}
        return {file: digest_of(found[file].read_bytes()) for file in sorted(found) if not file.startswith(NO_CODE)}

    @cached_property
    def edited(self) -> dict[str, str]:
        """{file: its hash} of what stages run and is not as it was recorded, sorted."""
        if not any(map(self._is_edited, self.recorded)):
            return {}  # nothing imports a new module
        return {file: self.hash_of(file) for file in sorted(self.all_reached()) if self._is_edited(file)}

    def path(self, file: str) -> Path:
        """Returns the path of a file that is named as in the repository."""
        package, _, rest = file.partition("/")
        in_wheel = self.root / "gift_core" / "stages"
        return in_wheel / rest if package == "stages" and in_wheel.is_dir() else self.root / file

    def state(self, stage: str) -> dict[str, Any]:
        """Returns {"version": 3}, and as "edited" {file: its hash} where something is not as it was recorded.

        A command that computes as stages do (gift search) has no version of its own, but those of all stages.
        """
        newest = {name: max(versions) for name, versions in self.versions.items()}
        found: dict[str, Any] = {"version": newest.get(stage, newest)}
        reached = self.reached(stage) if self.edited else ()
        if edited := {file: digest for file, digest in self.edited.items() if file in reached}:
            found["edited"] = edited
        return found

    def reached(self, stage: str) -> set[str]:
        """Returns the modules that the stage runs, and the data files beside them."""
        file = f"stages/{stage}.py"
        found, waiting = set[str](), [file if file in self.files else f"stages/commands/{stage}.py"]
        while waiting:
            file = waiting.pop()
            if file not in found and not file.startswith(NEVER):
                found.add(file)
                waiting += self._imports[file]
        return found | {data for file in found for data in self._data.get(file.rpartition("/")[0], ())}

    def all_reached(self) -> set[str]:
        """Returns what the stages run, of all of them together."""
        return set[str]().union(*map(self.reached, self.versions))

    def hash_of(self, file: str) -> str:
        """Returns the hash of a module without comments, docstrings and texts of errors, of the bytes of other files.

        It is the same on every supported version of Python.
        """
        return hash_of_module(self.path(file).read_text(encoding="utf-8")) if is_module(file) else self.files[file]

    def _is_edited(self, file: str) -> bool:
        if file not in self.files or file not in self.recorded:
            return True
        digest, normalized_digest = self.recorded[file]
        return self.files[file] != digest and self.hash_of(file) != normalized_digest

    @cached_property
    def _imports(self) -> dict[str, list[str]]:
        """{module: the modules of gift_core and stages that it imports, with the packages around these}."""
        return {file: list(self._imports_of(file)) for file in filter(is_module, self.files)}

    def _imports_of(self, file: str) -> Iterator[str]:
        package = file.rpartition("/")[0].replace("/", ".")
        names = set[str]()
        for node in _without_typing(ast.parse(self.path(file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = resolve_name("." * node.level + (node.module or ""), package)
                names.update(f"{base}.{alias.name}" for alias in node.names)
        for name in sorted(names):
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                path = "/".join(parts[:end])
                yield from (each for each in (f"{path}.py", f"{path}/__init__.py") if each in self.files)

    @cached_property
    def _data(self) -> dict[str, list[str]]:
        """{folder: the data files in it, and below it where there are no modules}."""
        folders = {parent for file in filter(is_module, self.files) for parent in Path(file).parents}
        found = dict[str, list[str]]()
        for file in self.files:
            if not file.endswith((".py", ".md")):
                folder = next(parent for parent in Path(file).parents if parent in folders)
                found.setdefault(folder.as_posix(), []).append(file)
        return found


@cache
def running_code() -> Code:
    """Returns the code of this process, as it was found first."""
    return Code(Path(__file__).resolve().parents[2])


def is_module(file: str) -> bool:
    """Returns whether a file is a Python module, by its name."""
    return file.endswith(".py")


def hash_of_module(text: str) -> str:
    """Returns the hash of a module's content: see Code.hash_of."""
    return digest_of(_normalized(ast.parse(text)).encode())


def digest_of(data: bytes) -> str:
    """Returns the first digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:7]


def _without_typing(node: ast.AST) -> Iterator[ast.AST]:
    """Yields what is below a node, without what only type checkers import."""
    for child in ast.iter_child_nodes(node):
        if not _is_typing(child):
            yield child
            yield from _without_typing(child)


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _normalized(node: Any) -> str:
    """What counts of a syntax tree, as text. The outputs of ast.dump and ast.unparse changed in 3.9, 3.12 and 3.13.

    Empty fields are left out, since new versions of Python add fields.
    """
    if isinstance(node, list):
        return "".join(map(_normalized, node))
    if not isinstance(node, ast.AST):
        return f"<{node!r}>"
    if isinstance(node, ast.Constant):
        return f"Constant<{type(node.value).__name__} {node.value!r}>"
    if _is_typing(node) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring
        return ""
    parts = [type(node).__name__]
    for name in node._fields:
        value = getattr(node, name, None)
        if name in ("ctx", "type_comment") or (type(node), name) in ((ast.Assert, "msg"), (ast.Raise, "cause")):
            continue
        if isinstance(node, ast.Raise) and isinstance(value, ast.Call):
            value = value.func  # without the text of the error
        if isinstance(node, ast.JoinedStr):  # some versions add empty texts to f-strings
            value = [each for each in node.values if not (isinstance(each, ast.Constant) and each.value == "")]
        if value is not None and (text := _normalized(value)):
            parts.append(f"({name}{text})")
    return "".join(parts)

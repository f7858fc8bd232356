"""What code a stage runs, definition by definition, so that an edit makes only those stages stale that use it.

A definition (gift_core.definitions) is a function, a method, a class or a value of a module, or a data file beside one.
`CodeBase.reached` follows names from the function of a stage: through imports, also those inside functions, and from a
class to those of its methods whose name occurs as an attribute in the code that is used. What only follows from an
option that is not used, such as a loss that a method does not name, is left out (TABLES, OPTIONAL).
"""

from __future__ import annotations

import ast
import gc
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gift_core.definitions import PACKAGES, REVISIONS, TABLES, VERIFIED, Definition, Module, digest_of, read_module

# What a person sees while a stage runs, how it begins and ends, and this module. It cannot change what the stage
# writes, so it is not followed.
DISPLAY = (
    "gift_core/__init__.py",
    "gift_core/definitions.py",
    "gift_core/fingerprint.py",
    "gift_core/revisions.py",
    "gift_core/progress.py",
    "gift_core/out_of_memory.py",
    "gift_core/os_errors.py",
    "gift_core/tracking/",
    "stages/app.py",
    "stages/command_line.py",
    "stages/interruption.py",
    "stages/completion.py",
    "stages/guards.py",
    "stages/tracked.py",
)
# How work is resumed, shared and published. It is followed, but an edit of it does not make a stage stale: it must not
# change what a stage writes, and `make revisions` compares the bytes.
WORK = ("gift_core/work/",)
# Definitions that only run with an option.
OPTIONAL = {
    "gift_core/averaging.py: RunningMean": "average",
    "gift_core/averaging.py: Interpolation": "merge",
    "gift_core/clip/layers.py: layer_factors": "layer_decay",
    "gift_core/release.py: released_weights": "release",
    "gift_core/replay/fisher.py: fisher_of_pairs": "fisher",
    "gift_core/datasets/ingest.py: _rendered": "source.mini",
    "gift_core/generators/filters.py: QualityFilters": "filters",
    "gift_core/generators/filters.py: load_scorer": "filters",
    "gift_core/generators/judges.py: load_head": "filters",
    "gift_core/generators/judges.py: load_safety_checker": "filters",
}
# Data files beside modules that are none of these count.
NOT_DATA = (".py", ".pyc", ".md")
CLOSED_BASES = ("ABC", "Generic", "Protocol", "object")  # no library calls the methods of their subclasses
ATTRIBUTE = re.compile(r"\.(\w+)")


@dataclass
class CodeBase:
    """The modules of gift_core, below `root`, and of stages. Each is read and parsed once.

    `stages` is the folder of that package, root/stages if None. A wheel has it inside gift_core (setup.py), but its
    modules have the same names here as in the repository: stages/finetune.py.
    """

    root: Path
    stages: Path | None = None
    _modules: dict[str, Module] = field(default_factory=dict)
    _files: dict[str, str | None] = field(default_factory=dict)
    _uses: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    _imported: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _data: dict[str, dict[str, str]] = field(default_factory=dict)
    _open: dict[tuple[str, str], bool] = field(default_factory=dict)

    @classmethod
    def that_runs(cls, stages: Path) -> CodeBase:
        """Returns the code of this process: the gift_core of this module, and the package in the folder `stages`."""
        return cls(Path(__file__).resolve().parents[1], stages)

    def reached(self, stage: str, options: Collection[str]) -> dict[str, str]:
        """Returns {definition: hash} of what the stage runs with these options, those without a hash included.

        Options are named as in params.yaml: "losses.distill", "source.folder".
        """
        with _no_garbage_collection():
            return _Reach(self, frozenset(options)).from_function(f"stages/{stage}.py", stage)

    def path(self, file: str) -> Path:
        """Returns the path of a file that is named as in the repository: "stages/finetune.py"."""
        if self.stages is not None and file.split("/")[0] == "stages":
            return self.stages.joinpath(*file.split("/")[1:])
        return self.root / file

    def module(self, file: str) -> Module:
        """Returns the module in `file`."""
        if file not in self._modules:
            tree = ast.parse(self.path(file).read_text(encoding="utf-8"), file)
            self._modules[file] = read_module(file, tree)
        return self._modules[file]

    def function_at(self, file: str, line: int) -> str:
        """Returns the key of the definition around a line of a module: the innermost one, without nested functions."""
        around = [each for each in self.module(file).all_definitions() if each.lines[0] <= line <= each.lines[1]]
        return min(around, key=lambda each: each.lines[1] - each.lines[0]).key if around else f"{file}: line {line}"

    def is_function(self, key: str) -> bool:
        """Whether a definition is a function or a method."""
        file, _, name = key.partition(": ")
        owner, _, method = name.partition(".")
        if not file.endswith(".py"):
            return False
        module = self.module(file)
        found = module.methods.get(owner, {}).get(method) if method else module.definitions.get(name)
        nodes = found.nodes if found else ()
        return bool(nodes) and isinstance(nodes[0], ast.FunctionDef | ast.AsyncFunctionDef)

    def find(self, name: str) -> str | None:
        """Returns the file of one of our modules by its dotted name, None for any other name."""
        if name not in self._files:
            base = name.replace(".", "/")
            files = (f"{base}.py", f"{base}/__init__.py") if name.split(".")[0] in PACKAGES else ()
            self._files[name] = next((file for file in files if self.path(file).is_file()), None)
        return self._files[name]

    def uses(self, definition: Definition) -> tuple[tuple[str, str], ...]:
        """Returns (file, name) of what a definition names of our code. The name is empty for a whole module."""
        if definition.key not in self._uses:
            self._uses[definition.key] = tuple(sorted(set(self._find_uses(definition))))
        return self._uses[definition.key]

    def _find_uses(self, definition: Definition) -> Iterator[tuple[str, str]]:
        found = definition.references
        imports = {**self.module(definition.file).imports, **found.imports}
        for name in found.names - found.imports.keys():
            yield from self._meaning(definition.file, name)
        for name, attribute in found.chains:
            file = self.find(imports[name]) if name in imports else None
            if file:
                yield from self._meaning(file, attribute)
        for target in found.imports.values():
            yield from self._target(target)

    def _meaning(self, file: str, name: str) -> Iterator[tuple[str, str]]:
        """What a name means in a module: a definition there, or what it was imported from."""
        module = self.module(file)
        if file.startswith(DISPLAY):
            return
        if name in module.tables or (name and name in module.definitions):
            yield file, name
        elif name in module.imports:
            yield from self._target(module.imports[name])

    def _target(self, name: str) -> Iterator[tuple[str, str]]:
        """What a dotted name means: a module, of which the expressions say what is used, or a name in one."""
        parent, _, last = name.rpartition(".")
        if file := self.find(name):
            if not file.startswith(DISPLAY):
                yield file, ""
        elif file := self.find(parent):
            yield from self._meaning(file, last)

    def imported_by(self, file: str) -> tuple[str, ...]:
        """Returns the files of the modules that a module imports at once, and of the packages that contain it."""
        if file not in self._imported:
            targets = [
                *self.module(file).imports.values(),
                file.replace("/", ".").rpartition(".")[0].rpartition(".")[0],
            ]
            files = [self.find(name) or self.find(name.rpartition(".")[0]) for name in targets]
            self._imported[file] = tuple(sorted({each for each in files if each and not each.startswith(DISPLAY)}))
        return self._imported[file]

    def data_beside(self, file: str) -> dict[str, str]:
        """Returns {data file: hash} of the files in the folder of a module."""
        folder = file.rpartition("/")[0]
        if folder not in self._data:
            base = self.path(folder)
            names = {f"{folder}/{each.relative_to(base).as_posix()}": each for each in data_files_in(base)}
            self._data[folder] = {
                name: digest_of(each.read_bytes()) for name, each in names.items() if name not in (REVISIONS, VERIFIED)
            }
        return self._data[folder]

    def attributes_in_templates(self, file: str) -> frozenset[str]:
        """Returns the names after dots in the templates in the folder of a module."""
        files = [self.root / name for name in self.data_beside(file) if name.endswith(".j2")]
        return frozenset(name for each in files for name in ATTRIBUTE.findall(each.read_text(encoding="utf-8")))

    def is_open(self, file: str, name: str) -> bool:
        """Whether methods of the class may be called whose names our code does not have, by a library or getattr."""
        key = file, name
        if key not in self._open:
            module = self.module(file)
            self._open[key] = any(each.references.is_dynamic for each in module.methods.get(name, {}).values()) or any(
                self._is_open_base(file, base) for base in module.bases.get(name, ())
            )
        return self._open[key]

    def _is_open_base(self, file: str, base: str) -> bool:
        first, _, rest = base.partition(".")
        found = list(self._meaning(file, first)) if not rest else []
        if found:
            return any(self.is_open(*each) for each in found)
        return base.rpartition(".")[2] not in CLOSED_BASES


@dataclass
class _Reach:
    """Follows names until nothing new is found."""

    code: CodeBase
    options: frozenset[str]
    found: dict[str, str] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)
    sleeping: dict[str, list[Definition]] = field(default_factory=dict)  # methods that nothing names yet
    waiting: list[Definition] = field(default_factory=list)
    imported: set[str] = field(default_factory=set)

    def from_function(self, file: str, name: str) -> dict[str, str]:
        self._use(file, name)
        while self.waiting:
            definition = self.waiting.pop()
            self._wake(definition.references.attributes)
            for used in self.code.uses(definition):
                self._use(*used)
        return dict(sorted(self.found.items()))

    def _wake(self, attributes: Collection[str]) -> None:
        """Adds the methods with these names of the classes that are used."""
        for attribute in attributes:
            self.attributes.add(attribute)
            for method in self.sleeping.pop(attribute, ()):
                self._add(method)

    def _add(self, definition: Definition) -> None:
        if definition.key not in self.found and not self._is_unused(definition.key):
            self.found[definition.key] = definition.hash
            self.waiting.append(definition)
            self._import(definition.file)

    def _is_unused(self, key: str) -> bool:
        return key in OPTIONAL and OPTIONAL[key] not in self.options

    def _import(self, file: str) -> None:
        """Adds what runs when a module is imported, and the data files beside it."""
        if file not in self.imported:
            self.imported.add(file)
            module = self.code.module(file)
            self.found |= self.code.data_beside(file)
            self._wake(self.code.attributes_in_templates(file))
            self._add(module.rest)
            for each in self.code.imported_by(file):
                self._import(each)

    def _use(self, file: str, name: str) -> None:
        """Adds what a name of a module means; of a module without a name, that it is imported."""
        module = self.code.module(file)
        self._import(file)
        if name in module.tables:
            option = TABLES[f"{file}: {name}"]
            for entry in module.tables[name]:
                if f"{option}.{entry_name(entry.key)}" in self.options:
                    self._add(entry)
        elif name and not self._is_unused(f"{file}: {name}"):
            self._add(module.definitions[name])
            for method, definition in module.methods.get(name, {}).items():
                is_special = method.startswith("__") and method.endswith("__")
                if is_special or method in self.attributes or self.code.is_open(file, name):
                    self._add(definition)
                elif definition.key not in self.found:
                    self.sleeping.setdefault(method, []).append(definition)


def entry_name(key: str) -> str:
    """ "gift_core/losses.py: LOSSES[align]" -> "align"."""
    return key.rpartition("[")[2].removesuffix("]")


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


def data_files_in(folder: Path) -> list[Path]:
    """Returns the data files in the folder of a module and in subfolders that are not packages, sorted."""
    found: list[Path] = []
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__" and not any(entry.rglob("*.py")):
            found += [file for file in entry.rglob("*") if file.is_file()]
        elif entry.is_file() and entry.suffix not in NOT_DATA:
            found.append(entry)
    return sorted(found)

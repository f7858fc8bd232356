"""What code a stage runs, so that an edit makes only those stages stale that use it.

The code of a stage is its module, the modules that these import, also inside functions, and the data files beside them.
A module is one unit of code. Where COUNTS names something in it, each of its definitions is a unit, and counts only
where a unit that counts names it. The hash of a unit is that of its syntax tree: comments, docstrings, layout,
type-checking imports and the texts of raised errors do not count, and it is the same on every supported Python version.

The sections of params.yaml (gift_core.config) count by their methods and their defaults only: their values are DVC
parameters, and a new key in them must not run everything again. A default of None means a feature that is not used.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import resolve_name
from pathlib import Path

from gift_core.code.syntax import digest_of, is_docstring, is_type_checking, normalized

PACKAGES = ("gift_core", "stages")
REVISIONS, VERIFIED = "gift_core/revisions.json", "gift_core/verified_code.json"
NOT_RUN = ("gift_core/new_project/files/", "gift_core/new_project/template/", "gift_core/stages/")
CONFIG = "gift_core/config/"
NOT_DATA = (".py", ".pyc", ".md")  # data files beside modules are none of these
# NEVER: what a person sees while a stage runs, and how it begins and ends. It cannot change what the stage writes.
# WORK: how work is resumed, shared and published. It must not change what a stage writes; `make revisions` compares.
NEVER, WORK = "never", "work"
# What does not count for every stage that imports it, and the option of params.yaml with which it does: for `losses.*`
# it is that of each entry of the dictionary; of a union or a section of params.yaml, that of each class that it names.
COUNTS: Mapping[str, str] = {
    "gift_core/__init__.py": NEVER,
    "gift_core/code/fingerprint.py": NEVER,
    "gift_core/code/syntax.py": NEVER,
    "gift_core/code/revisions.py": NEVER,
    "gift_core/progress.py": NEVER,
    "gift_core/work/os_errors.py": NEVER,
    "gift_core/tracking/": NEVER,
    "stages/app.py": NEVER,
    "stages/command_line.py": NEVER,
    "stages/dvc/interruption.py": NEVER,
    "stages/completion.py": NEVER,
    "stages/dvc/guards.py": NEVER,
    "stages/tracked.py": NEVER,
    "gift_core/work/": WORK,
    "gift_core/method/losses.py: LOSSES": "losses.*",
    "gift_core/method/methods.py: ENTROPIES": "losses.*",
    "gift_core/method/consolidation.py: CONSOLIDATIONS": "consolidation.*",
    "gift_core/method/replay/teach.py: REPLAYS": "replay.*",
    "gift_core/clip/trained.py: TRAINS": "trains.*",
    "gift_core/datasets/ingest.py: READERS": "source.*",
    "gift_core/datasets/ingest.py: _rendered": "source.mini",
    "gift_core/datasets/ingest.py: _published": "source.catalogue",
    "gift_core/method/averaging.py: RunningMean": "average",
    "gift_core/method/averaging.py: Interpolation": "merge",
    "gift_core/clip/layers.py: layer_factors": "layer_decay",
    "gift_core/method/averaging.py: released_weights": "release",
    "gift_core/method/replay/fisher.py: fisher_of_pairs": "fisher",
    "gift_core/generators/filters.py: QualityFilters": "filters",
    "gift_core/generators/filters.py: load_scorer": "filters",
    "gift_core/generators/filters.py: load_head": "filters",
    "gift_core/generators/filters.py: load_safety_checker": "filters",
    "gift_core/config/tasks.py: TaskConfig": "source.*",
    "gift_core/config/replay_options.py: ReplayConfig": "replay.*",
    "gift_core/config/method_options.py: TrainsConfig": "trains.*",
    "gift_core/config/method_options.py: ConsolidationConfig": "consolidation.*",
    "gift_core/config/method_options.py: LossesConfig": "losses.*",
}
DIVIDED = {key.partition(": ")[0] for key in COUNTS if ": " in key}  # modules whose definitions are units


def category(file: str) -> str:
    """Returns NEVER or WORK for a module that is one of these, an empty text for any other file."""
    return COUNTS.get(file) or next((COUNTS[key] for key in COUNTS if key[-1] == "/" and file.startswith(key)), "")


@dataclass(frozen=True)
class Unit:
    """A module, or a definition in one: its hash ("" where nothing counts), lines, the names it uses and imports."""

    hash: str
    lines: tuple[int, int]
    names: frozenset[str]
    imports: Mapping[str, str]


@dataclass
class Module:
    """`units` by name; "" has all that is no unit of its own. `imports`: {name: what it is} at the module's level.

    `options`: {unit: the option with which it counts}.
    """

    imports: dict[str, str]
    units: dict[str, Unit]
    options: dict[str, str]


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
    _data: dict[str, dict[str, str]] = field(default_factory=dict)

    def path(self, file: str) -> Path:
        """Returns the path of a file that is named as in the repository: "stages/finetune.py"."""
        if self.stages is not None and file.split("/")[0] == "stages":
            return self.stages.joinpath(*file.split("/")[1:])
        return self.root / file

    def module(self, file: str) -> Module:
        """Returns the module in `file`."""
        if file not in self._modules:
            self._modules[file] = read_module(file, self.path(file).read_text(encoding="utf-8"))
        return self._modules[file]

    def units(self) -> dict[str, str]:
        """Returns {unit: hash} of all modules."""
        files = [name for name in hashes_of_files(self.root, self.path(PACKAGES[1])) if name.endswith(".py")]
        found = {unit_key(file, name): unit.hash for file in files for name, unit in self.module(file).units.items()}
        return {key: digest for key, digest in found.items() if digest}

    def reached(self, stage: str, options: Collection[str]) -> dict[str, str]:
        """Returns {unit or data file: hash} of what the stage runs with these options: "losses.distill"."""
        found: dict[str, str] = {}
        files = (f"stages/{stage}.py", f"stages/commands/{stage}.py")  # a stage, or a command that trains
        waiting = [(next(file for file in files if self.path(file).is_file()), "")]
        while waiting:
            file, name = waiting.pop()
            if unit_key(file, name) in found or category(file) == NEVER:
                continue
            module, unit = self.module(file), self.module(file).units[name]
            if name in module.options and module.options[name] not in options:
                continue
            found |= {unit_key(file, name): unit.hash, **self.data_beside(file)}
            imports = {**module.imports, **unit.imports}
            for used in unit.names | unit.imports.keys() if file in DIVIDED else imports:
                waiting += self._imported(imports[used]) if used in imports else self._named(file, used)
            package = self.find(file.rpartition("/")[0].replace("/", "."))
            waiting += [(each, "") for each in (file, package) if each]
        return dict(sorted(found.items()))

    def _imported(self, name: str) -> list[tuple[str, str]]:
        """The units (file, name) that a dotted name means: those of a module, or of a name in one."""
        parent, _, last = name.rpartition(".")
        if file := self.find(name):
            return [(file, each) for each in self.module(file).units]
        return self._named(file, last) if (file := self.find(parent)) else []

    def _named(self, file: str, name: str) -> list[tuple[str, str]]:
        module = self.module(file)
        if file not in DIVIDED:
            return [(file, "")]
        if name in module.imports:
            return self._imported(module.imports[name])
        found = [(file, each) for each in module.units if each == name or each.startswith(f"{name}[")]
        return found or [(file, "")]

    def find(self, name: str) -> str | None:
        """Returns the file of one of our modules by its dotted name, None for any other name."""
        if name not in self._files:
            base = name.replace(".", "/")
            files = (f"{base}.py", f"{base}/__init__.py") if name.split(".")[0] in PACKAGES else ()
            self._files[name] = next((file for file in files if self.path(file).is_file()), None)
        return self._files[name]

    def data_beside(self, file: str) -> dict[str, str]:
        """Returns {data file: hash} of the files in the folder of a module, and below it outside of packages."""
        folder = file.rpartition("/")[0]
        if folder not in self._data:
            found: list[Path] = []
            for entry in self.path(folder).iterdir():
                if entry.is_dir() and entry.name != "__pycache__" and not any(entry.rglob("*.py")):
                    found += [each for each in entry.rglob("*") if each.is_file()]
                elif entry.is_file() and entry.suffix not in NOT_DATA:
                    found.append(entry)
            names = {f"{folder}/{each.relative_to(self.path(folder)).as_posix()}": each for each in sorted(found)}
            self._data[folder] = {
                name: digest_of(each.read_bytes()) for name, each in names.items() if name not in (REVISIONS, VERIFIED)
            }
        return self._data[folder]


def unit_key(file: str, name: str) -> str:
    """Returns "gift_core/method/losses.py" for a module, "gift_core/method/losses.py: LOSSES[align]" for a part."""
    return f"{file}: {name}" if name else file


def read_module(file: str, text: str) -> Module:
    """Returns the units of the module that `file` is, whose content is `text`."""
    imports: dict[str, str] = {}
    options: dict[str, str] = {}
    named: dict[str, list[ast.AST]] = {"": []}
    for statement in ast.parse(text, file).body:
        if is_docstring(statement) or is_type_checking(statement):
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= _imports_of(statement, file)
            continue
        name, targets = (
            getattr(statement, "name", ""),
            getattr(statement, "targets", [getattr(statement, "target", None)]),
        )
        if not name and len(targets) == 1 and isinstance(targets[0], ast.Name):
            name = targets[0].id
        name = name if file in DIVIDED else ""
        option, value = COUNTS.get(f"{file}: {name}", ""), getattr(statement, "value", None)
        if option.endswith("*") and isinstance(value, ast.Dict):
            entries = {ast.literal_eval(k): v for k, v in zip(value.keys, value.values, strict=True) if k}
            named |= {f"{name}[{entry}]": [node] for entry, node in entries.items()}
            options |= {f"{name}[{entry}]": option.replace("*", entry) for entry in entries}
            continue
        named.setdefault(name, []).append(statement)
        if option.endswith("*"):
            options |= {each: option.replace("*", entry) for each, entry in _option_classes(statement, named)}
        elif option:
            options[name] = option
    if file.startswith(CONFIG):  # only classes of options are units
        others = [node for name, nodes in named.items() if name not in options for node in nodes]
        named = {"": others, **{name: named[name] for name in options}}
    return Module(imports, {name: _unit(file, name, nodes) for name, nodes in named.items()}, options)


def _option_classes(node: ast.stmt, named: Mapping[str, list[ast.AST]]) -> Iterator[tuple[str, str]]:
    """Yields (class, option) of a union by the `Literal["..."]` of its classes, of a section by the names of its keys.

    Not the option "none": it has no code.
    """
    if isinstance(node, ast.ClassDef):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        for each in fields:
            names = {part.id for part in ast.walk(each.annotation) if isinstance(part, ast.Name)}
            yield from ((name, ast.unparse(each.target)) for name in names & named.keys())
        return
    key = next(each.value for each in ast.walk(node) if isinstance(each, ast.keyword) and each.arg == "discriminator")
    for name in {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} & named.keys():
        for each in getattr(named[name][0], "body", []):
            if isinstance(each, ast.AnnAssign) and ast.unparse(each.target) == ast.literal_eval(key):
                (entry,) = (part.value for part in ast.walk(each.annotation) if isinstance(part, ast.Constant))
                if entry != "none":
                    yield name, str(entry)


def _unit(file: str, name: str, nodes: list[ast.AST]) -> Unit:
    names: set[str] = set()
    imports: dict[str, str] = {}
    lines: list[int] = []
    waiting: list[ast.AST] = [*nodes]
    while waiting:
        node = waiting.pop()
        if is_type_checking(node):
            continue
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports |= _imports_of(node, file)
        lines += [node.lineno, node.end_lineno or 0] if isinstance(node, ast.stmt | ast.expr) else []
        waiting.extend(ast.iter_child_nodes(node))
    text = "".join(_defaults(node) if file.startswith(CONFIG) else normalized(node) for node in nodes)
    span = (min(lines, default=0), max(lines, default=0))
    return Unit(digest_of(f"{name} {text}".encode()) if text else "", span, frozenset(names), imports)


def _defaults(node: ast.AST) -> str:
    """Of a section of params.yaml, its methods and the names and defaults of its keys, without their types."""
    if not isinstance(node, ast.ClassDef):
        return normalized(node) if isinstance(node, ast.FunctionDef) else ""
    parts = [normalized(each) for each in (*node.bases, *node.keywords, *node.decorator_list)]
    for each in node.body:
        value = getattr(each, "value", None)
        if isinstance(each, ast.FunctionDef):
            parts.append(normalized(each))
        elif not (value is None or is_docstring(each) or (isinstance(value, ast.Constant) and value.value is None)):
            parts += map(normalized, [*getattr(each, "targets", [getattr(each, "target", each)]), value])
    return "".join(parts)


def _imports_of(node: ast.Import | ast.ImportFrom, file: str) -> dict[str, str]:
    """{the name here: the dotted name of what it is}, without other packages' modules."""
    if isinstance(node, ast.Import):
        found = {alias.asname or alias.name: alias.name for alias in node.names}
    else:
        package = file.removesuffix(".py").rpartition("/")[0].replace("/", ".")
        base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
        found = {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
    return {name: target for name, target in found.items() if target.split(".")[0] in PACKAGES}


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


def read_verified(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Returns {file: hash of its bytes} and {unit: hash} of verified_code.json. Both are empty where there is none.

    It has {folder: {name: hashes}}: of a file that of its bytes, of a module then that of its unit.
    """
    path = root / VERIFIED
    files, units = dict[str, str](), dict[str, str]()
    for folder, rows in json.loads(path.read_text(encoding="utf-8") if path.is_file() else "{}").items():
        for name, hashes in rows.items():
            first, *second = hashes.split()
            (units if ": " in name else files)[f"{folder}/{name}"] = first
            if second:
                units[f"{folder}/{name}"] = second[0]
    return files, units


def edited_files(root: Path, stages: Path) -> tuple[str, ...]:
    """Returns the files of the code whose bytes are not those of verified_code.json, new and deleted ones included."""
    verified, found = read_verified(root)[0], hashes_of_files(root, stages)
    return tuple(sorted(name for name in {*verified, *found} if verified.get(name) != found.get(name)))

"""What code a stage runs, so that an edit makes only those stages stale that use it.

The code of a stage is its module, the modules that these import, also inside functions, and the data files beside them.
A module is one unit of code. Where COUNTS names something in it, each of its definitions is a unit, and counts only
where a unit that counts names it. The hash of a unit is that of its syntax tree: comments, docstrings, layout,
type-checking imports and the texts of raised errors do not count, and it is the same on every supported Python version.

The sections of params.yaml (gift_core.config) count by their methods and their defaults only, and a new one does not
count: their values are DVC parameters, and a new key must not run everything again. A default of None is not used.

verified_code.json has the hashes of the code whose results are verified (gift_core.code.revisions): of the bytes of
each file, so that code that nobody edited need not be parsed, which takes a second, and of each unit.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

PACKAGES = ("gift_core", "stages")
REVISIONS, VERIFIED = "gift_core/revisions.json", "gift_core/verified_code.json"
NOT_RUN = (REVISIONS, VERIFIED, "gift_core/new_project/files/", "gift_core/new_project/template/", "gift_core/stages/")
CONFIG = "gift_core/config/"
OPTIONS = (f"{CONFIG}method_options.py", f"{CONFIG}replay_options.py", f"{CONFIG}tasks.py")  # each class is a unit
# NEVER: what a person sees while a stage runs, how it begins and ends, and what no stage runs. It cannot change what a
# stage writes.
# WORK: how work is resumed, shared and published. It must not change what a stage writes; `make revisions` compares.
NEVER, WORK = "never", "work"
# What does not count for every stage that imports it, and the option of params.yaml with which it does. For `losses.*`
# it is that of each entry of the dictionary.
COUNTS: Mapping[str, str] = {
    "gift_core/__init__.py": NEVER,
    "gift_core/code/": NEVER,
    "gift_core/layout.py: FILES": NEVER,
    "gift_core/progress.py": NEVER,
    "gift_core/provenance.py: differences": NEVER,
    "gift_core/tracking/": NEVER,
    "gift_core/work/os_errors.py": NEVER,
    "stages/app.py": NEVER,
    "stages/command_line.py": NEVER,
    "stages/dvc/": NEVER,
    "gift_core/work/": WORK,
    "gift_core/method/losses.py: LOSSES": "losses.*",
    "gift_core/method/methods.py: ENTROPIES": "losses.*",
    "gift_core/method/consolidation.py: CONSOLIDATIONS": "consolidation.*",
    "gift_core/method/replay/teach.py: REPLAYS": "replay.*",
    "gift_core/method/replay/pairs.py: ReferenceReplay": "replay.reference",
    "gift_core/clip/trained.py: TRAINS": "trains.*",
    "gift_core/datasets/ingest.py: READERS": "source.*",
    "gift_core/datasets/ingest.py: _rendered": "source.mini",
    "gift_core/datasets/ingest.py: _published": "source.catalogue",
    "gift_core/method/averaging.py: RunningMean": "average",
    "gift_core/method/averaging.py: Interpolation": "merge",
    "gift_core/clip/layers.py: layer_factors": "layer_decay",
    "gift_core/method/averaging.py: released_weights": "release",
    "gift_core/method/replay/fisher.py: fisher_of_pairs": "fisher",
    "gift_core/generators/filters.py: load_filters": "filters",
}
DIVIDED = {key.partition(": ")[0] for key in COUNTS if ": " in key}  # modules whose definitions are units


@dataclass(frozen=True)
class Unit:
    """A module, or a definition in one: its hash, and what it uses by dotted names.

    `option` is the one with which it counts, "" if it always does.
    """

    hash: str
    uses: frozenset[str]
    option: str


@dataclass
class Code:
    """The modules of gift_core and stages, below `root`, and beside them the record of what was verified.

    A wheel has stages inside gift_core (setup.py), but its modules have the same names here as in the repository:
    stages/finetune.py. Each file is read once.
    """

    root: Path
    _modules: dict[str, dict[str, Unit]] = field(default_factory=dict)

    def path(self, file: str) -> Path:
        """Returns the path of a file that is named as in the repository: "stages/finetune.py"."""
        in_wheel = self.root / "gift_core" / "stages"
        return (in_wheel.parent if file.startswith("stages/") and in_wheel.is_dir() else self.root) / file

    @cached_property
    def files(self) -> dict[str, str]:
        """{file: hash of its bytes} of all modules, and of the data files beside them, sorted.

        What `gift init` copies is left out, and so are the two records of what was verified.
        """
        found = dict[str, Path]()
        for package in PACKAGES:
            base = self.path(f"{package}/")
            files = (path for path in base.rglob("[!.]*") if "__pycache__" not in path.parts and path.is_file())
            found |= {f"{package}/{path.relative_to(base).as_posix()}": path for path in files}
        return {name: digest_of(found[name].read_bytes()) for name in sorted(found) if not name.startswith(NOT_RUN)}

    @cached_property
    def verified(self) -> dict[str, list[str]]:
        """The rows of verified_code.json: of a file the hash of its bytes, then of a unit its hash. {} without any."""
        path = self.root / VERIFIED
        folders = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return {f"{folder}/{name}": row.split() for folder, rows in folders.items() for name, row in rows.items()}

    @cached_property
    def edited_files(self) -> tuple[str, ...]:
        """The files whose bytes are not those of verified_code.json, new and deleted ones included."""
        verified = {key: row[0] for key, row in self.verified.items() if ": " not in key}
        return tuple(sorted(dict(verified.items() ^ self.files.items())))

    def record(self) -> dict[str, dict[str, str]]:
        """Returns the content of verified_code.json for this code: {folder: {file or unit: its hashes}}."""
        content = dict[str, dict[str, str]]()
        for file, digest in self.files.items():
            folder, _, name = file.rpartition("/")
            units = self.module(file) if file.endswith(".py") and category(file) != NEVER else {}
            rows = {unit_key(name, unit): each.hash for unit, each in units.items()}
            content.setdefault(folder, {}).update(rows | {name: f"{digest} {rows.get(name, '')}".rstrip()})
        return content

    def module(self, file: str) -> dict[str, Unit]:
        """Returns the units of a module by name. The name "" has all that is no unit of its own."""
        if file not in self._modules:
            self._modules[file] = units_of(file, self.path(file).read_text(encoding="utf-8"))
        return self._modules[file]

    def reached(self, stage: str, options: Collection[str] | None = None) -> dict[str, dict[str, str]]:
        """Returns what the stage runs with these options ("losses.distill"), with all of them if None.

        {"": {unit or data file: hash} of what it always runs, option: the same for what the option adds to that}.
        """
        start = f"stages/{stage}.py"
        found: dict[str, dict[str, str]] = {"": {}}
        waiting = [("", start if start in self.files else f"stages/commands/{stage}.py", "")]
        while waiting:
            option, file, name = waiting.pop()
            if category(file) == NEVER:
                continue
            unit = self.module(file)[name]
            if unit.option == NEVER or (unit.option and options is not None and unit.option not in options):
                continue
            option, key = unit.option or option, unit_key(file, name)
            units = found.setdefault(option, {})
            if key in units or key in found[""]:
                continue
            folder = file.rpartition("/")[0]
            units |= {key: unit.hash, **self._data.get(folder, {})}
            waiting += [(option, *place) for used in unit.uses for place in self._places(used)]
            waiting += [(option, each, "") for each in (file, f"{folder}/__init__.py") if each in self.files]
        always = found.pop("")
        others = {option: {key: units[key] for key in units if key not in always} for option, units in found.items()}
        return {"": always, **others}

    def _places(self, used: str) -> list[tuple[str, str]]:
        """The units (file, name) that a dotted name means: those of a module, or of a name in one."""
        parent, _, last = used.rpartition(".")
        for name in (used, parent):
            for file in {f"{name.replace('.', '/')}{end}" for end in (".py", "/__init__.py")} & self.files.keys():
                units = self.module(file)
                named = [unit for unit in units if unit.partition("[")[0] == last]
                return [(file, unit) for unit in (units if name == used or file in OPTIONS else named or [""])]
        return []

    @cached_property
    def _data(self) -> dict[str, dict[str, str]]:
        """{folder: {data file: hash}} of the files in a folder with modules, and below it where there are none."""
        folders = {parent for file in self.files if file.endswith(".py") for parent in Path(file).parents}
        found = dict[str, dict[str, str]]()
        for file, digest in self.files.items():
            if not file.endswith((".py", ".md")):
                folder = next(parent for parent in Path(file).parents if parent in folders)
                found.setdefault(str(folder), {})[file] = digest
        return found


@cache
def running_code() -> Code:
    """Returns the code of this process, as it was found first."""
    return Code(Path(__file__).resolve().parents[2])


def category(file: str) -> str:
    """Returns NEVER or WORK for a file that is one of these, an empty text for any other."""
    return next((option for key, option in COUNTS.items() if file.startswith(key)), "")


def is_new_section(key: str, known: Collection[str]) -> bool:
    """Returns whether a unit is a section of params.yaml that is not among the known units."""
    return key.startswith(OPTIONS) and key not in known


def unit_key(file: str, name: str) -> str:
    """Returns "gift_core/method/losses.py" for a module, "gift_core/method/losses.py: LOSSES[align]" for a part."""
    return f"{file}: {name}" if name else file


def units_of(file: str, text: str) -> dict[str, Unit]:
    """Returns the units of the module that `file` is, whose content is `text`."""
    module = file.removesuffix(".py").replace("/", ".")
    imports, options = dict[str, str](), dict[str, str]()
    nodes: dict[str, list[ast.AST]] = {"": []}
    for statement in ast.parse(text, file).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= _imports_of(statement, file)
            continue
        if file.startswith(CONFIG) and isinstance(statement, ast.ClassDef):
            keys = [each for each in statement.body if isinstance(each, ast.AnnAssign)]
            unused = [each for each in keys if each.value is None or ast.unparse(each.value) == "None"]
            statement.body = [each for each in statement.body if each not in unused]
        elif file.startswith(CONFIG) and not isinstance(statement, ast.FunctionDef):
            continue
        target = getattr(statement, "target", None) or next(iter(getattr(statement, "targets", [])), None)
        is_unit = file in DIVIDED or (file in OPTIONS and isinstance(statement, ast.ClassDef))
        name = getattr(statement, "name", getattr(target, "id", "")) if is_unit else ""
        option, value = COUNTS.get(f"{file}: {name}", ""), getattr(statement, "value", None)
        if option.endswith("*") and isinstance(value, ast.Dict):
            entries = {ast.literal_eval(key): each for key, each in zip(value.keys, value.values, strict=True) if key}
            nodes |= {f"{name}[{entry}]": [each] for entry, each in entries.items()}
            options |= {f"{name}[{entry}]": option.replace("*", entry) for entry in entries}
        else:
            nodes.setdefault(name, []).append(statement)
            options[name] = option
    units = {}
    for name, own in nodes.items():
        inside = [each for node in own for each in ast.walk(node)]
        local = (_imports_of(each, file) for each in inside if isinstance(each, ast.Import | ast.ImportFrom))
        known = imports | dict(pair for found in local for pair in found.items())
        names = {each.id for each in inside if isinstance(each, ast.Name)} if file in DIVIDED else known
        uses = {known.get(each, f"{module}.{each}") for each in names}
        units[name] = Unit(digest_of(f"{name} {normalized(own)}".encode()), frozenset(uses), options.get(name, ""))
    return units


def _imports_of(node: ast.Import | ast.ImportFrom, file: str) -> dict[str, str]:
    """{the name here: the dotted name of what it is}, without other packages' modules."""
    package, base = file.removesuffix(".py").rpartition("/")[0].replace("/", "."), ""
    if isinstance(node, ast.ImportFrom):
        base = f"{resolve_name('.' * node.level + (node.module or ''), package)}."
    found = {alias.asname or alias.name: f"{base}{alias.name}" for alias in node.names}
    return {name: target for name, target in found.items() if target.split(".")[0] in PACKAGES}


def normalized(node: Any) -> str:
    """Returns what counts of a syntax tree as text that is the same on every Python version.

    ast.dump and ast.unparse are not: their output changed in 3.9, 3.12 and 3.13. Empty fields are left out, since new
    versions of Python add fields.
    """
    if isinstance(node, list):
        return "".join(map(normalized, node))
    if not isinstance(node, ast.AST):
        return f"<{node!r}>"
    if isinstance(node, ast.Constant):
        return f"Constant<{type(node.value).__name__} {node.value!r}>"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
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
        if value is not None and (text := normalized(value)):
            parts.append(f"({name}{text})")
    return "".join(parts)


def digest_of(data: bytes) -> str:
    """Returns the first digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:7]

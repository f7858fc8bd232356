"""Which parts of the code changed, what a stage uses of them, and which revisions rise."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gift_core.code import revisions
from gift_core.code.fingerprint import NEVER, CodeBase, category, unit_key
from gift_core.code.revisions import Code, Units, part_name, read_blocks
from gift_core.code.syntax import digest_of, normalized
from gift_core.config.loading import load_config
from recipes.revisions.probe import Instance, Outcome

Used = tuple[Outcome, list[str]]  # the outcome of a stage, and the parts that it uses
Function = tuple[str, str]  # the file and the name of a function or method: "Class.method"


@dataclass(frozen=True)
class Change:
    """A part of which `units` changed. `functions` of them are new or have another content, and can run."""

    part: str
    units: frozenset[str]
    functions: frozenset[Function] = frozenset()


def parts_of(root: Path) -> Units:
    """Returns the units of each part of the code in `root`."""
    stages = [block.name for block in read_blocks(root) if block.name != "check"]
    return revisions.units_of_parts(Code(CodeBase(root)), stages)


def find_changes(old: Path, new: Path) -> dict[str, Change]:
    """Returns the changed parts of the code in two folders by name. A new part is none: nothing was made with it."""
    before, after, found = parts_of(old), parts_of(new), dict[str, Change]()
    for name in after.keys() & before.keys():
        one, other = before[name], after[name]
        changed = frozenset(key for key in {*one, *other} if one.get(key) != other.get(key))
        if changed:
            files = {key.partition(": ")[0] for key in changed}
            known = {function for file in files for function in functions_of(old, file).items()}
            edited = {pair for file in files for pair in functions_of(new, file).items()} - known
            found[name] = Change(name, changed, frozenset(function for function, _ in edited))
    return dict(sorted(found.items()))


def functions_of(root: Path, file: str) -> dict[Function, str]:
    """Returns the hash of each function and method of a module that is defined at its level or in a class."""
    if not file.endswith(".py") or not (root / file).is_file():
        return {}
    found: dict[Function, str] = {}
    for _, name, node in _functions(root, file):
        found[file, name] = digest_of(f"{found.get((file, name), '')}{normalized(node)}".encode())  # setters
    return found


def _functions(root: Path, file: str) -> Iterator[tuple[int, str, ast.AST]]:
    """Yields (first line, name, node) of the functions."""
    for node in ast.parse((root / file).read_text(encoding="utf-8")).body:
        inside = [(f"{node.name}.", each) for each in node.body] if isinstance(node, ast.ClassDef) else [("", node)]
        for owner, each in inside:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                yield min(part.lineno for part in (each, *each.decorator_list)), f"{owner}{each.name}", each


class PartsOf:
    """The parts that a stage of the experiment in `project` uses."""

    def __init__(self, project: Path) -> None:
        self._project, self._options = project, dict[str, dict[str, list[str]]]()

    def __call__(self, instance: Instance) -> list[str]:
        """Returns the names of the parts."""
        options = self.options(instance)
        return [part_name(instance.stage), *(part_name(instance.stage, option) for option in options)]

    def options(self, instance: Instance) -> list[str]:
        """Returns the options that choose code of the stage."""
        if instance.stage not in self._options:
            config = load_config(self._project / "params.yaml")
            self._options[instance.stage] = revisions.options_of(instance.stage, config)
        own = self._options[instance.stage]
        return own.get(instance.owner, own.get("", []))


def decide(
    root: Path, changes: Mapping[str, Change], outcomes: Sequence[Used], keep: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yields each part of the code in `root` whose revision rises, with the reason.

    It rises where bytes differ, where a function changed and ran in no stage, and where a data file changed.
    """
    ran = {function for outcome, _ in outcomes for function in functions_that_ran(root, outcome)}
    for name, change in changes.items():
        if name in keep:
            continue
        using = [(outcome, names) for outcome, names in outcomes if name in names]
        alone = [outcome for outcome, names in using if [each for each in names if each in changes] == [name]]
        different = [outcome for outcome in alone or [outcome for outcome, _ in using] if outcome.difference]
        if different:
            yield name, f"{different[0].instance}: {different[0].difference}"
        elif missing := sorted(": ".join(function) for function in change.functions - ran):
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            yield name, f"{missing[0]} changed and never ran in the probe{more}"
        elif data := sorted(key for key in change.units if ".py" not in key):  # the probe may not have read it
            yield name, f"{data[0]} changed{f', and {len(data) - 1} more' if len(data) > 1 else ''}"


def missed(code: Code, outcome: Outcome, options: Collection[str]) -> list[str]:
    """Returns the units that ran in a stage and on which it does not depend. There should be none."""
    known, found = code.reached(outcome.instance.stage, options), set[str]()
    for file, line in outcome.ran:
        if file.endswith(".py") and category(file) != NEVER:
            units = code.base.module(file).units.items()
            name = next((name for name, unit in units if name and unit.lines[0] <= line <= unit.lines[1]), "")
            found |= {unit_key(file, name)} - known.keys()
    return sorted(found)


def functions_that_ran(root: Path, outcome: Outcome) -> set[Function]:
    """Returns the functions of the code in `root` that ran in a stage, without the report's templates."""
    names: dict[str, dict[int, str]] = {}
    for file in {file for file, _ in outcome.ran if file.endswith(".py")}:
        names[file] = {line: name for line, name, _ in _functions(root, file)}
    return {(file, names[file][line]) for file, line in outcome.ran if line in names.get(file, {})}

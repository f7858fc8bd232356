"""Which parts of the code changed, and which of their revisions rise."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gift_core.code.fingerprint import NEVER, Code, category, digest_of, is_new_section, normalized, unit_key
from recipes.revisions.probe import Outcome, Use

Changes = Mapping[str, frozenset[str]]  # {part: its units and data files that changed}


def changes_of(old: Code, new: Code, use: Use) -> Changes:
    """Returns what changed of the code of a stage. A new part did not change: nothing was made with it."""
    before, after = (code.reached(use.stage, use.options) for code in (old, new))
    found = {
        f"{use.stage} {option}".rstrip(): frozenset(
            key for key, _ in before[option].items() ^ units.items() if not is_new_section(key, before[option])
        )
        for option, units in after.items()
        if option in before
    }
    return {part: units for part, units in found.items() if units}


def decide(old: Code, new: Code, outcomes: Sequence[tuple[Outcome, Changes]]) -> Iterator[tuple[str, str]]:
    """Yields each part whose revision rises, with the reason.

    It rises where bytes differ, where a function changed and ran in no stage, and where a data file changed.
    """
    ran = {function for outcome, _ in outcomes for function in outcome.ran}
    for part in sorted({part for _, changes in outcomes for part in changes}):
        using = [(outcome, changes) for outcome, changes in outcomes if part in changes]
        alone = [outcome for outcome, changes in using if len(changes) == 1]  # so another part is not the cause
        units = sorted({unit for _, changes in using for unit in changes[part]})
        reasons = [outcome.difference for outcome in alone or [outcome for outcome, _ in using] if outcome.difference]
        if all(outcome.difference is None for outcome, _ in using):
            reasons.append("what it reads is not what it was")
        reasons += [
            f"{file}: {function[0]} changed and never ran in the probe"
            for file in sorted({unit.partition(": ")[0] for unit in units if ".py" in unit})
            for function, line in functions_of(new.path(file)).items()
            if function not in functions_of(old.path(file)) and unit_with(new, file, function[0]) in units
            if (file, line) not in ran
        ]
        reasons += [f"{unit} changed" for unit in units if ".py" not in unit]  # the probe may not have read it
        if reasons:
            yield part, f"{reasons[0]}{f', and {len(reasons) - 1} more' if len(reasons) > 1 else ''}"


def functions_of(file: Path) -> dict[tuple[str, str], int]:
    """Returns {(name, hash): first line} of the functions of a module, and of its methods ("Class.method")."""
    found = dict[tuple[str, str], int]()
    for node in ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else ():
        inside = [(f"{node.name}.", each) for each in node.body] if isinstance(node, ast.ClassDef) else [("", node)]
        for owner, each in inside:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                line = min(part.lineno for part in (each, *each.decorator_list))
                found[f"{owner}{each.name}", digest_of(normalized(each).encode())] = line
    return found


def unit_with(code: Code, file: str, function: str) -> str:
    """Returns the unit that a function of a module belongs to."""
    name = function.partition(".")[0]
    return unit_key(file, name if name in code.module(file) else "")


def missed(code: Code, outcome: Outcome) -> list[str]:
    """Returns the units that ran in a stage and on which it does not depend. There should be none."""
    found = {
        unit_with(code, file, name)
        for file in {file for file, _ in outcome.ran if file.endswith(".py") and category(file) != NEVER}
        for (name, _), line in functions_of(code.path(file)).items()
        if (file, line) in outcome.ran
    }
    return sorted(found.difference(*code.reached(outcome.use.stage, outcome.use.options).values()))

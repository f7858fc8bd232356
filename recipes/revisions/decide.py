"""Which parts of the code changed, and which of their revisions rise."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

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
        for file in sorted({unit.partition(": ")[0] for unit in units if ".py" in unit}):
            known = {(name, digest) for name, _, digest in functions_of(old, file).values()}
            reasons += [
                f"{file}: {name} changed and never ran in the probe"
                for place, (name, unit, digest) in functions_of(new, file).items()
                if unit in units and (name, digest) not in known and place not in ran
            ]
        reasons += [f"{unit} changed" for unit in units if ".py" not in unit]  # the probe may not have read it
        if reasons:
            yield part, f"{reasons[0]}{f', and {len(reasons) - 1} more' if len(reasons) > 1 else ''}"


def functions_of(code: Code, file: str) -> dict[str, tuple[str, str, str]]:
    """Returns {"FILE:LINE": (name, unit, hash)} of the functions of a module and of its methods, "Class.method"."""
    found = dict[str, tuple[str, str, str]]()
    path = code.path(file)
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else ():
        of_class = [node.name] if isinstance(node, ast.ClassDef) else []
        for each in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [*of_class, each.name]
                unit = unit_key(file, names[0] if names[0] in code.module(file) else "")
                line = min(part.lineno for part in (each, *each.decorator_list))
                found[f"{file}:{line}"] = (".".join(names), unit, digest_of(normalized(each).encode()))
    return found


def missed(code: Code, outcome: Outcome) -> list[str]:
    """Returns the units that ran in a stage and on which it does not depend. There should be none."""
    files = {place.rpartition(":")[0] for place in outcome.ran}
    found = {
        unit
        for file in files
        if file.endswith(".py") and category(file) != NEVER  # not a template
        for place, (_, unit, _) in functions_of(code, file).items()
        if place in outcome.ran
    }
    return sorted(found.difference(*code.reached(outcome.use.stage, outcome.use.options).values()))

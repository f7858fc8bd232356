"""Which parts of the code changed, and which of their revisions rise."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from gift_core.code.fingerprint import NEVER, Code, category, digest_of, is_new_section, normalized, unit_key
from recipes.revisions.probe import Use


def changes_of(old: Code, new: Code, use: Use) -> dict[str, frozenset[str]]:
    """Returns Use.changes. A new part did not change: nothing was made with it."""
    before, after = (code.reached(use.stage, use.options) for code in (old, new))
    found = dict[str, frozenset[str]]()
    for option in sorted(before.keys() & after.keys()):
        changed = {key for key, _ in before[option].items() ^ after[option].items()}
        if units := frozenset(key for key in changed if not is_new_section(key, before[option])):
            found[f"{use.stage} {option}".rstrip()] = units
    return found


def decide(old: Code, new: Code, uses: Sequence[Use]) -> dict[str, str]:
    """Returns {part that changed: why its revision rises}, with an empty text where it does not.

    It rises where bytes differ, where a function changed and ran in no stage, and where a data file changed.
    """
    ran, decided = {place for use in uses for place in use.ran}, dict[str, str]()
    for part in sorted({part for use in uses for part in use.changes}):
        using = [use for use in uses if part in use.changes]
        alone = [use for use in using if len(use.changes) == 1]  # so another part is not the cause
        reasons = [use.difference for use in alone or using if use.difference]
        if all(use.difference is None for use in using):
            reasons.append("what it reads is not what it was")
        units = {unit for use in using for unit in use.changes[part]}
        for file in sorted({unit.partition(": ")[0] for unit in units}):
            if not file.endswith(".py"):
                reasons.append(f"{file} changed")  # the probe may not have read it
                continue
            known = {(name, digest) for name, _, digest in functions_of(old, file).values()}
            reasons += [
                f"{file}: {name} changed and never ran in the probe"
                for place, (name, unit, digest) in functions_of(new, file).items()
                if unit in units and (name, digest) not in known and place not in ran
            ]
        decided[part] = f"{reasons[0]}{f', and {len(reasons) - 1} more' if reasons[1:] else ''}" if reasons else ""
    return decided


def functions_of(code: Code, file: str) -> dict[str, tuple[str, str, str]]:
    """Returns {"FILE:LINE": (name, unit, hash)} of the functions of a module and of its methods, "Class.method"."""
    found, path = dict[str, tuple[str, str, str]](), code.path(file)
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else ():
        for each in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [node.name, each.name] if isinstance(node, ast.ClassDef) else [each.name]
                unit = unit_key(file, names[0] if names[0] in code.module(file) else "")
                line = min(part.lineno for part in (each, *each.decorator_list))
                found[f"{file}:{line}"] = (".".join(names), unit, digest_of(normalized(each).encode()))
    return found


def missed(code: Code, use: Use) -> list[str]:
    """Returns the units that ran in a stage and on which it does not depend. There should be none."""
    files = {place.rpartition(":")[0] for place in use.ran}
    functions = [each for file in files if category(file) != NEVER for each in functions_of(code, file).items()]
    units = {unit for place, (_, unit, _) in functions if place in use.ran}
    return sorted(units.difference(*code.reached(use.stage, use.options).values()))

"""Which parts of the code changed, what a stage uses of them, and which revisions rise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gift_core import revisions
from gift_core.config.loading import load_config
from gift_core.fingerprint import DISPLAY, CodeBase
from gift_core.revisions import Code, Definitions, part_name
from gift_core.stage_graph import read_blocks
from recipes.revisions.probe import NEW_PARAMS, Instance, Outcome

Used = tuple[Outcome, list[str]]  # the outcome of a stage, and the parts that it uses


@dataclass(frozen=True)
class Change:
    """A part of which definitions changed. `functions` of them are in the new code, and can run."""

    part: str
    definitions: frozenset[str]
    functions: frozenset[str]


def describe_code(root: Path) -> tuple[Definitions, dict[str, str]]:
    """Returns the definitions of each part of the code in `root`, and {definition: hash} of all of it."""
    code = Code(CodeBase(root))
    parts = revisions.definitions_of_parts(code, [block.name for block in read_blocks(root) if block.name != "check"])
    every = {key: digest for part in parts.values() for key, digest in part.items()}
    every |= revisions.display_definitions(code.base)
    return parts, {key: every[key] for key in sorted(every) if every[key]}


def find_changes(code: CodeBase, before: Definitions, after: Definitions) -> dict[str, Change]:
    """Returns the changed parts by name. A new part is none: nothing was made with it."""
    found = {}
    for name in after.keys() & before.keys():
        one, other = before[name], after[name]
        changed = frozenset(key for key in {*one, *other} if one.get(key) != other.get(key))
        if changed:
            functions = frozenset(key for key in changed & other.keys() if code.is_function(key))
            found[name] = Change(name, changed, functions)
    return dict(sorted(found.items()))


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
            config = load_config(self._project / NEW_PARAMS)
            self._options[instance.stage] = revisions.options_of(instance.stage, config)
        own = self._options[instance.stage]
        return own.get(instance.owner, own.get("", []))


def decide(
    code: CodeBase, changes: Mapping[str, Change], outcomes: Sequence[Used], keep: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yields each part whose revision rises, with the reason."""
    for name, change in changes.items():
        if name in keep:
            continue
        using = [(outcome, names) for outcome, names in outcomes if name in names]
        alone = [outcome for outcome, names in using if [each for each in names if each in changes] == [name]]
        different = [outcome for outcome in alone or [outcome for outcome, _ in using] if outcome.difference]
        ran = {key for outcome, _ in using for key in functions_that_ran(code, outcome)}
        if different:
            yield name, f"{different[0].instance}: {different[0].difference}"
        elif missing := sorted(change.functions - ran):
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            yield name, f"{missing[0]} changed and never ran in the probe{more}"
        elif data := sorted(key for key in change.definitions if ":" not in key):  # the probe may not have read it
            yield name, f"{data[0]} changed{f', and {len(data) - 1} more' if len(data) > 1 else ''}"


def missed(code: Code, outcome: Outcome, options: Collection[str]) -> list[str]:
    """Returns the functions that ran in a stage and on which it does not depend. There should be none."""
    known = code.reached(outcome.instance.stage, options)
    ran = functions_that_ran(code.base, outcome)
    return sorted(key for key in ran if key not in known and not key.startswith(DISPLAY))


def functions_that_ran(code: CodeBase, outcome: Outcome) -> set[str]:
    """Returns the keys of the functions that ran in a stage. The report's templates, which also run, are no modules."""
    return {code.function_at(file, line) for file, line in outcome.ran if file.endswith(".py")}

"""Edits of params.yaml as text: a task, a method or a release is added, one is removed, the sequence gets an order."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gift_core.config.checks import START
from gift_core.config.yaml_text import COMMENT_COLUMN, Document, text_of, values_of
from gift_core.errors import UserError, lookup
from gift_core.quantities import plural
from gift_core.untrusted import parse_yaml

MOST_ABOUT = 80  # characters of a comment that lists the changes of a copied row


def row_text(name: str, lines: str, about: str, column: int) -> str:
    """Returns a row: its name, a comment in a column of the line, and its lines."""
    return f"{text_of({name: None}).strip():<{column - 1}} # {about}\n{textwrap.indent(lines, '  ')}"


def append_task(text: str, name: str, row: Mapping[str, Any], *, learning_rate_factor: float | None) -> str:
    """Returns a params file's text with `row` added to its tasks, and a step for it added to its sequence.

    The text has been checked by parse_config. The step follows the last one, or ../pretrained if there is none. Without
    a factor there is no step: the task becomes a probe. UserError for a name that exists.
    """
    document = Document.parse(text)
    if document.find("tasks", name) is not None:
        path = document.find("tasks", name, "path")
        problem = f"already exists (path: {path.value if path else None})"
        raise UserError(f"params.yaml: tasks.{name}: {problem}. Choose another name, or gift remove-task {name}.")
    edits = document.addition(["tasks"], text_of({name: dict(row)}))
    if learning_rate_factor is None:
        return document.edited([*edits, *document.addition(["evaluation", "probes"], text_of([name]))])
    steps = document.find("sequence").value
    after = values_of(steps[-1])["task"].value if steps else START
    step = {"task": name, "after": after, "learning_rate_factor": learning_rate_factor}
    in_brackets = bool(steps) and steps[-1].flow_style
    line = f"- {text_of(step, in_brackets=True)}" if in_brackets else text_of([step])
    return document.edited([*edits, *document.addition(["sequence"], line)])


def append_method(text: str, name: str, base: str | None, settings: Sequence[str], catalogue: Mapping[str, Any]) -> str:
    """Returns a params file's text with a copy of the row `base` added to its methods, and `name` to run.methods.

    Without a base, the row exists. `settings` are the keys of the copy that get another value of YAML:
    "losses.distill.weight=2.0". Sections that the base does not have are made. The copy keeps the comments of the base,
    except for those of a slot that was changed: "1.0 in the paper" is not true of another kind of consolidation.
    `catalogue` has the rows (KnownMethod) that the file lacks. UserError for an unknown base and a wrong setting.
    """
    document = Document.parse(text)
    edits = document.addition(["run", "methods"], text_of([name]))
    if base is None:
        return document.edited(edits)
    rows = document.entries(document.find("methods"))
    lookup({**catalogue, **rows}, base, "gift add-method --from")
    column = COMMENT_COLUMN - 2
    if base in rows:
        column = document.comment(rows[base])[0] - rows[base].indent
        row, lines = parse_yaml(document.text)["methods"][base], document.lines(rows[base].value)
    else:
        row, lines = catalogue[base].row, catalogue[base].lines
    row.pop("label", None)  # the name of the other method
    changed = {_change(row, setting) for setting in settings}
    kept = {slot: text for slot, text in lines.items() if slot not in changed}
    copied = "".join(kept.get(slot) or _slot_text(slot, value) for slot, value in row.items())
    changes = ", ".join(settings) or "no change yet"
    if len(changes) > MOST_ABOUT:
        changes = plural(len(settings), "change")
    about = catalogue[base].about if base == name and not settings else f"{base} with {changes}"
    return document.edited([*edits, *document.addition(["methods"], row_text(name, copied, about, column))])


def _slot_text(slot: str, value: Any) -> str:
    return text_of({slot: value}, in_brackets=None if isinstance(value, dict | list) else False)


def _change(row: dict[str, Any], setting: str) -> str:
    """Changes a row by "losses.distill.weight=2.0", and returns the first key. What is no section becomes one."""
    key, equals, value = setting.partition("=")
    *outer, last = keys = key.split(".")
    try:
        if not equals or not all(keys):
            raise ValueError("it is no KEY=VALUE")
        parsed = parse_yaml(value)
    except ValueError as error:
        problem = f"should be KEY=VALUE with a value of YAML, as losses.distill.weight=2.0 ({error})"
        raise UserError(f"--set {setting}: {problem}. Correct it.") from None
    section = row
    for name in outer:
        if not isinstance(section.get(name), dict):
            section[name] = {}
        section = section[name]
    if parsed is None and outer == ["losses"] and last in section:
        del section[last]
    else:
        section[last] = parsed
    return keys[0]


def set_release(text: str, name: str, alpha: float) -> str:
    """Returns a params file's text in which the method `name` is released at `alpha`."""
    document = Document.parse(text)
    release = f"{{kind: interpolate, alpha: {alpha!r}}}"
    row = document.entry("methods", name).value
    if "release" not in document.entries(row):
        return document.edited(document.addition(["methods", name], f"release: {release}\n"))
    return document.edited(document.replaced(document.entry("methods", name, "release"), release))


def remove_task(text: str, name: str) -> str:
    """Returns a params file's text without the row of a task, and its step or its name in evaluation.probes.

    The next step follows the step before. The last task leaves `tasks: {}` and `sequence: []`. Comments above the lines
    stay. The task exists, since parse_config has checked the text.
    """
    document = Document.parse(text)
    edits = document.removal(["tasks"], [name])
    probes = document.find("evaluation", "probes")
    positions = [str(number) for number, probe in enumerate(probes.value if probes else ()) if probe.value == name]
    edits += document.removal(["evaluation", "probes"], positions)
    steps = document.find("sequence").value
    names = [values_of(step)["task"].value for step in steps]
    if name in names:
        position = names.index(name)
        edits += document.removal(["sequence"], [str(position)])
        if position + 1 < len(steps):
            before = text_of(values_of(steps[position])["after"])
            edits += document.replaced(document.entry("sequence", str(position + 1), "after"), before)
    return document.edited(edits)


def set_order(text: str, tasks: Sequence[str]) -> str:
    """Returns a params file's text with the steps of the sequence in this order of their tasks, each after the other.

    A step keeps its comments and its other keys.
    """
    document = Document.parse(text)
    entries = [*document.entries(document.find("sequence")).values()]
    steps = {values_of(entry.value)["task"].value: entry for entry in entries}
    lines = ""
    for before, task in pairwise([START, *tasks]):
        step = steps[task]
        edits = document.replaced(document.entries(step.value)["after"], text_of(before))
        lines += document.edited(edits, step.above, step.end)
    return document.edited([(entries[0].above, entries[-1].end, lines)])


def without_tasks(text: str, experiment: str) -> str:
    """Returns a params file's text without its tasks, steps and probes, and with another name of the experiment."""
    document = Document.parse(text)
    edits = document.replaced(document.entry("experiment"), text_of(experiment))
    for path in (["tasks"], ["sequence"], ["evaluation", "probes"]):
        section = document.find(*path)
        edits += document.removal(path, [*document.entries(section)] if section and section.value else [])
    return document.edited(edits)


def remove_method(text: str, name: str) -> str:
    """Returns a params file's text without the row of a method and without its name in run.methods.

    UserError for an unknown name, and for the only method that runs.
    """
    document = Document.parse(text)
    lookup(values_of(document.find("methods")), name, "params.yaml: methods")
    running = [method.value for method in document.find("run", "methods").value]
    if running == [name]:
        problem = f"{name} is the only method that runs. Add another one first: gift add-method NAME"
        raise UserError(f"params.yaml: run.methods: {problem}")
    positions = [str(running.index(name))] if name in running else []
    return document.edited([*document.removal(["methods"], [name]), *document.removal(["run", "methods"], positions)])

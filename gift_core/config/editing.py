"""Adds a task to the text of params.yaml by inserting lines. All other bytes of the file stay the same."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gift_core.config.checks import START
from gift_core.errors import UserError
from gift_core.untrusted import parse_yaml

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_WIDTH = 4096  # never break a line
_EMPTY = re.compile(r"^(\w+:) *(\{ *\}|\[ *\]|null|~)")


def append_task(text: str, name: str, row: Mapping[str, Any], *, learning_rate_factor: float) -> str:
    """Returns a params file's text with `row` added to its tasks, and a step for it added to its sequence.

    The step follows the last one, or ../pretrained if there is none. The new lines have the style and indentation of
    those before them. UserError for a name that exists, a text that is not valid YAML, and a layout that cannot be
    extended (the error shows the lines to write by hand).
    """
    document = _load(text)
    tasks, sequence = document["tasks"], document["sequence"]
    if name in (tasks or {}):
        what = f"already exists (path: {tasks[name].get('path')})"
        raise UserError(f"params.yaml: tasks.{name}: {what}. Choose another name, or remove its row and its step.")
    after = sequence[-1]["task"] if sequence else START
    step = {"task": name, "after": after, "learning_rate_factor": learning_rate_factor}
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if "\r\n" in text else "\n"
    additions = {"tasks": _row_lines(tasks, name, row), "sequence": _step_lines(sequence, lines, step)}
    for section in sorted(additions, key=lambda key: int(document.lc.key(key)[0]), reverse=True):  # from the bottom up
        end = _end_of_section(document, section, lines)
        if not document[section]:
            lines[end - 1] = _EMPTY.sub(r"\1", lines[end - 1])
        lines[end - 1] = lines[end - 1].rstrip("\r\n") + newline
        lines[end:end] = [f"{line}{newline}" for line in additions[section]]
    added = "".join(lines)
    _require_added(text, added, name, row, step)
    return added


def _load(text: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        _require_rows(parse_yaml(text))
        return _editor().load(text)
    except (YAMLError, ValueError) as error:
        what = f"is not valid YAML ({' '.join(str(error).split())})"
        raise UserError(f"params.yaml: {what}. Correct it, or start from a preset: gift use NAME") from None


def _require_rows(params: Any) -> None:
    """Raises UserError unless `tasks` has sections by name, and `sequence` is a list of sections with a task."""
    for section in ("tasks", "sequence"):
        if not isinstance(params, dict) or section not in params:
            raise UserError(f"params.yaml: the section {section} is missing. Start from a preset: gift use NAME")
    tasks, sequence = params["tasks"] or {}, params["sequence"] or []
    if not isinstance(tasks, dict) or not all(isinstance(row, dict) for row in tasks.values()):
        raise UserError("params.yaml: tasks: should have one section per task. Compare it with presets/mini.yaml.")
    steps = sequence if isinstance(sequence, list) else [None]
    if not all(isinstance(step, dict) and isinstance(step.get("task"), str) for step in steps):
        raise UserError("params.yaml: sequence: should list steps with a task. Compare it with presets/mini.yaml.")


def _editor() -> YAML:
    from ruamel.yaml import YAML

    editor = YAML()  # round trip: it keeps the position of each key
    editor.width = _WIDTH
    return editor


def _row_lines(tasks: Any, name: str, row: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the row, indented as the first row of the section."""
    margin, nested = 2, 2
    if tasks:
        _require_block(tasks, "tasks")
        first = next(iter(tasks))
        margin = tasks.lc.key(first)[1]
        nested = tasks[first].lc.col - margin if not tasks[first].fa.flow_style() else 2
    return [" " * margin + line for line in _dump({name: row}, indent=nested)]


def _step_lines(sequence: Any, lines: list[str], step: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the step, in braces if the last step is."""
    if not sequence:
        return [("  " if index else "- ") + text for index, text in enumerate(_dump(step))]
    _require_block(sequence, "sequence")
    last = lines[sequence.lc.item(len(sequence) - 1)[0]]
    dash = re.match(r" *- *", last)
    assert dash is not None, f"{last!r} is not the start of a list entry"
    if sequence[-1].fa.flow_style():
        return [f"{dash[0]}{{{', '.join(_dump(step))}}}"]
    return [(" " * len(dash[0]) if index else dash[0]) + text for index, text in enumerate(_dump(step))]


def _require_block(section: Any, name: str) -> None:
    if section.fa.flow_style():
        what = "is written in brackets, so lines cannot be added"
        raise UserError(f"params.yaml: {name}: {what}. Write one entry per line, as in presets/mini.yaml.")


def _end_of_section(document: Any, section: str, lines: list[str]) -> int:
    """Returns the index of the line after the last row of the section. Blank lines and comments may follow."""
    start = document.lc.key(section)[0]
    end = min((line for key in document if (line := document.lc.key(key)[0]) > start), default=len(lines))
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1
    return int(end)


def _dump(value: Mapping[str, Any], *, indent: int = 2) -> list[str]:
    editor = _editor()
    editor.indent(mapping=indent)
    buffer = io.StringIO()
    editor.dump(_styled(value), buffer)
    return buffer.getvalue().splitlines()


def _styled(value: Any) -> Any:
    """Returns the value in the layout that DVC writes: lists on several lines, quotes only where YAML needs them."""
    from ruamel.yaml.scalarstring import SingleQuotedScalarString

    if isinstance(value, Mapping):
        return {_styled(key): _styled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_styled(each) for each in value]
    if isinstance(value, float):
        digits = repr(value)  # PyYAML reads 5e-05 as text
        return _editor().load(digits if "." in digits else digits.replace("e", ".0e"))
    return SingleQuotedScalarString(value) if isinstance(value, str) and not _is_plain(value) else value


def _is_plain(value: str) -> bool:
    """Whether every reader of YAML reads the text without quotes as this text (PyYAML does not for "on" and "1_0")."""
    try:
        return bool(parse_yaml(value) == value)
    except ValueError:
        return False


def _require_added(before: str, after: str, name: str, row: Mapping[str, Any], step: Mapping[str, Any]) -> None:
    """Raises UserError if the new text has other values than the old ones, the row and the step."""
    expected = parse_yaml(before)
    expected["tasks"] = {**(expected["tasks"] or {}), name: dict(row)}
    expected["sequence"] = [*(expected["sequence"] or []), dict(step)]
    try:
        sound = parse_yaml(after) == expected
    except ValueError:
        sound = False
    if not sound:
        lines = "\n".join([*_dump({name: row}), "and below sequence:", *_dump(step)])
        raise UserError(f"params.yaml: lines cannot be added to this layout. Write by hand below tasks:\n{lines}")

"""Adds to params.yaml as a person would: lines are inserted, every other byte of the file stays."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from gift_core.config.checks import START
from gift_core.errors import UserError

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_WIDTH = 4096  # no line is broken
_EMPTY = re.compile(r"^(\w+:) *(\{ *\}|\[ *\]|null|~)")


def append_task(text: str, name: str, row: Mapping[str, Any], *, learning_rate_factor: float) -> str:
    """Returns a params file's text with `row` at the end of its tasks and a step for it at the end of its sequence.

    The step comes after the last one, or after ../pretrained where there is none. New lines are indented, and the step
    is written, as those before them are. UserError for a name that is taken, for a text that is no YAML, and for a file
    whose layout cannot be added to; it says which lines to write by hand.
    """
    document = _load(text)
    tasks, sequence = document.get("tasks"), document.get("sequence")
    if name in (tasks or {}):
        what = f"there is a task of that name (path: {tasks[name].get('path')})"
        raise UserError(f"params.yaml: tasks.{name}: {what}. Choose another name, or remove its row and its step.")
    after = sequence[-1]["task"] if sequence else START
    step = {"task": name, "after": after, "learning_rate_factor": learning_rate_factor}
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if "\r\n" in text else "\n"
    additions = {"tasks": _row_lines(tasks, name, row), "sequence": _step_lines(sequence, lines, step)}
    for section in sorted(additions, key=lambda key: int(document.lc.key(key)[0]), reverse=True):  # the lower one first
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
        document = _editor().load(text)
    except YAMLError as error:
        raise UserError(f"params.yaml: is no YAML ({error}). Correct it, or start from one of presets/.") from None
    for section in ("tasks", "sequence"):
        if not isinstance(document, dict) or section not in document:
            raise UserError(f"params.yaml: there is no section {section}. Start from one of presets/: gift use <name>")
    return document


def _editor() -> YAML:
    from ruamel.yaml import YAML

    editor = YAML()  # round-trip: it knows where each key stands
    editor.width = _WIDTH
    return editor


def _row_lines(tasks: Any, name: str, row: Mapping[str, Any]) -> list[str]:
    """The row as lines, indented as the section's first one."""
    margin, nested = 2, 2
    if tasks:
        _require_block(tasks, "tasks")
        first = next(iter(tasks))
        margin = tasks.lc.key(first)[1]
        nested = tasks[first].lc.col - margin if not tasks[first].fa.flow_style() else 2
    return [" " * margin + line for line in _dump({name: row}, indent=nested)]


def _step_lines(sequence: Any, lines: list[str], step: Mapping[str, Any]) -> list[str]:
    """The step as lines, a block or in braces as the last one is."""
    if not sequence:
        return [("    " if index else "  - ") + text for index, text in enumerate(_dump(step))]
    _require_block(sequence, "sequence")
    last = lines[sequence.lc.item(len(sequence) - 1)[0]]
    dash = re.match(r" *- *", last)
    assert dash is not None, f"{last!r} begins no entry of a list"
    if sequence[-1].fa.flow_style():
        return [f"{dash[0]}{{{', '.join(_dump(step))}}}"]
    return [(" " * len(dash[0]) if index else dash[0]) + text for index, text in enumerate(_dump(step))]


def _require_block(section: Any, name: str) -> None:
    if section.fa.flow_style():
        what = "is written in brackets, which cannot be added to line by line"
        raise UserError(f"params.yaml: {name}: {what}. Write one entry a line, as presets/mini.yaml does.")


def _end_of_section(document: Any, section: str, lines: list[str]) -> int:
    """The number of the line after the section's last one; what follows are blank lines and comments of the margin."""
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
    """The value as people write it: lists on one line, texts in quotes where YAML would read something else."""
    from ruamel.yaml.comments import CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        return {_styled(key): _styled(each) for key, each in value.items()}
    if isinstance(value, list):
        texts = CommentedSeq([DoubleQuotedScalarString(each) for each in value])
        texts.fa.set_flow_style()
        return texts
    if isinstance(value, float):
        digits = repr(value)  # PyYAML reads 5e-05 as a text
        return _editor().load(digits if "." in digits else digits.replace("e", ".0e"))
    return DoubleQuotedScalarString(value) if isinstance(value, str) and not _is_plain(value) else value


def _is_plain(value: str) -> bool:
    """Whether YAML of either version reads the bare word as this text: "on" and "1_0" are none for PyYAML."""
    try:
        return bool(yaml.safe_load(value) == value) and not set(value) & set("{}[],")
    except yaml.YAMLError:
        return False


def _require_added(before: str, after: str, name: str, row: Mapping[str, Any], step: Mapping[str, Any]) -> None:
    """Raises UserError where the new text does not hold just the old values, the row and the step."""
    expected = yaml.safe_load(before)
    expected["tasks"] = {**(expected["tasks"] or {}), name: dict(row)}
    expected["sequence"] = [*(expected["sequence"] or []), dict(step)]
    try:
        sound = yaml.safe_load(after) == expected
    except yaml.YAMLError:
        sound = False
    if not sound:
        lines = "\n".join([*_dump({name: row}), "and below sequence:", *_dump(step)])
        raise UserError(f"params.yaml: its layout cannot be added to. Write by hand below tasks:\n{lines}")

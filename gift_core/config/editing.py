"""Adds a task or a method to the text of params.yaml by inserting lines. All other bytes of the file stay the same."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gift_core.config.checks import START
from gift_core.errors import UserError, lookup
from gift_core.untrusted import compose_yaml, parse_yaml

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_WIDTH = 4096  # never break a line
_EMPTY = re.compile(r"^(\w+:) *(\{ *\}|\[ *\]|null|~)")


def append_task(text: str, name: str, row: Mapping[str, Any], *, learning_rate_factor: float) -> str:
    """Returns a params file's text with `row` added to its tasks, and a step for it added to its sequence.

    The text has been checked by parse_config. The step follows the last one, or ../pretrained if there is none. The new
    lines have the style and indentation of those before them. UserError for a name that exists, and for a layout that
    cannot be extended (the error shows the lines to write by hand).
    """
    document = _editor().load(text)
    tasks, sequence = document["tasks"], document["sequence"]
    if name in (tasks or {}):
        what = f"already exists (path: {tasks[name].get('path')})"
        raise UserError(f"params.yaml: tasks.{name}: {what}. Choose another name, or gift remove-task {name}.")
    after = sequence[-1]["task"] if sequence else START
    step = {"task": name, "after": after, "learning_rate_factor": learning_rate_factor}
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if "\r\n" in text else "\n"
    additions = {"tasks": _row_lines(tasks, name, row), "sequence": _step_lines(sequence, lines, step)}
    for section in sorted(additions, key=lambda key: int(document.lc.key(key)[0]), reverse=True):  # from the bottom up
        end = _end_of_section(document, section, lines)
        if not document[section]:
            head = document.lc.key(section)[0]
            lines[head] = _EMPTY.sub(r"\1", lines[head])
        lines[end - 1] = lines[end - 1].rstrip("\r\n") + newline
        lines[end:end] = [f"{line}{newline}" for line in additions[section]]
    added = "".join(lines)
    _require_added(text, added, name, row, step)
    return added


def append_method(text: str, name: str, base: str, settings: Mapping[str, Any]) -> str:
    """Returns a params file's text with a copy of the row `base` added to its methods, and `name` to run.methods.

    `settings` are the keys of the copy that get another value: {"losses.distill.weight": 2.0}. Sections that the base
    does not have are made. The copy keeps the comments of the base. UserError for a name that exists, an unknown base,
    and as in append_task.
    """
    document = _editor().load(text)
    methods, lines = document["methods"], text.splitlines(keepends=True)
    lookup(methods, base, "gift add-method --from: methods of params.yaml")
    if name in methods:
        what = "already exists. Choose another name, or remove its row"
        raise UserError(f"params.yaml: methods.{name}: {what}.")
    _require_block(methods, "methods")
    end, newline = _end_of_section(document, "methods", lines), "\r\n" if "\r\n" in text else "\n"
    row = _row_alone(methods, base, lines[:end])
    for key, value in settings.items():
        _set(row, key.split("."), value)
    changes = ", ".join(f"{key} {inline(value)}" for key, value in settings.items())
    lines[end - 1] = lines[end - 1].rstrip("\r\n") + newline
    start, margin = methods.lc.key(base)
    head, *below = _dumped({"methods": {_styled(name): row}}, indent=margin)[1:]
    column = max(len(head) + 3, lines[start].find(" #") + 1)
    head = f"{head:{column}}# {base} with {changes or 'no change yet'}"
    lines[end:end] = [f"{line}{newline}" for line in (head, *below)]
    added = _with_run_method("".join(lines), name)
    expected = parse_yaml(text)
    expected["methods"][name] = parse_yaml("\n".join(_dumped(row)))
    expected["run"]["methods"].append(name)
    require_values(
        added, expected, ["Write by hand below methods:", *_dump({name: row}), "and its name in run.methods"]
    )
    return added


def activate_method(text: str, name: str) -> str:
    """Returns a params file's text with `name` at the end of run.methods. UserError as in append_task."""
    expected = parse_yaml(text)
    added = _with_run_method(text, name)
    expected["run"]["methods"].append(name)
    require_values(added, expected, [f"Write {name} by hand at the end of run.methods."])
    return added


def _with_run_method(text: str, name: str) -> str:
    node: Any = compose_yaml(text)
    for section in ("run", "methods"):
        node = next(value for key, value in node.value if key.value == section)
    word, newline = inline(name), "\r\n" if "\r\n" in text else "\n"
    if node.flow_style:
        end = node.end_mark.index - 1
        return f"{text[:end].rstrip()}, {word}{text[end:]}"
    lines = text.splitlines(keepends=True)
    last = node.value[-1].start_mark
    dash = lines[last.line][: last.column]
    lines[last.line] = lines[last.line].rstrip("\r\n") + newline
    lines.insert(last.line + 1, f"{dash}{word}{newline}")
    return "".join(lines)


def _row_alone(methods: Any, base: str, lines: list[str]) -> Any:
    """The row as a document of its own, without the comments that belong to the row after it."""
    from ruamel.yaml.error import YAMLError

    start = methods.lc.key(base)[0]
    end = min((line for key in methods if (line := methods.lc.key(key)[0]) > start), default=len(lines))
    while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
        end -= 1
    try:
        row = _editor().load("methods:\n" + "".join(lines[start:end]))["methods"][base]
    except YAMLError:  # an alias to another row
        raise UserError(f"params.yaml: methods.{base}: cannot be copied. Write the new row by hand.") from None
    row.ca.comment = None  # behind its name: what the base is
    return row


def _set(row: Any, keys: list[str], value: Any) -> None:
    """Sets a value in a row, and makes the sections around it that it does not have."""
    section = row
    for depth, key in enumerate(keys[:-1], 1):
        if section.get(key) is None:
            section[key] = _on_one_line({})
        section = section[key]
        if not isinstance(section, Mapping):
            what = f"{'.'.join(keys[:depth])} is {section!r} and no section"
            raise UserError(f"gift add-method --set {'.'.join(keys)}: {what}. Name a key of a section.")
    section[keys[-1]] = _on_one_line(value)


def _on_one_line(value: Any) -> Any:
    """The value as DVC writes it, sections and lists in brackets on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, Mapping):
        section = CommentedMap((_styled(key), _on_one_line(each)) for key, each in value.items())
        section.fa.set_flow_style()
        return section
    if isinstance(value, list):
        entries = CommentedSeq(map(_on_one_line, value))
        entries.fa.set_flow_style()
        return entries
    return _styled(value)


def inline(value: Any) -> str:
    """Returns the value as it is written on one line of YAML; "empty" for null."""
    return _dumped({"value": _on_one_line(value)})[0].removeprefix("value:").strip() or "empty"


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
    nulls = [f"{key}:" for key, value in row.items() if value is None]  # the editor leaves null away
    lines = [f"{line} null" if line.strip() in nulls else line for line in _dump({name: row}, indent=nested)]
    return [" " * margin + line for line in lines]


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
    while not lines[end - 1].strip() or lines[end - 1].startswith(("#", "...")):  # `...` ends a document
        end -= 1
    return int(end)


def _dump(value: Mapping[str, Any], *, indent: int = 2) -> list[str]:
    return _dumped(_styled(value), indent=indent)


def _dumped(styled: Any, *, indent: int = 2) -> list[str]:
    editor = _editor()
    editor.indent(mapping=indent)
    buffer = io.StringIO()
    editor.dump(styled, buffer)
    return buffer.getvalue().splitlines()


def _styled(value: Any) -> Any:
    """Returns the value in the layout that DVC writes: lists on several lines, quotes only where YAML needs them."""
    from ruamel.yaml.scalarstring import SingleQuotedScalarString

    if isinstance(value, Mapping):
        return {_styled(key): _styled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_styled(each) for each in value]
    if isinstance(value, float) and math.isfinite(value):
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
    by_hand = ["Write by hand below tasks:", *_dump({name: row}), "and below sequence:", *_dump(step)]
    require_values(after, expected, by_hand)


def require_values(text: str, expected: Any, by_hand: list[str]) -> None:
    """Raises UserError, with what to do by hand, if an edited text has other values than the expected ones."""
    try:
        sound = repr(parse_yaml(text)) == repr(expected)  # nan is not equal to itself
    except ValueError:
        sound = False
    if not sound:
        lines = "\n".join(by_hand)
        raise UserError(f"params.yaml: this layout cannot be edited. {lines}")

"""Removes a task or a method from the text of params.yaml. Of the other lines only `after` of the next step changes."""

from __future__ import annotations

from typing import Any

import yaml

from gift_core.config.editing import inline, require_values
from gift_core.errors import UserError, lookup
from gift_core.untrusted import compose_yaml, parse_yaml


def remove_task(text: str, name: str) -> str:
    """Returns a params file's text without the row of a task and its step. The next step follows the step before.

    The last task leaves `tasks: {}` and `sequence: []`. Comments above the lines stay. UserError for an unknown name
    and a layout that cannot be edited. The text has been checked by parse_config.
    """
    expected = parse_yaml(text)
    tasks, sequence = expected["tasks"] or {}, expected["sequence"] or []
    lookup(tasks, name, "params.yaml: tasks")
    removed = _without(text, ("tasks",), list(tasks).index(name))
    del tasks[name]
    position = next((index for index, step in enumerate(sequence) if step["task"] == name), None)
    if position is not None:
        if position + 1 < len(sequence):
            after = sequence[position + 1]["after"] = sequence[position].get("after")
            removed = _with_after(removed, position + 1, after)
        removed = _without(removed, ("sequence",), position)
        del sequence[position]
    require_values(removed, expected, [f"Remove by hand the row tasks.{name}, and its step of sequence."])
    return removed


def remove_method(text: str, name: str) -> str:
    """Returns a params file's text without the row of a method and without its name in run.methods.

    UserError as in remove_task, and for the only method that runs.
    """
    expected = parse_yaml(text)
    methods, running = expected["methods"], expected["run"]["methods"]
    lookup(methods, name, "params.yaml: methods")
    if running == [name]:
        what = f"{name} is the only method that runs. Add another one first: gift add-method NAME"
        raise UserError(f"params.yaml: run.methods: {what}")
    removed = _without(text, ("methods",), list(methods).index(name))
    del methods[name]
    if name in running:
        removed = _without(removed, ("run", "methods"), running.index(name))
        running.remove(name)
    require_values(removed, expected, [f"Remove by hand the row methods.{name}, and {name} in run.methods."])
    return removed


def _without(text: str, path: tuple[str, ...], position: int) -> str:
    """The text without one entry of the section or list at `path`."""
    head, node = _find(text, path)
    is_section = isinstance(node, yaml.MappingNode)
    spans = node.value if is_section else [(entry, entry) for entry in node.value]
    if node.flow_style:
        start, end = spans[position][0].start_mark.index, spans[position][1].end_mark.index
        if position:
            start = spans[position - 1][1].end_mark.index
        elif len(spans) > 1:
            end = spans[1][0].start_mark.index
        return text[:start] + text[end:]
    lines = text.splitlines(keepends=True)
    start = spans[position][0].start_mark.line
    is_last = position + 1 == len(spans)
    end = _end_of_block(lines, node.end_mark) if is_last else spans[position + 1][0].start_mark.line
    margin = _indent(lines[start])
    while not lines[end - 1].strip() or (lines[end - 1].lstrip().startswith("#") and _indent(lines[end - 1]) <= margin):
        end -= 1  # what stands above the next entry
    del lines[start:end]
    if len(spans) == 1:
        line, column = head.end_mark.line, head.end_mark.column + 1
        lines[line] = f"{lines[line][:column]} {'{}' if is_section else '[]'}{lines[line][column:]}"
    return "".join(lines)


def _with_after(text: str, position: int, after: Any) -> str:
    """The text with another value for the key `after` of one step."""
    _, sequence = _find(text, ("sequence",))
    node = next(value for key, value in sequence.value[position].value if key.value == "after")
    return f"{text[: node.start_mark.index]}{inline(after)}{text[node.end_mark.index :]}"


def _find(text: str, path: tuple[str, ...]) -> tuple[yaml.Node, Any]:
    """The nodes of the key and of the value at `path`."""
    node: Any = compose_yaml(text)
    for name in path:
        key, node = next((key, value) for key, value in node.value if key.value == name)
    return key, node


def _end_of_block(lines: list[str], mark: yaml.Mark) -> int:
    """The first line behind a block. The mark is at what follows, or at the end of a text without a last line end."""
    ends_inside = mark.line == len(lines) - 1 and not lines[-1].endswith("\n")
    return len(lines) if ends_inside else int(mark.line)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())

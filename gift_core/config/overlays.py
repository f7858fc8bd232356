"""Presets that change another preset: the texts of both become the text of a complete params file, with its comments.

An overlay names the preset that it changes in its first key, `base`. A section on several lines is merged into the
base's key by key. Everything else (a value, a list, a section in braces) replaces what the base has. `!replace` in
front of a section replaces it as a whole, `!delete` removes a key. The result keeps the base's lines except those
that the overlay changes. The comment of a changed key stays, unless the overlay has its own. `class_slices` stands for
the sections tasks and sequence of a class-incremental experiment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from gift_core.config.checks import START
from gift_core.config.section import MAX_NAMES, Count, Section, Text
from gift_core.errors import UserError, did_you_mean
from gift_core.shipped import shipped_root
from gift_core.untrusted import MAX_YAML_BYTES, compose_yaml, parse_yaml, read_limited

Edit = tuple[int, int, list[str]]  # the lines [first, last) of the base and their replacement
REPLACE, DELETE = "!replace", "!delete"


class ClassSlices(Section):
    """A data set's classes as tasks: `base_classes` in the first task (0: no such task), then `steps` equal tasks."""

    dataset: Text
    base_classes: Annotated[int, Field(ge=0, le=10_000_000)]
    classes_per_step: Count
    steps: Annotated[int, Field(ge=1, lt=MAX_NAMES)]


@dataclass(frozen=True)
class _Entry:
    """A key with its value: the lines [head, end) of `lines`, after the lines [top, head) of its comment."""

    lines: list[str]
    value: yaml.Node
    top: int
    head: int
    end: int

    @property
    def is_section(self) -> bool:
        """Whether the value is a section on several lines."""
        return isinstance(self.value, yaml.MappingNode) and not self.value.flow_style

    @property
    def comment(self) -> tuple[str, int]:
        """The comment at the end of the key's line and its column; ("", 0) if there is none."""
        line = self.lines[self.head]
        ends_here = self.value.end_mark.line == self.head
        start = line.find(" #", self.value.end_mark.column if ends_here else line.find(":")) + 1
        return (line[start:], start) if start else ("", 0)


def complete_text(preset: Path) -> str:
    """Returns the text of a complete params file: the preset itself, or the result of merging it into its base.

    The base lies beside the preset, or is one that comes with GIFT.
    UserError for files that cannot be read and overlays that cannot be merged. The values are not checked.
    """
    text = _read(preset)
    lines = text.splitlines()
    entries = _entries(_compose(text, preset.name), lines, preset.name)
    if "base" not in entries:
        return text
    name = str(entries.pop("base").value.value)
    folders = (preset.parent, shipped_root() / "presets")
    path = next((base for folder in folders if (base := folder / f"{name}.yaml").is_file()), None)
    if path is None:
        known = [other.stem for other in preset.parent.glob("*.yaml") if other != preset]
        raise UserError(f"{preset.name}: base: unknown preset {name!r}. {did_you_mean(name, known)}")
    slices = entries.get("class_slices")
    return _merge(path, _expand(slices, preset.name) if slices else text, preset.name)


def _merge(base: Path, overlay: str, name: str) -> str:
    """Returns the base's text with the overlay's changes."""
    text = _read(base)
    lines, new = text.splitlines(), overlay.splitlines()
    below, above = _compose(text, base.name), _compose(overlay, name)
    if "base" in _entries(below, lines, base.name):
        raise UserError(f"{name}: base: {base.stem} has a base itself. Name a complete preset.")
    entries = _entries(above, new, name)
    first = entries.pop("base")
    edits = [(0, _paragraph(lines), new[first.top : first.head])]
    edits += _edits(_entries(below, lines, base.name), entries, name)
    edits.sort(key=lambda edit: edit[:2])
    while edits:  # from the bottom up
        start, end, replacement = edits.pop()
        lines[start:end] = replacement
    return "\n".join(lines) + "\n"


def _paragraph(lines: list[str]) -> int:
    """Returns the number of lines in the first paragraph of the comment that opens the file."""
    return next((index for index, line in enumerate(lines) if line == "#" or not line.startswith("#")), len(lines))


def _edits(base: dict[str, _Entry], overlay: dict[str, _Entry], name: str) -> Iterator[Edit]:
    """Yields the changes to the base's lines. `name` is the overlay's file, for errors."""
    added: list[str] = []
    for key, new in overlay.items():
        old = base.get(key)
        if old is None and new.value.tag == DELETE:
            raise UserError(f"{name}: {key}: the base has no such key to delete. {did_you_mean(key, base)}")
        if old is None:
            added += _lines(new)
        elif new.value.tag == DELETE:
            yield old.top, old.end, []
        elif old.is_section and new.is_section and new.value.tag != REPLACE:
            if new.top < new.head:
                yield old.top, old.head, new.lines[new.top : new.head]
            yield from _edits(_children(old, name), _children(new, name), name)
        else:
            yield (old.top if new.top < new.head else old.head), old.end, _lines(new, *old.comment)
    last = max(entry.end for entry in base.values())
    yield last, last, added


def _lines(new: _Entry, comment: str = "", column: int = 0) -> list[str]:
    """Returns the lines of `new`. `comment` and `column`: of the base, for the end of the key's line."""
    head = new.lines[new.head]
    own, start = new.comment
    line = (head[:start] if start else head).replace(f" {REPLACE}", "").rstrip()
    if own or comment:
        line = f"{line:<{(column or start) - 3}}   {own or comment}"
    return [*new.lines[new.top : new.head], line, *new.lines[new.head + 1 : new.end]]


def _children(entry: _Entry, name: str) -> dict[str, _Entry]:
    return _entries(entry.value, entry.lines, name)


def _entries(section: yaml.Node, lines: list[str], name: str) -> dict[str, _Entry]:
    """Returns the entries of a section on several lines by their keys."""
    found: dict[str, _Entry] = {}
    for key, value in section.value:
        if key.value in found:
            raise UserError(f"{name}: line {key.start_mark.line + 1}: {key.value} is listed twice. Remove one.")
        head, end = key.start_mark.line, value.end_mark.line + 1
        top = head
        while top and lines[top - 1].lstrip().startswith("#"):
            top -= 1
        if value.end_mark.column == 0 or (not isinstance(value, yaml.ScalarNode) and not value.flow_style):
            end -= 1  # the value ends before the next token
        while end > head + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        found[key.value] = _Entry(lines, value, top, head, end)
    return found


def _expand(entry: _Entry, name: str) -> str:
    """Returns the overlay's text with tasks and sequence in place of class_slices."""
    try:
        raw = parse_yaml("\n".join(entry.lines[entry.head : entry.end]))
        slices = ClassSlices.model_validate(raw["class_slices"])
    except ValidationError as error:
        wrong = ", ".join(f"{'.'.join(map(str, each['loc']))} ({each['msg']})" for each in error.errors())
        raise UserError(f"{name}: class_slices: {wrong}. Compare it with presets/cil_cifar100_10.yaml.") from None
    except ValueError as error:
        raise UserError(f"{name}: class_slices: {error}. Compare it with presets/cil_cifar100_10.yaml.") from None
    counts = [slices.base_classes] * (slices.base_classes > 0) + [slices.classes_per_step] * slices.steps
    names = [f"{slices.dataset}_{index:02d}" for index in range(len(counts))]
    lines = [f"tasks: {REPLACE}"]
    for index, (task, count) in enumerate(zip(names, counts, strict=True)):
        lines += [
            f"  {task}:",
            "    source: catalogue",
            f"    dataset: {slices.dataset}",
            f"    path: data/0_raw/{slices.dataset}",
            f"    classes: {{order: benchmark, first: {sum(counts[:index])}, count: {count}}}",
        ]
    lines += ["", "sequence:"]
    for task, before in zip(names, [START, *names], strict=False):
        lines += [f"- task: {task}", f"  after: {before}", "  learning_rate_factor: 1.0"]
    return "\n".join([*entry.lines[: entry.head], *lines, *entry.lines[entry.end :]]) + "\n"


def _read(path: Path) -> str:
    try:
        return read_limited(path, MAX_YAML_BYTES).decode()  # bytes: line ends stay as they are
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Save it as UTF-8 text.") from None


@lru_cache(maxsize=8)  # overlays of one base are often merged together; nothing changes the nodes
def _compose(text: str, name: str) -> yaml.MappingNode:
    try:
        node = compose_yaml(text)
    except ValueError as error:
        raise UserError(f"{name}: is not valid YAML ({error}). Compare it with presets/mini.yaml.") from None
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise UserError(f"{name}: should contain sections. Compare it with presets/mini.yaml.")
    return node

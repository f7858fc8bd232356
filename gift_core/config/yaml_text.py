"""The text of a YAML file that is edited: entries are added, removed and replaced. All other lines stay as they are.

ruamel.yaml says where in the text each entry is. A comment on lines of its own belongs to the entry below it. So a new
entry stands before the comment of the section that follows, and a removed one does not take it along.
"""

from __future__ import annotations

import copy
import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError

if TYPE_CHECKING:
    from ruamel.yaml import YAML

COMMENT_COLUMN = 29
NO_LINE_LIMIT = 4096  # characters, after which ruamel.yaml would break a line
Edit = tuple[int, int, str]  # the characters from a start to an end become another text


@dataclass(frozen=True)
class Entry:
    """An entry of a section or a list, as positions in the text: its lines are text[start:end].

    The comments and empty lines above it are text[above:start]. The value begins behind `colon` and ends at `last`.
    """

    value: Any  # a node of ruamel.yaml
    above: int
    start: int
    colon: int
    last: int
    end: int
    indent: int  # spaces before it


@dataclass(frozen=True)
class Document:
    """The text of a params file, and the tree of its nodes, which know their positions in the text."""

    text: str
    root: Any

    @classmethod
    def parse(cls, text: str, name: str = "params.yaml") -> Document:
        """Returns the document in the text of the file `name`. UserError if it is not YAML with sections."""
        from ruamel.yaml.error import YAMLError

        text = text.replace("\r\n", "\n").removesuffix("\n") + "\n"
        try:
            root = _parser().compose(text)
        except (YAMLError, RecursionError) as error:  # also for a tab, which the faster reader accepts
            mark = getattr(error, "problem_mark", None)
            problem = f"line {mark.line + 1}: {getattr(error, 'problem', None)}" if mark else str(error)
            raise UserError(f"{name}: is not valid YAML ({problem}). Correct it, and indent with spaces.") from None
        if not is_section(root):
            raise UserError(f"{name}: should contain sections. Compare it with presets/mini.yaml.")
        return cls(text, root)

    def entries(self, section: Any) -> dict[str, Entry]:
        """Returns the entries of a section by key, those of a list by number ("0"), in their order."""
        result = dict[str, Entry]()
        for number, item in enumerate(section.value):
            key, value = item if section.id == "mapping" else (item, item)
            name, colon = str(number), key.start_mark.index
            if section.id == "mapping":
                name, colon = key.value, self.text.index(":", key.end_mark.index) + 1
            start = key.start_mark.index - key.start_mark.column
            last = max(colon, self._last(value))  # an alias is its anchor's node, which stands above
            indent = len(self.text[start:colon]) - len(self.text[start:colon].lstrip(" "))
            above = start if section is self.root and not result else self._above(start)
            result[name] = Entry(value, above, start, colon, last, self.text.index("\n", last) + 1, indent)
        return result

    def _above(self, start: int) -> int:
        """Where the comments and empty lines above the line at `start` begin."""
        before = self.text.rfind("\n", 0, max(start - 1, 0)) + 1
        is_comment = start > 0 and self.text[before:start].strip()[:1] in ("", "#")
        return self._above(before) if is_comment else start

    def _last(self, node: Any) -> int:
        """The position behind the last character of a value: behind a section are only comments."""
        if not is_block(node):
            return len(self.text[: node.end_mark.index].rstrip())  # a text in several lines ends in the next one
        nodes = [inner for pair in node.value for inner in pair] if node.id == "mapping" else node.value
        return max(self._last(inner) for inner in nodes)

    def find(self, *path: str) -> Any:
        """Returns the node below these keys, None if there is none."""
        node = self.root
        for key in path:
            node = values_of(node).get(key) if node is not None and node.id == "mapping" else None
        return node

    def entry(self, *path: str) -> Entry:
        """Returns the entry below these keys, which is there."""
        section = self.root
        for key in path[:-1]:
            section = self.entries(section)[key].value
        return self.entries(section)[path[-1]]

    def lines(self, section: Any) -> dict[str, str]:
        """Returns the lines of each entry of a section, with the comments above it and without indentation."""
        entries = self.entries(section).items() if is_block(section) else ()
        return {key: moved(self.text[entry.above : entry.end], -entry.indent) for key, entry in entries}

    def edited(self, edits: Iterable[Edit], start: int = 0, end: int | None = None) -> str:
        """Returns the text, or text[start:end], with these edits, which do not overlap."""
        parts = []
        for first, last, new in sorted(edits):
            parts += [self.text[start:first], new]
            start = last
        return "".join([*parts, self.text[start:end]])

    def addition(self, path: Sequence[str], lines: str) -> list[Edit]:
        """Adds an entry, its lines without indentation, at the end of the section or list below `path`."""
        entry = self.entry(*path)
        if is_block(entry.value):
            last = [*self.entries(entry.value).values()][-1]
            return [(last.end, last.end, moved(lines, last.indent))]
        if entry.value.value:  # in brackets
            return self.replaced(entry, text_of(_with(entry.value, entry.value.value + _parser().compose(lines).value)))
        inner = moved(lines, entry.indent if lines.startswith("- ") else entry.indent + 2)
        return [(entry.colon, entry.last, ""), (entry.end, entry.end, inner)]

    def removal(self, path: Sequence[str], keys: Sequence[str]) -> list[Edit]:
        """Removes entries below `path`, and not the comments above them. What is empty then becomes {} or []."""
        if not keys:
            return []
        outer = self.entry(*path)
        entries = self.entries(outer.value)
        kept = [item for key, item in zip(entries, outer.value.value, strict=True) if key not in keys]
        if not is_block(outer.value):
            return self.replaced(outer, text_of(_with(outer.value, kept)))
        lines = [(entries[key].start, entries[key].end, "") for key in keys]
        if kept:
            return lines
        return [(outer.colon, outer.colon, " []" if outer.value.id == "sequence" else " {}"), *lines]

    def replaced(self, entry: Entry, value: str) -> list[Edit]:
        """Gives an entry another value on its line. The comment behind it stays, in its column if there is room."""
        column, comment = self.comment(entry)
        if not comment:
            return [(entry.colon, entry.last, f" {value.strip()}")]
        end = entry.start + column
        return [(entry.colon, end, f"{f' {value.strip()}':<{end - entry.colon - 1}} ")]

    def comment(self, entry: Entry) -> tuple[int, str]:
        """Returns the column and the text of the comment on the line of an entry's key.

        Where there is none, the text is empty, and the column is that of the presets.
        """
        behind = entry.colon if is_block(entry.value) else entry.last
        comment = re.match(r" *(?:[&!]\S+ +)*(#.*)", self.text[behind:])  # an anchor or a tag may stand before it
        return (behind + comment.start(1) - entry.start, comment[1]) if comment else (COMMENT_COLUMN, "")


def _parser() -> YAML:
    from ruamel.yaml import YAML

    parser = YAML(typ="safe", pure=True)
    parser.width = NO_LINE_LIMIT
    return parser


def is_block(node: Any) -> bool:
    """Whether a node is a section or a list on several lines."""
    return node.id != "scalar" and not node.flow_style


def is_section(node: Any) -> bool:
    """Whether a node is a section on several lines."""
    return node is not None and node.id == "mapping" and is_block(node)


def values_of(section: Any) -> dict[str, Any]:
    """Returns the nodes of a section by key."""
    return {key.value: value for key, value in section.value}


def _with(node: Any, value: list[Any]) -> Any:
    """A copy of a section or a list with other entries."""
    copied = copy.copy(node)
    copied.value = value
    return copied


def text_of(value: Any, *, in_brackets: bool | None = False) -> str:
    """Returns the YAML of plain data or of a node, with a line end. `in_brackets` None: what has no inner sections."""
    from ruamel.yaml import YAML

    buffer = io.StringIO()
    if hasattr(value, "start_mark"):
        _parser().serialize(value, buffer)
    else:
        writer = YAML()  # it keeps the order of the keys
        writer.width = NO_LINE_LIMIT
        writer.default_flow_style = in_brackets
        writer.dump(value, buffer)
    return buffer.getvalue().removesuffix("...\n")  # behind a single value


def moved(text: str, spaces: int) -> str:
    """Returns lines with more or, for a negative number, fewer spaces before them."""
    return textwrap.indent(text, " " * spaces) if spaces >= 0 else re.sub(f"(?m)^ {{0,{-spaces}}}", "", text)

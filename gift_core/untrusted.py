"""Decodes JSON and YAML that people or other programs wrote, with limits on size, nesting and numbers.

Every message says what is wrong in words that can follow "it should be JSON, but ...". Values come out plain: texts,
numbers, truth values, None, lists and mappings with text keys. A text never has half of a surrogate pair in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

MAX_BYTES = 256 << 20
MAX_YAML_BYTES = 256 << 10  # PyYAML reads about 100 KB in a second
MAX_NESTING = 64
MAX_DIGITS = 40  # of a whole number: more than any 128-bit number has
SHOWN = 80  # characters of a wrong value in a message

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"  # `<<: *anchor`
_PLAIN_TAGS = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_QUOTE = "put it in quotes"
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")  # DVC writes 1e-05, which is text in YAML 1.1
# The values of each type that YAML 1.1 and 1.2 read alike: no date.
_ONE_READING = {
    "int": re.compile(r"[-+]?(0|[1-9][0-9]*)"),
    "float": re.compile(
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)|" + _EXPONENT.pattern
    ),
    "bool": re.compile("true|false", re.IGNORECASE),
    "timestamp": re.compile("(?!)"),
}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_NUMBER_OF_YAML_1_2 = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|0o[0-7]+)")
# What YAML forbids, and line separators that YAML 1.1, YAML 1.2 and Python count differently.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNUSABLE = re.compile("[\0\ud800-\udfff]")  # in a text: no file has such a name, no file can hold it
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_limited(path: Path, most: int = MAX_BYTES) -> bytes:
    """Returns the bytes of a file. ValueError if it has more than `most`; then no more than these are read."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    _require_size(len(content), most)
    return content


def decode_text(content: bytes) -> str:
    """Returns the text of UTF-8 bytes, without a byte order mark. ValueError for other bytes."""
    return content.decode("utf-8-sig")


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text (bytes: UTF-8).

    ValueError says what is wrong in words that can follow "it should be JSON, but ...": not JSON, not UTF-8, larger
    than MAX_BYTES, nested too deep, a key that is repeated, a whole number of more than MAX_DIGITS digits, NaN or
    infinity, or half of a surrogate pair.
    """
    _require_size(len(text), MAX_BYTES)
    if isinstance(text, bytes):
        text = decode_text(text)
    try:
        value = json.loads(
            text, parse_int=_whole_number, parse_constant=_no_number, object_pairs_hook=_without_repeated_keys
        )
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"it has a text with half of a surrogate pair, {error.object[error.start]!r}") from None
    return value


def read_json_file(path: Path) -> Any:
    """Returns the value of a JSON file. ValueError as in parse_json; OSError if the file cannot be read."""
    return parse_json(read_limited(path))


def parse_yaml(text: str | bytes) -> Any:
    """Returns the value of a YAML text (bytes: UTF-8).

    It is read so that every reader of YAML agrees: a plain value that YAML 1.1 (PyYAML) and YAML 1.2 (DVC) read
    differently is refused, such as 010, yes, 1:30 and 2024-01-01. Anchors, aliases and merge keys are allowed.
    ValueError "line 3: ..." says what is wrong: not YAML, not UTF-8, a character that YAML forbids, a repeated key or
    one that is not text, a tag, such a value, and what is beyond the limits of this module.
    """
    root = compose_yaml(text)
    if root is None:
        return None
    try:
        for node in _all_nodes(root):
            _require_plain(node)
        return yaml.constructor.SafeConstructor().construct_document(root)
    except yaml.YAMLError as error:
        raise _with_line(error) from None


def compose_yaml(text: str | bytes) -> yaml.Node | None:
    """Returns the nodes of a YAML text, which know their lines; None for an empty one. Tags and values are unchecked.

    ValueError as in parse_yaml.
    """
    _require_size(len(text), MAX_YAML_BYTES)
    if isinstance(text, bytes):
        text = decode_text(text)
    if found := _FORBIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"line {line}: the character U+{ord(found[0]):04X} is not allowed in YAML")
    try:
        root: yaml.Node | None = _Composer(text).get_single_node()
    except yaml.YAMLError as error:
        raise _with_line(error) from None
    return root


class _Composer(yaml.SafeLoader):
    """A loader that refuses a value that is nested too deep, or has aliases of aliases, before it is built."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[str | None] = []  # the anchors of the values around the next one

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent) and any(self._open):  # a few such lines stand for billions of values
            _refuse(mark, "an alias in a value that has an anchor itself. Write out what the alias stands for")
        if len(self._open) == MAX_NESTING:
            _refuse(mark, f"nested deeper than {MAX_NESTING} levels")
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node


_Composer.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+0123456789"))


def _inner_nodes(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _all_nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yields every node once, in the order of the text."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += reversed(_inner_nodes(node))


def _require_plain(node: yaml.Node) -> None:
    """Raises if a node has a tag, or is a scalar that YAML 1.1 and 1.2 read differently; for a mapping checks keys."""
    if isinstance(node, yaml.MappingNode):
        _require_text_keys(node)
    if node.tag not in (*_PLAIN_TAGS, _MERGE, f"{_TAG}timestamp"):
        tag = node.tag.replace(_TAG, "!!")[:SHOWN]
        _refuse(node.start_mark, f"the tag or sign {tag} is not supported. For text, {_QUOTE}")
    if isinstance(node, yaml.ScalarNode) and (what := _ambiguity(node)):
        _refuse(node.start_mark, what)


def _ambiguity(node: yaml.ScalarNode) -> str:
    """Returns why programs read a scalar differently or not at all, and the remedy; empty if they agree."""
    tag, value = node.tag.removeprefix(_TAG), node.value
    if tag == "int" and len(value) > MAX_DIGITS:
        return f"a whole number of {len(value)} digits, more than {MAX_DIGITS}"
    allowed = _ONE_READING.get(tag)
    if (allowed and not allowed.fullmatch(value)) or (
        tag == "str" and node.style is None and _LEADING_ZERO.fullmatch(value)
    ):
        remedy = f"Write true, false or a decimal number without a leading 0, or {_QUOTE}"
        return f"{value[:SHOWN]} is a number, a date, true, false or text for different programs. {remedy}"
    found = _UNUSABLE.search(value)
    return f"the escaped character U+{ord(found[0]):04X} is not allowed. Remove it" if found else ""


def _require_text_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _refuse(key.start_mark, "a key is a list or a section")
        is_number = key.style is None and _NUMBER_OF_YAML_1_2.fullmatch(key.value)
        if key.tag not in (f"{_TAG}str", _MERGE) or is_number:
            _refuse(key.start_mark, f"key {key.value[:SHOWN]!r} is not text in YAML. Put it in quotes")
        if key.value in lines:
            _refuse(key.start_mark, f"key {key.value[:SHOWN]!r} is already on line {lines[key.value]}. Remove one")
        lines[key.value] = key.start_mark.line + 1


def _refuse(mark: yaml.Mark, what: str) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=what, problem_mark=mark)


def _with_line(error: yaml.YAMLError) -> ValueError:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return ValueError(f"line {error.problem_mark.line + 1}: {error.problem}")
    return ValueError(f"it is not valid YAML ({error})")


def _require_size(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"it has more than {most} bytes")


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it has a whole number of {len(digits)} digits, more than {MAX_DIGITS}")
    return int(digits)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"it has {name}, which is not a number of JSON")


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise ValueError(f"it has the key {repeated[:SHOWN]!r} twice in one object")
    return found

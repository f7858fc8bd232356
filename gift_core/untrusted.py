"""Decodes JSON and YAML that people or other programs wrote, with limits on size and nesting.

Every message says what is wrong in words that can follow "it should be JSON, but ...". Values come out plain: texts,
numbers, truth values, None, lists and mappings with text keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 256 << 20
MAX_YAML_BYTES = 256 << 10  # a settings file is small
SHOWN = 80  # characters of a wrong value in a message

_NESTED = re.compile(r"(?:(?:[\[{]|[-?]\s)\s*(?:[\w.]+:\s*)?){300}")  # the parser in C would crash


def read_limited(path: Path, most: int = MAX_BYTES) -> bytes:
    """Returns the bytes of a file. ValueError if it has more than `most`; then no more than these are read."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    _require_size(len(content), most)
    return content


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text (bytes: UTF-8).

    ValueError says what is wrong in words that can follow "it should be JSON, but ...": not JSON, not UTF-8, nested too
    deep, NaN or infinity.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text  # without a byte order mark
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json_file(path: Path) -> Any:
    """Returns the value of a JSON file. ValueError as in parse_json; OSError if the file cannot be read."""
    return parse_json(read_limited(path))


def parse_yaml(text: str | bytes) -> Any:
    """Returns the value of a YAML text (bytes: UTF-8), as DVC reads it: with ruamel.yaml, YAML 1.2.

    ValueError "line 3: ..." says what is wrong: not YAML, not UTF-8, larger than MAX_YAML_BYTES, a repeated key or one
    that is not text, a date or another value that JSON does not have, aliases that stand for too many values.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    _require_size(len(text), MAX_YAML_BYTES)
    text = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    if _NESTED.search(text):
        raise ValueError("it is nested too deep")
    try:
        value = YAML(typ="safe").load(text)
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem}") from None
    except (YAMLError, RecursionError, TypeError) as error:
        raise ValueError(f"it is not valid YAML ({error})") from None
    _require_plain(value)
    return value


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the single values below a name: `("training.seed", 0)`."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _require_plain(value: Any) -> None:
    """Raises if there is a key or a value that JSON does not have. Counts, since ten aliases can stand for billions."""
    waiting, count = [value], 0
    while waiting:
        inner = waiting.pop()
        count += 1
        if count > MAX_YAML_BYTES:
            raise ValueError("its aliases stand for too many values. Write them out")
        wrong = ""
        if isinstance(inner, dict):
            wrong = next((f"the key {str(key)[:SHOWN]}" for key in inner if not isinstance(key, str)), "")
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
        elif inner is not None and not isinstance(inner, str | int | float):
            wrong = str(inner)[:SHOWN]
        if wrong:
            raise ValueError(f"{wrong} is not text in YAML. Put it in quotes")


def _require_size(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"it has more than {most} bytes")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"it has {name}, which is not a number of JSON")

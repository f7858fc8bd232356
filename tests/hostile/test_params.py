"""params.yaml as somebody hostile or careless writes it: keys with values of another kind, and whole files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.loading import load_config, parse_config
from gift_core.errors import UserError

HERE = "@here@"
VALUES = [
    *map(json.dumps, ("", "../..", "${seed}", "a; touch pwned ;", "\x1b[31m", "\u202eevil", "x" * 100_000)),
    "0", "-1", "1.0e+300", "1.0e-320", "9" * 5000, "null", "true", "[]", "{}", "[" * 2000 + "]" * 2000, ".nan",
    "2024-01-01", "!!binary aGk=", "*undefined", "&a [*a]", '!!python/object/apply:os.system ["touch pwned"]',
    "{a: 1, a: 2}", "{? [a] : b}", "@",
]  # fmt: skip
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
FILES: dict[str, tuple[bytes, str]] = {  # and what the message says
    "empty": (b"", "should contain sections, it contains None. Compare it with presets/mini.yaml."),
    "an open list": (b"a: [1, 2\n", "params.yaml: line 2: "),
    "a number as a key": (b"a:\n  1: 2\n", "the key 1 is not text in YAML. Put it in quotes."),
    "NUL": (b"seed: 1\x00\n", ""),
    "UTF-16": ("seed: 1\n".encode("utf-16"), "Save it as UTF-8 text."),
    "two documents": (b"a: 1\n---\nb: 2\n", ""),
    "billion laughs": (LAUGHS.encode(), ""),
    "deep lists": (b"[" * 100_000, ""),
    "many anchors": (b"&a " * 100_000, ""),
}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every section or list of the file with a key or an index of it."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def require_message(error: UserError) -> None:
    """A message has a file, where in the file, and what to do, and is of a length that people read."""
    message = str(error)
    assert re.search(r"[\w-]+\.yaml: ", message) and re.search(r"(\S[.?:] \S)|gift use", message), message[:600]
    assert len(message) < 20_000


def test_a_key_with_any_value_is_accepted_or_refused_with_a_message(mini_params: dict[str, Any]) -> None:
    mini_params["methods"] = {name: mini_params["methods"][name] for name in ("finetune", "gift", "zscl", "lwf_vr")}
    for number, (section, key) in enumerate(list(places(mini_params))[::2]):
        kept, section[key] = section[key], HERE
        text = yaml.safe_dump(mini_params, width=10**6).replace(f"'{HERE}'", VALUES[number % len(VALUES)])
        section[key] = kept
        try:
            parse_config(text, "params.yaml")
        except UserError as error:
            require_message(error)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_settings_file_is_refused_with_a_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file. Run in a project's root"):
        load_config(tmp_path / "params.yaml")
    content, expected = FILES[name]
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(UserError) as refused:
        load_config(tmp_path / "params.yaml")
    assert expected in str(refused.value)
    require_message(refused.value)

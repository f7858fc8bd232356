"""JSON and YAML of other people: decoded with limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml as dvc_parse_yaml

from gift_core.untrusted import MAX_YAML_BYTES, parse_json, parse_yaml, read_limited


def test_json_within_the_limits_is_decoded() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 2.5, "\xc3\xa9", null]}') == {"a": [1, 2.5, "é", None]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": NaN}', "it has NaN"),
        ("[" * 100_000 + "1" + "]" * 100_000, "nested too deep"),
        ("9" * 5000, "4300 digits"),
    ],
    ids=range(3),
)
def test_json_that_only_python_accepts_or_that_is_huge_is_refused(text: str | bytes, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_json(text)


@pytest.mark.parametrize(
    "value", ["010", "0x1F", "1_000", "1:30", "yes", "No", "1e-05", "5.0e-5", ".5", "~", "{b: &b {c: 1}, d: {<<: *b}}"]
)
def test_a_value_is_what_dvc_reads_also_behind_a_byte_order_mark(value: str) -> None:
    assert parse_yaml(f"\ufeffa: {value}\n".encode()) == dvc_parse_yaml(f"a: {value}\n", "params.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &a [*a]", "its aliases stand for too many values"),
        ("a: !!binary aGk=", "b'hi' is not text in YAML. Put it in quotes"),
        ("a: 1\nb:\n  a: 1\n  a: 2\n", 'line 4: found duplicate key "a"'),
        ("a: 1\n\tb: 2", "line 2: found a tab character"),
        ("#" * MAX_YAML_BYTES + "#", "more than"),
    ],
)
def test_yaml_that_is_no_settings_file_is_refused_with_what_is_wrong(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_yaml(text)


def test_no_more_of_a_file_is_read_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_limited(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_limited(tmp_path / "a", 4)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read_limited(Path("/dev/zero"), 10)

"""JSON of other people: decoded with limits."""

from __future__ import annotations

import pytest

from gift_core.untrusted import MAX_DIGITS, MAX_NESTING, parse_json


def test_json_within_the_limits_is_decoded() -> None:
    nested = "[" * MAX_NESTING + "]" * MAX_NESTING
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 2.5, "\xc3\xa9", null]}') == {"a": [1, 2.5, "é", None]}
    assert parse_json(nested[1:-1]) is not None


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 1_000, 100_000])
@pytest.mark.parametrize("brackets", ["[]", '{"a":1}'])
def test_nesting_beyond_the_limit_is_refused(depth: int, brackets: str) -> None:
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    with pytest.raises(ValueError, match=f"nested deeper than {MAX_NESTING} levels"):
        parse_json(opening * depth + "1" + closing * depth)


def test_whole_numbers_of_thousands_of_digits_are_refused() -> None:
    assert parse_json("9" * MAX_DIGITS) == int("9" * MAX_DIGITS)
    with pytest.raises(ValueError, match="5000 digits, more than 40"):
        parse_json("9" * 5000)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        parse_json(b'"\xff\xfe"')

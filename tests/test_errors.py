"""Errors suggest the nearest name. Of paths: tests/stages/test_missing_paths.py."""

from __future__ import annotations

import pytest

from gift_core.errors import UserError, did_you_mean, lookup


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("distil", ["distill", "align"], "Did you mean 'distill'? Known: align, distill."),
        ("xyz", ["distill", "align"], "Known: align, distill."),
        ("xyz", [], "Known: none."),
    ],
)
def test_the_nearest_name_is_suggested_and_all_are_listed_in_order(name: str, known: list[str], expected: str) -> None:
    assert did_you_mean(name, known) == expected


def test_lookup_returns_the_entry_or_says_where_an_unknown_name_is() -> None:
    assert lookup({"a": 1, "b": 2}, "b", "params.yaml") == 2
    with pytest.raises(UserError) as caught:
        lookup({"gift": 1}, "gitf", "params.yaml: methods")
    assert str(caught.value) == "params.yaml: methods: unknown name 'gitf'. Did you mean 'gift'? Known: gift."

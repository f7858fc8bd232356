"""Errors suggest the nearest name."""

from __future__ import annotations

import pytest

from gift_core.errors import UserError, lookup


def test_lookup_returns_the_entry_or_says_where_an_unknown_name_is() -> None:
    assert lookup({"a": 1, "b": 2}, "b", "params.yaml") == 2
    with pytest.raises(UserError) as caught:
        lookup({"gift": 1}, "gitf", "params.yaml: methods")
    assert str(caught.value) == "params.yaml: methods: unknown name 'gitf'. Did you mean 'gift'? Known: gift."

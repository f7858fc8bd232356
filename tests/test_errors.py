"""Errors suggest the nearest name."""

from __future__ import annotations

import pytest

from gift_core.errors import ContractError, GiftError, UserError, did_you_mean, lookup


def test_the_nearest_name_is_suggested_and_all_are_listed_in_order() -> None:
    assert did_you_mean("distil", ["distill", "align"]) == "Did you mean 'distill'? Known: align, distill."


def test_nothing_is_suggested_where_no_name_is_near() -> None:
    assert did_you_mean("xyz", ["distill", "align"]) == "Known: align, distill."


def test_an_empty_list_of_names_says_so() -> None:
    assert did_you_mean("xyz", []) == "Known: none."


def test_lookup_returns_the_entry() -> None:
    assert lookup({"a": 1, "b": 2}, "b", "params.yaml") == 2


def test_lookup_of_an_unknown_name_says_where_it_is() -> None:
    with pytest.raises(UserError) as caught:
        lookup({"gift": 1}, "gitf", "params.yaml: methods")
    assert str(caught.value) == "params.yaml: methods: unknown name 'gitf'. Did you mean 'gift'? Known: gift."


def test_both_errors_are_caught_as_one() -> None:
    assert issubclass(UserError, GiftError)
    assert issubclass(ContractError, GiftError)

"""Formats of numbers and names."""

from __future__ import annotations

import math

from gift_core.quantities import plural
from gift_core.report.labels import label, number, shorten, signed, task_list


def test_numbers_have_one_decimal_and_a_true_minus_and_none_is_a_dash() -> None:
    assert [number(value) for value in (78.94, -3.25, -0.01, None, math.nan)] == ["78.9", "−3.2", "0.0", "–", "–"]


def test_a_method_without_a_label_keeps_its_name() -> None:
    assert (label("gift"), label("my_method"), plural(1, "task"), plural(1000, "task")) == (
        "GIFT",
        "my_method",
        "1 task",
        "1,000 tasks",
    )


def test_signed_numbers_have_a_sign_unless_they_round_to_zero() -> None:
    assert [signed(value) for value in (1.24, -0.4, 0.04, -0.04, 0.0)] == ["+1.2", "−0.4", "0.0", "0.0", "0.0"]


def test_long_names_and_lists_are_cut() -> None:
    assert (shorten("x" * 22), shorten("x" * 23)) == ("x" * 22, "x" * 21 + "…")
    tasks = ("a", "b", "c", "d", "e", "f")
    assert task_list(tasks, 6) == "all 6 tasks"
    assert (task_list(tasks, 7), task_list(tasks[:5], 7)) == ("a, b, c, d and 2 more", "a, b, c, d, e")
    assert task_list(("a",), 1) == "a"

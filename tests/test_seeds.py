"""Seeds are named."""

from __future__ import annotations

from gift_core.seeds import seed_for


def test_a_seed_stays_the_same_from_version_to_version() -> None:
    assert seed_for("image", 42, "letters", 0) == 977800083435562987


def test_names_are_told_from_numbers_and_do_not_run_into_each_other() -> None:
    assert seed_for("a", 1) != seed_for("a", "1")
    assert seed_for("ab", "c") != seed_for("a", "bc")

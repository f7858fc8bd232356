"""Seeds are named."""

from __future__ import annotations

import hashlib

from gift_core.seeds import seed_for


def test_a_seed_is_the_first_63_bits_of_the_names_hash() -> None:
    digest = hashlib.sha256(b'["ingest",42,"digits"]').hexdigest()
    assert seed_for("ingest", 42, "digits") == int(digest[:16], 16) // 2


def test_a_seed_stays_the_same_from_version_to_version() -> None:
    assert seed_for("image", 42, "letters", 0) == 977800083435562987


def test_names_are_told_from_numbers_and_do_not_run_into_each_other() -> None:
    assert seed_for("a", 1) != seed_for("a", "1")
    assert seed_for("ab", "c") != seed_for("a", "bc")

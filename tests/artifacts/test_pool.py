"""The pool artifact: class names with all templates of their data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.pool import PoolEntry, read_pool, write_pool
from gift_core.errors import ContractError

POOL = [PoolEntry("base", "Möwe", ("a photo of a {}.",)), PoolEntry("birds", "wren", ("a {}, a bird.", "the {}."))]


def test_what_is_written_is_read_in_its_order(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.json", POOL)
    assert read_pool(tmp_path / "pool.json") == POOL


def test_an_empty_pool_is_one(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.json", [])
    assert read_pool(tmp_path / "pool.json") == []


@pytest.mark.parametrize(
    "entry",
    [
        PoolEntry("birds", "wren", ()),
        PoolEntry("birds", "wren", ("a {}.", "no place")),
        PoolEntry("birds", "", ("a {}.",)),
        PoolEntry("", "wren", ("a {}.",)),
    ],
)
def test_an_entry_that_can_be_no_prompt_is_refused(entry: PoolEntry, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"must have a source, a class name and templates with a \{\} each"):
        write_pool(tmp_path / "pool.json", [entry])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no json", "is no prompt pool"),
        ('[{"source_task": "base", "class_name": "wren", "template": "a {}."}]', "is no prompt pool .*templates"),
        ('[{"source_task": "base", "class_name": "wren", "templates": ["x"]}]', "templates with a"),
        ('[{"source_task": "base", "class_name": 7, "templates": ["a {}."]}]', "a class name"),
        ('[{"source_task": "base", "class_name": "wren", "templates": ["a {}."], "x": 1}]', "is no prompt pool .*'x'"),
        ("[7]", "is no prompt pool"),
        ("7", "is no prompt pool"),
    ],
)  # fmt: skip
def test_a_damaged_pool_is_refused_with_the_stage_that_makes_it(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "pool.json").write_text(text)
    with pytest.raises(ContractError, match=expected) as caught:
        read_pool(tmp_path / "pool.json")
    assert str(caught.value).endswith("re-make it with: dvc repro write_vocabulary write_prompts")


def test_a_missing_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="the prompt pool is missing"):
        read_pool(tmp_path / "pool.json")

"""Prompts drawn from the pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.pool import PoolEntry
from gift_core.artifacts.prompts import read_prompts, write_prompts
from gift_core.errors import UserError
from gift_core.replay.prompts import draw_prompts
from gift_core.seeds import seed_for

BASE = [PoolEntry("base", name, "a photo of a {}.") for name in ("snowman", "spade", "heart")]
POOL = [*BASE, PoolEntry("birds", "wren", "a {}, a bird.")]


def test_a_prompt_is_the_template_of_its_source_filled_with_its_name() -> None:
    prompts = draw_prompts(POOL, 200, task="letters", seed=42)
    wren = prompts[prompts.class_name == "wren"].iloc[0]
    assert (wren.source_task, wren.template, wren.prompt) == ("birds", "a {}, a bird.", "a wren, a bird.")
    spade = prompts[prompts.class_name == "spade"].iloc[0]
    assert (spade.source_task, spade.prompt) == ("base", "a photo of a spade.")


def test_the_draw_is_uniform_over_the_names_with_replacement() -> None:
    counts = draw_prompts(POOL, 4000, task="letters", seed=42).class_name.value_counts()
    assert set(counts.index) == {"snowman", "spade", "heart", "wren"}
    assert all(880 < count < 1120 for count in counts)  # 1000 expected, standard deviation 27


def test_the_draw_depends_on_seed_and_task_only() -> None:
    first = draw_prompts(POOL, 50, task="letters", seed=42)
    assert first.equals(draw_prompts(POOL, 50, task="letters", seed=42))
    assert not first.prompt.equals(draw_prompts(POOL, 50, task="textures", seed=42).prompt)
    assert not first.prompt.equals(draw_prompts(POOL, 50, task="letters", seed=43).prompt)


def test_every_image_has_a_seed_of_its_own_named_by_its_prompt() -> None:
    prompts = draw_prompts(POOL, 500, task="letters", seed=42)
    assert prompts.seed.is_unique
    assert prompts.seed[7] == seed_for("image", 42, "letters", 7)


def test_braces_in_a_class_name_stay_as_they_are() -> None:
    prompts = draw_prompts([PoolEntry("base", "{curly}", "a {}.")], 1, task="letters", seed=1)
    assert prompts.prompt[0] == "a {curly}."


def test_what_is_drawn_can_be_written(tmp_path: Path) -> None:
    prompts = draw_prompts(POOL, 10, task="letters", seed=42)
    write_prompts(tmp_path / "letters.parquet", prompts)
    assert read_prompts(tmp_path / "letters.parquet").to_dict("list") == prompts.to_dict("list")


def test_an_empty_pool_is_refused() -> None:
    with pytest.raises(UserError, match=r"base_vocabulary: none leaves nothing to draw for task 'letters'"):
        draw_prompts([], 10, task="letters", seed=42)

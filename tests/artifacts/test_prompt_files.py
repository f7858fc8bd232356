"""The prompts and the vocabulary. That a damaged table is refused: test_teacher_files.py."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gift_core.artifacts.prompt_files import (
    VocabularyEntry,
    read_prompts,
    read_vocabulary,
    write_prompts,
    write_vocabulary,
)

PROMPTS = pd.DataFrame({
    "prompt_id": [0, 1],
    "source_task": ["base", "birds"],
    "class_name": ["snowman", "wren"],
    "template": ["a photo of a {}.", "a {}, a bird."],
    "prompt": ["a photo of a snowman.", "a wren, a bird."],
    "seed": [5, 2**62],
})  # fmt: skip


def test_prompts_come_back_whatever_the_order_of_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "birds.parquet"
    write_prompts(path, PROMPTS[PROMPTS.columns[::-1]])
    first = path.read_bytes()
    write_prompts(path, PROMPTS)
    assert path.read_bytes() == first
    found = read_prompts(path)
    assert found.to_dict("list") == PROMPTS.to_dict("list")
    assert found.seed.dtype == "int64"


VOCABULARY = [
    VocabularyEntry("base", "Möwe", ("a photo of a {}.",)),
    VocabularyEntry("birds", "wren", ("a {}, a bird.", "the {}.")),
]


def test_a_vocabulary_keeps_its_order(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "birds.json", VOCABULARY)
    assert read_vocabulary(tmp_path / "birds.json") == VOCABULARY

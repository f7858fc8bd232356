"""Prompts sampled from the vocabulary."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from gift_core.artifacts.prompt_files import VocabularyEntry, write_prompts
from gift_core.datasets.captions import Captions, base_vocabulary
from gift_core.errors import UserError
from gift_core.method.replay.prompts import sample_prompts

BASE = [VocabularyEntry("base", name, ("a photo of a {}.",)) for name in ("snowman", "spade", "heart")]
VOCABULARY = [*BASE, VocabularyEntry("birds", "wren", ("a {}, a bird.", "the {}.", "my {}."))]


def sample(
    vocabulary: Sequence[VocabularyEntry] = VOCABULARY,
    count: int = 200,
    *,
    strategy: str = "class_template",
    captions: Captions = Captions(),  # noqa: B008  frozen
) -> pd.DataFrame:
    """Prompts, by default with the paper's strategy."""
    return sample_prompts(vocabulary, count, task="letters", seed=42, strategy=strategy, captions=captions)


def test_braces_in_a_class_name_stay_and_an_empty_vocabulary_is_refused() -> None:
    assert sample([VocabularyEntry("base", "{curly}", ("a {}.",))], 1).prompt[0] == "a {curly}."
    with pytest.raises(UserError, match=r"base_vocabulary: none leaves no prompts for the first task, 'letters'"):
        sample([], 10)


def test_the_papers_strategy_samples_the_prompts_of_the_first_release() -> None:
    vocabulary = [VocabularyEntry("base", name, ("a photo of a {}.",)) for name in base_vocabulary("imagenet")]
    vocabulary += [VocabularyEntry("birds", name, ("a {}, a bird.", "the {}.")) for name in ("wren", "tit")]
    table = sample(vocabulary, 300).to_csv(index=False, lineterminator="\n")
    assert hashlib.sha256(table.encode()).hexdigest() == (
        "321965b930de80610f6b6daaf9cf533702beb07ac89a8720b1f752a2ef68e2e5"
    )


def test_all_templates_of_a_data_set_are_equally_likely() -> None:
    prompts = sample(count=6000, strategy="all_templates")
    assert prompts.class_name.equals(sample(count=6000).class_name)  # the strategy does not change the class names
    assert set(prompts[prompts.source_task == "base"].template) == {"a photo of a {}."}
    counts = prompts[prompts.source_task == "birds"].prompt.value_counts()
    assert set(counts.index) == {"a wren, a bird.", "the wren.", "my wren."}
    assert all(410 < count < 590 for count in counts)  # 500 expected, standard deviation 22


def test_classes_without_captions_get_their_template() -> None:
    captions = Captions(by_class={"wren": ("a wren in the rain", "a {} on a wall"), "dodo": ("gone",)})
    prompts = sample(count=400, strategy="captions", captions=captions)
    wrens = prompts[prompts.class_name == "wren"]
    assert set(wrens.prompt) == {"a wren in the rain", "a wren on a wall"}
    assert set(wrens.template) == {"a wren in the rain", "a {} on a wall"}
    assert set(prompts[prompts.class_name == "spade"].prompt) == {"a photo of a spade."}
    assert "gone" not in set(prompts.prompt)


def test_general_captions_are_sampled_as_often_as_class_names(tmp_path: Path) -> None:
    captions = Captions(general=("two dogs on a beach",))
    prompts = sample(count=5000, strategy="captions", captions=captions)
    counts = prompts.prompt.value_counts()
    assert 880 < counts["two dogs on a beach"] < 1120  # five entries: 1000 expected, standard deviation 28
    assert prompts[prompts.prompt == "two dogs on a beach"].source_task.unique().tolist() == ["base"]
    write_prompts(tmp_path / "letters.parquet", prompts)

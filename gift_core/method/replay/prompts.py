"""The prompts of a step: class names sampled from the vocabulary, made into prompts by a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from gift_core.artifacts.prompt_files import VocabularyEntry
from gift_core.datasets.captions import Captions
from gift_core.errors import UserError, lookup
from gift_core.seeds import seed_for

# (entry, random generator, captions) -> the template, with {} for the class name, or a complete caption.
Strategy = Callable[[VocabularyEntry, np.random.Generator, Captions], str]


def class_template(entry: VocabularyEntry, random: np.random.Generator, captions: Captions) -> str:
    """Returns the first template of the name's own data set (GIFT, section 3.1)."""
    return entry.templates[0]


def all_templates(entry: VocabularyEntry, random: np.random.Generator, captions: Captions) -> str:
    """Returns a template of the name's own data set, all equally likely."""
    return entry.templates[random.integers(len(entry.templates))]


def class_captions(entry: VocabularyEntry, random: np.random.Generator, captions: Captions) -> str:
    """Returns a caption of the class, all equally likely, or its first template if it has none."""
    possible = captions.by_class.get(entry.class_name, entry.templates[:1])
    return possible[random.integers(len(possible))]


STRATEGIES: Mapping[str, Strategy] = {
    "class_template": class_template,
    "all_templates": all_templates,
    "captions": class_captions,
}


def sample_prompts(
    vocabulary: Sequence[VocabularyEntry], count: int, *, task: str, seed: int, strategy: str, captions: Captions
) -> pd.DataFrame:
    """Returns `count` prompts sampled uniformly from the vocabulary, with replacement (GIFT, section 3.1).

    General captions are further entries of the base vocabulary. The columns are those of artifacts.prompt_files. `seed`
    is the seed of the row's image and depends on task and prompt_id, so that equal prompts give different images.
    UserError for an empty vocabulary: prompts.base_vocabulary is none and this is the first task.
    """
    choose = lookup(STRATEGIES, strategy, "params.yaml: prompts.strategy")
    entries = [*vocabulary, *(VocabularyEntry("base", caption, ("{}",)) for caption in captions.general)]
    if not entries:
        raise UserError(
            f"params.yaml: prompts.base_vocabulary: none leaves no prompts for the first task, {task!r}. "
            "Set it to a vocabulary, or to a text file with one class name per line."
        )
    chosen = np.random.default_rng(seed_for("prompts", seed, task)).integers(len(entries), size=count)
    random = np.random.default_rng(seed_for("templates", seed, task))
    sampled = [entries[index] for index in chosen]
    templates = [choose(entry, random, captions) for entry in sampled]
    prompts: pd.DataFrame = pd.DataFrame(
        {
            "prompt_id": range(count),
            "source_task": [entry.source_task for entry in sampled],
            "class_name": [entry.class_name for entry in sampled],
            "template": templates,
            "prompt": [
                template.replace("{}", entry.class_name) for template, entry in zip(templates, sampled, strict=True)
            ],
            "seed": [seed_for("image", seed, task, number) for number in range(count)],
        }
    )
    return prompts

"""Which prompts protect the past while a task is learned: drawn from a pool of class names, worded by a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from gift_core.artifacts.prompts import VocabularyEntry
from gift_core.errors import UserError, lookup
from gift_core.replay.captions import Captions
from gift_core.seeds import seed_for

# An entry, the strategy's own draw, the captions -> the template (with a {} for the class name, or a whole caption).
Strategy = Callable[[VocabularyEntry, np.random.Generator, Captions], str]


def class_template(entry: VocabularyEntry, draw: np.random.Generator, captions: Captions) -> str:
    """Returns the first template of the name's own data set (GIFT, section 3.1)."""
    return entry.templates[0]


def all_templates(entry: VocabularyEntry, draw: np.random.Generator, captions: Captions) -> str:
    """Returns any template of the name's own data set, each as likely."""
    return entry.templates[draw.integers(len(entry.templates))]


def own_captions(entry: VocabularyEntry, draw: np.random.Generator, captions: Captions) -> str:
    """Returns any caption of the class, each as likely; for a class without one, its first template."""
    found = captions.by_class.get(entry.class_name, entry.templates[:1])
    return found[draw.integers(len(found))]


STRATEGIES: Mapping[str, Strategy] = {
    "class_template": class_template,
    "all_templates": all_templates,
    "captions": own_captions,
}


def draw_prompts(
    pool: Sequence[VocabularyEntry], count: int, *, task: str, seed: int, strategy: str, captions: Captions
) -> pd.DataFrame:
    """Returns `count` prompts drawn from the pool uniformly, with replacement (GIFT, section 3.1).

    General captions are entries of the pool beside the class names, of the base vocabulary. Columns of
    artifacts.prompts; `seed` of a row is the seed of its image, named by task and prompt_id, so two draws of one prompt
    give two images. UserError for an empty pool: the base vocabulary is none and no task came before.
    """
    word = lookup(STRATEGIES, strategy, "params.yaml: prompts.strategy")
    entries = [*pool, *(VocabularyEntry("base", caption, ("{}",)) for caption in captions.general)]
    if not entries:
        raise UserError(
            f"params.yaml: prompts.base_vocabulary: none leaves nothing to draw for task {task!r}, the first. "
            "Name a vocabulary, or a text file with one class name a line."
        )
    chosen = np.random.default_rng(seed_for("prompts", seed, task)).integers(len(entries), size=count)
    wording = np.random.default_rng(seed_for("templates", seed, task))
    drawn = [entries[index] for index in chosen]
    templates = [word(entry, wording, captions) for entry in drawn]
    prompts: pd.DataFrame = pd.DataFrame(
        {
            "prompt_id": range(count),
            "source_task": [entry.source_task for entry in drawn],
            "class_name": [entry.class_name for entry in drawn],
            "template": templates,
            "prompt": [fill(template, entry.class_name) for template, entry in zip(templates, drawn, strict=True)],
            "seed": [seed_for("image", seed, task, number) for number in range(count)],
        }
    )
    return prompts


def fill(template: str, class_name: str) -> str:
    """Returns the template with the class name in place of {}: a caption, which has none, as it stands."""
    return template.replace("{}", class_name)

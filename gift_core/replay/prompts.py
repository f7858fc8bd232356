"""Which prompts protect the past while a task is learned: drawn from a pool of class names with their templates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gift_core.artifacts.pool import PoolEntry
from gift_core.errors import UserError
from gift_core.seeds import seed_for


def draw_prompts(pool: Sequence[PoolEntry], count: int, *, task: str, seed: int) -> pd.DataFrame:
    """Returns `count` prompts drawn from the pool uniformly, with replacement (GIFT, section 3.1).

    Columns of artifacts.prompts; `seed` of a row is the seed of its image, named by task and prompt_id, so two draws
    of one prompt give two images. UserError for an empty pool: the base vocabulary is none and no task came before.
    """
    if not pool:
        raise UserError(
            f"params.yaml: prompts.base_vocabulary: none leaves nothing to draw for task {task!r}, the first. "
            "Name a vocabulary, or a text file with one class name a line."
        )
    chosen = np.random.default_rng(seed_for("prompts", seed, task)).integers(len(pool), size=count)
    entries = [pool[index] for index in chosen]
    prompts: pd.DataFrame = pd.DataFrame(
        {
            "prompt_id": range(count),
            "source_task": [entry.source_task for entry in entries],
            "class_name": [entry.class_name for entry in entries],
            "template": [entry.template for entry in entries],
            "prompt": [entry.template.replace("{}", entry.class_name) for entry in entries],
            "seed": [seed_for("image", seed, task, number) for number in range(count)],
        }
    )
    return prompts

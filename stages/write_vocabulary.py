"""write_vocabulary: the class names that stand for what the pre-trained model knows."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Params, Root, open_cell


def write_vocabulary(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Write the base vocabulary: the first entries of every task's prompt pool."""
    with open_cell("write_vocabulary", params, root) as cell:
        from gift_core.artifacts.prompts import VocabularyEntry
        from gift_core.artifacts.prompts import write_vocabulary as save_vocabulary
        from gift_core.tasks.vocabulary import base_vocabulary

        prompts = cell.config.prompts
        names = base_vocabulary(prompts.base_vocabulary)
        save_vocabulary(
            cell.layout.base_pool(), [VocabularyEntry("base", name, (prompts.base_template,)) for name in names]
        )
        cell.say(f"{len(names)} class names from {prompts.base_vocabulary}")

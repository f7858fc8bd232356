"""write_vocabulary: writes the class names that represent what the pre-trained model knows."""

from __future__ import annotations

from .open_stage import open_stage
from .options import PARAMS, ROOT, Params, Root


def write_vocabulary(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Write the base vocabulary: the class names for prompts before any task is learned.

    Example: gift write_vocabulary
    """
    with open_stage("write_vocabulary", params, root) as stage:
        from gift_core.artifacts.prompt_files import VocabularyEntry, write_vocabulary
        from gift_core.datasets.captions import base_vocabulary

        prompts = stage.config.prompts
        names = base_vocabulary(prompts.base_vocabulary, root)
        write_vocabulary(
            stage.layout.base_vocabulary(), [VocabularyEntry("base", name, (prompts.base_template,)) for name in names]
        )
        stage.say(f"{len(names)} class names from {prompts.base_vocabulary}")

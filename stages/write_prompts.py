"""write_prompts TASK: the prompts for the replay images of a task."""

from __future__ import annotations

from gift_core.quantities import first_names, plural

from .open_stage import open_stage
from .options import PARAMS, ROOT, Params, Root, Task


def write_prompts(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Sample the prompts of a task from the base vocabulary and the class names of earlier tasks.

    Example: gift write_prompts letters
    """
    with open_stage("write_prompts", params, root, task=task) as stage:
        from gift_core.artifacts.prompt_files import VocabularyEntry, read_vocabulary, write_vocabulary
        from gift_core.artifacts.prompt_files import write_prompts as save_prompts
        from gift_core.artifacts.task import read_task
        from gift_core.datasets.captions import read_captions
        from gift_core.method.replay.prompts import sample_prompts

        settings = stage.config.prompts
        info = read_task(stage.layout.task(task))
        vocabulary = read_vocabulary(stage.layout.vocabulary(stage.step.after))
        captions = read_captions(settings.captions, root)
        prompts = sample_prompts(
            vocabulary,
            settings.images_per_task,
            task=task,
            seed=stage.config.seed,
            strategy=settings.strategy,
            captions=captions,
        )
        save_prompts(stage.layout.prompts(task), prompts)
        learned = [VocabularyEntry(task, name, info.templates) for name in info.class_names]
        write_vocabulary(stage.layout.vocabulary(task), [*vocabulary, *learned])
        captioned = sum(captions.cover(name) for name in prompts.class_name)
        from_captions = f", {captioned} from captions" if settings.strategy == "captions" else ""
        sources = f"{prompts.source_task.nunique()} sources"
        stage.say(f"{len(prompts)} prompts from {len(vocabulary)} class names ({sources}){from_captions}")
        if unknown := captions.unknown_classes({entry.class_name for entry in (*vocabulary, *learned)}):
            problem = (
                f"captions of {plural(len(unknown), 'class')} are not used, because no task until now has that name"
            )
            stage.say(f"{problem}: {first_names(unknown)}")

"""write_prompts TASK: the prompts that will protect, while this task is learned, all that came before it."""

from __future__ import annotations

from stages.stage import PARAMS, ROOT, Params, Root, Task, open_stage


def write_prompts(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Draw the task's prompts from the base vocabulary and the class names of the tasks before it."""
    with open_stage("write_prompts", params, root, task=task) as stage:
        from gift_core.artifacts.prompts import VocabularyEntry, read_vocabulary, write_vocabulary
        from gift_core.artifacts.prompts import write_prompts as save_prompts
        from gift_core.artifacts.task import read_task
        from gift_core.replay.captions import read_captions
        from gift_core.replay.prompts import sample_prompts

        settings = stage.config.prompts
        info = read_task(stage.layout.task(task))
        pool = read_vocabulary(stage.layout.vocabulary(stage.step(task).after))
        captions = read_captions(settings.captions)
        prompts = sample_prompts(
            pool,
            settings.images_per_task,
            task=task,
            seed=stage.config.seed,
            strategy=settings.strategy,
            captions=captions,
        )
        save_prompts(stage.layout.prompts(task), prompts)
        learned = [VocabularyEntry(task, name, info.templates) for name in info.class_names]
        write_vocabulary(stage.layout.vocabulary(task), [*pool, *learned])
        captioned = sum(captions.cover(name) for name in prompts.class_name)
        worded = f", {captioned} worded by captions" if settings.strategy == "captions" else ""
        stage.say(
            f"{len(prompts)} prompts from {len(pool)} class names ({prompts.source_task.nunique()} sources){worded}"
        )

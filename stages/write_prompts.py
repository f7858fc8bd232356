"""write_prompts TASK: the prompts for the replay images of a task."""

from __future__ import annotations

from stages.stage import PARAMS, ROOT, Params, Root, Task, open_stage


def write_prompts(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Sample the prompts of a task from the base vocabulary and the class names of earlier tasks."""
    with open_stage("write_prompts", params, root, task=task) as cell:
        from gift_core.artifacts.prompts import VocabularyEntry, read_vocabulary, write_vocabulary
        from gift_core.artifacts.prompts import write_prompts as save_prompts
        from gift_core.artifacts.task import read_task
        from gift_core.replay.captions import read_captions
        from gift_core.replay.prompts import sample_prompts

        settings = cell.config.prompts
        info = read_task(cell.layout.task(task))
        pool = read_vocabulary(cell.layout.pool(cell.step(task).after))
        captions = read_captions(settings.captions)
        prompts = sample_prompts(
            pool,
            settings.images_per_task,
            task=task,
            seed=cell.config.seed,
            strategy=settings.strategy,
            captions=captions,
        )
        save_prompts(cell.layout.prompts(task), prompts)
        learned = [VocabularyEntry(task, name, info.templates) for name in info.class_names]
        write_vocabulary(cell.layout.pool(task), [*pool, *learned])
        captioned = sum(captions.cover(name) for name in prompts.class_name)
        from_captions = f", {captioned} from captions" if settings.strategy == "captions" else ""
        sources = f"{prompts.source_task.nunique()} sources"
        cell.say(f"{len(prompts)} prompts from {len(pool)} class names ({sources}){from_captions}")

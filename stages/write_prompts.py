"""write_prompts TASK: the prompts for the replay images of a task."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Params, Root, Task, open_cell


def write_prompts(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Sample the prompts of a task from the base vocabulary and the class names of earlier tasks."""
    with open_cell("write_prompts", params, root, task=task) as cell:
        from gift_core.artifacts.pool import PoolEntry, read_pool, write_pool
        from gift_core.artifacts.prompts import write_prompts as save_prompts
        from gift_core.artifacts.task import read_task
        from gift_core.replay.captions import read_captions
        from gift_core.replay.prompts import draw_prompts

        settings = cell.config.prompts
        info = read_task(cell.layout.task(task))
        pool = read_pool(cell.layout.pool(cell.step(task).after))
        captions = read_captions(settings.captions)
        prompts = draw_prompts(
            pool,
            settings.images_per_task,
            task=task,
            seed=cell.config.seed,
            strategy=settings.strategy,
            captions=captions,
        )
        save_prompts(cell.layout.prompts(task), prompts)
        learned = [PoolEntry(task, name, info.templates) for name in info.class_names]
        write_pool(cell.layout.pool(task), [*pool, *learned])
        captioned = sum(captions.cover(name) for name in prompts.class_name)
        from_captions = f", {captioned} from captions" if settings.strategy == "captions" else ""
        sources = f"{prompts.source_task.nunique()} sources"
        cell.say(f"{len(prompts)} prompts from {len(pool)} class names ({sources}){from_captions}")

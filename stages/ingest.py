"""ingest TASK: a data set becomes tars of images and a task.json."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Params, Root, Task, open_cell


def ingest(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Turn a raw data set (or the miniature world's) into image tars and a task.json."""
    with open_cell("ingest", params, root, task=task) as cell:
        from gift_core.errors import lookup
        from gift_core.tasks.ingest import ingest as ingest_task

        source = lookup(cell.config.tasks, task, "params.yaml: tasks")
        info = ingest_task(
            task, source, cell.layout.task(task), ingest_config=cell.config.ingest, seed=cell.config.seed
        )
        counts = f"{info.counts['train']} images to learn from, {info.counts['test']} to test on"
        cell.say(f"{len(info.class_names)} classes, {counts}")
        if info.skipped:
            cell.say(f"{len(info.skipped)} images could not be read and were skipped (named in task.json)")
        for note in info.notes:
            cell.say(note)

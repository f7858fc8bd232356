"""ingest TASK: a data set becomes tars of images and a task.json."""

from __future__ import annotations

from stages.stage import PARAMS, ROOT, Params, Root, Task, open_stage


def ingest(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Turn a raw data set (or the miniature world's) into image tars and a task.json."""
    with open_stage("ingest", params, root, task=task) as stage:
        from gift_core.errors import lookup
        from gift_core.tasks.ingest import ingest as ingest_task

        source = lookup(stage.config.tasks, task, "params.yaml: tasks")
        info = ingest_task(
            task, source, stage.layout.task(task), ingest_config=stage.config.ingest, seed=stage.config.seed
        )
        counts = f"{info.counts['train']} images to learn from, {info.counts['test']} to test on"
        stage.say(f"{len(info.class_names)} classes, {counts}")
        if info.skipped:
            stage.say(f"{len(info.skipped)} images could not be read and were skipped (named in task.json)")
        for note in info.notes:
            stage.say(note)

"""ingest TASK: turns a data set into tars of images and a task.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gift_core.errors import UserError

from .open_stage import open_stage
from .options import PARAMS, ROOT, Params, Root, Task
from .stage import Stage

if TYPE_CHECKING:
    from gift_core.datasets.dataset import Dataset


def ingest(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Turn a raw data set, or a task of the miniature benchmark, into image tars and a task.json.

    Example: gift ingest letters
    """
    with open_stage("ingest", params, root, task=task) as stage:
        from gift_core.datasets.ingest import ingest as ingest_task

        from .dvc.guards import require_distinct_classes

        def prepare(dataset: Dataset) -> Dataset:
            require_distinct_classes(stage, dataset)
            return dataset if stage.config.rehearsal is None else rehearsed(stage, dataset)

        info = ingest_task(
            task,
            stage.config.tasks[task],
            stage.layout.task(task),
            ingest_config=stage.config.ingest,
            seed=stage.config.seed,
            root=stage.layout.root,
            prepare=prepare,
        )
        if not info.counts["train"] and task not in stage.config.evaluation.probes:
            problem = f"params.yaml: sequence: {task} has no training images, so it can only be a probe"
            raise UserError(f"{problem}. Remove its step, and add it to evaluation.probes.")
        counts = f"{info.counts['train']} training images, {info.counts['test']} test images"
        captions = ", ".join(f"{count:,} {split} captions" for split, count in info.captions.items())
        stage.say(f"{captions or f'{len(info.class_names)} classes'}, {counts}")
        if info.skipped:
            stage.say(f"{len(info.skipped)} images cannot be decoded and were skipped (see task.json)")
        for note in info.notes:
            stage.say(note)


def rehearsed(stage: Stage, dataset: Dataset) -> Dataset:
    """Returns the few images of the data set that a rehearsal needs, and notes how many there are in all."""
    from gift_core.datasets.dataset import few_images

    rehearsal = stage.config.rehearsal
    assert rehearsal is not None, "only gift rehearse asks for few images"
    most = {"train": rehearsal.train_images, "test": rehearsal.test_images}
    few = few_images(dataset, most, task=stage.task, seed=stage.config.seed)
    taken = {f"few_{split}": count for split, count in few.counts.items()}
    stage.noted["images"] = {**dataset.counts, **taken, "of_bytes": dataset.size / max(1, few.size)}
    return few

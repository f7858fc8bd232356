"""finetune METHOD TASK: the model learns the task, and keeps what it knew as far as the method keeps it."""

from __future__ import annotations

from typing import Annotated

import typer

from stages.cells import PARAMS, ROOT, Method, Params, Root, Task, open_cell

Factor = Annotated[float, typer.Option(help="This step's factor on the method's learning rate.", min=0.0)]
BYTES_A_WEIGHT = 4


def finetune(
    method: Method, task: Task, learning_rate_factor: Factor = 1.0, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Fine-tune the model of the step before on the task, by the method's replay, loss terms and anchor."""
    with open_cell("finetune", params, root, method=method, task=task) as cell:
        from gift_core.artifacts.atomic import require_free_bytes
        from gift_core.clip.device import resolve_device
        from gift_core.clip.model import load_folder, save_clip
        from gift_core.methods import build_method, load_fisher, load_lessons, load_replay
        from gift_core.training import finetune as train
        from gift_core.training import require_trainable
        from stages.sources import replay_source

        row, training, source = cell.method(method), cell.config.training, replay_source(cell, method, task)
        folder = cell.layout.model(method, task)
        device = resolve_device(cell.config.run.device)
        clip = load_folder(cell.start_model(method, task), device=device, precision=cell.config.model.precision)
        require_trainable(clip, training)
        require_free_bytes(folder, clip.parameter_count * BYTES_A_WEIGHT, f"finetune: the model after {task}")
        lessons = load_lessons(row, clip, source.tasks, training=training, names=("finetune", cell.config.seed))
        losses = train(
            clip,
            lessons.batches,
            method=build_method(row, fisher=load_fisher(row, source.teacher)),
            replay=load_replay(row, clip, source),
            training=training,
            learning_rate=(row.learning_rate or 0.0) * learning_rate_factor,
            steps=lessons.steps,
            seed=cell.config.seed,
        )
        save_clip(clip, folder, cell.provenance(method, task, learning_rate_factor), losses)
        cell.say(f"{lessons.class_count} classes, {lessons.steps} steps{_progress(losses)}")


def _progress(losses: list[dict[str, float]]) -> str:
    if not losses:
        return ": nothing learned"
    skipped = int(sum(row.get("skipped", 0) for row in losses))
    note = f", {skipped} of them skipped for gradients beyond float16" if skipped else ""
    return f"{note}, task loss {losses[0]['task']:.2f} -> {losses[-1]['task']:.2f}"

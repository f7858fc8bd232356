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
        from gift_core.artifacts.task import iterate_task, read_task
        from gift_core.clip.batches import TrainingImages
        from gift_core.clip.device import resolve_device
        from gift_core.clip.loading import load_folder
        from gift_core.clip.saving import save_clip
        from gift_core.clip.zero_shot import class_prompts
        from gift_core.methods import build_method, load_replay
        from gift_core.replay.pairs import ReplaySource
        from gift_core.training import finetune as train

        row, training, place = cell.method(method), cell.config.training, f"params.yaml: methods.{method}"
        names = ("finetune", cell.config.seed, task)  # not the method's: all methods see the same batches
        info, folder = read_task(cell.layout.task(task)), cell.layout.model(method, task)
        device = resolve_device(cell.config.run.device)
        clip = load_folder(cell.start_model(method, task), device=device, precision=cell.config.model.precision)
        require_free_bytes(folder, clip.parameter_count * BYTES_A_WEIGHT, f"finetune: the model after {task}")
        images = TrainingImages(
            clip,
            iterate_task(cell.layout.task(task), "train"),
            class_prompts=class_prompts(info.class_names, info.templates),
            batch_size=training.batch_size,
            crop_scale=training.crop_scale,
            names=names,
        )
        features = cell.layout.teacher(method, task) / "features.parquet"
        source = ReplaySource(cell.layout.shards(task), features, training.replay_batch_size, names)
        losses = train(
            clip,
            images,
            method=build_method(row, place),
            replay=load_replay(row, clip, source, place),
            training=training,
            learning_rate=row.learning_rate * learning_rate_factor,
            seed=cell.config.seed,
        )
        save_clip(clip, folder, cell.provenance(method, task, learning_rate_factor), losses)
        first, last = losses[0]["task"], losses[-1]["task"]
        cell.say(f"{len(info.class_names)} classes, {len(losses)} steps, task loss {first:.2f} -> {last:.2f}")

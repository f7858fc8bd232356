"""finetune METHOD TASK: the model learns the task, with the method's replay, losses and consolidation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gift_core.errors import UserError

from .stage import PARAMS, ROOT, Method, Params, Root, Stage, Task, explained, open_stage

if TYPE_CHECKING:
    import torch

    from gift_core.clip.model import Clip
    from gift_core.methods import TrainingData
    from gift_core.replay.pairs import Replay
    from gift_core.training.loop import LossRow
    from gift_core.training.processes import Processes

MAX_FACTOR = 1000.0  # as in params.yaml
SNAPSHOT = "training.safetensors"


def _checked_factor(factor: float) -> float:
    if not 0 < factor <= MAX_FACTOR:  # typer's own bounds accept nan
        raise UserError(
            f"--learning-rate-factor {factor}: should be more than 0 and at most {MAX_FACTOR:g}. Change it."
        )
    return factor


HELP = "The factor on the method's learning rate in this step."
Factor = Annotated[float, typer.Option(metavar="NUMBER", help=HELP, callback=_checked_factor)]


def finetune(
    method: Method, task: Task, learning_rate_factor: Factor = 1.0, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Fine-tune the model of the step before on the task, with the method's replay, losses and consolidation.

    Resumes an interrupted run.

    Example: gift finetune gift letters
    """
    with open_stage("finetune", params, root, method=method, task=task) as stage:
        from gift_core.artifacts.snapshot import Snapshot
        from gift_core.clip.device import require_devices, resolve_device
        from gift_core.clip.model import save_clip
        from gift_core.provenance import environment
        from gift_core.tracking.tracked_run import require_tracker
        from gift_core.training.launcher import started
        from gift_core.training.processes import Processes

        from .tracked import tracked_training
        from .unfinished import threads_of, unfinished

        require_tracker()
        device, count = resolve_device(stage.config.run.device), stage.config.training.processes
        require_devices(device, count)
        clip, data, replay = _load(stage, method, task, Processes(0, count))
        step = _Step(stage, method, task, learning_rate_factor)
        provenance = _provenance(stage, method, task, learning_rate_factor, clip.weights_sha256)
        with (
            unfinished(stage, device, {**_read(stage, method, task), **provenance}) as work,
            tracked_training(stage, provenance, data.iterations) as tracked,
            started(count if data.iterations else 1, device, _assist, (step, work / SNAPSHOT)) as processes,
        ):
            stage.phase = "training"
            losses = step.train(
                clip,
                data,
                replay,
                processes,
                on_iteration=tracked.log_losses,
                snapshot=Snapshot(work / SNAPSHOT, stage.say),
            )
            stage.phase = "saving the model"
            recorded = environment(device) | {"processes": processes.count}
            if len(threads_of(work)) > 1:  # an interrupted run had another number
                recorded["threads"] = ", then ".join(map(str, threads_of(work)))
            save_clip(clip, stage.layout.model(method, task), provenance | {"environment": recorded}, losses)
        stage.say(f"{data.class_count} classes, {data.iterations} iterations{_summary(losses)}")


@dataclass(frozen=True)
class _Step:
    """The step that is trained, in each process of the training."""

    stage: Stage
    method: str
    task: str
    learning_rate_factor: float

    def train(
        self, clip: Clip, data: TrainingData, replay: Replay, processes: Processes, **options: Any
    ) -> list[LossRow]:
        """Trains `clip` in place; `options` are those of gift_core.training.loop.finetune."""
        from gift_core.methods import build_method, load_fisher
        from gift_core.training.loop import finetune as train

        from .replay_source import replay_source

        row, config = self.stage.method(self.method), self.stage.config
        teacher = replay_source(self.stage, self.method, self.task).teacher
        return train(
            clip,
            data.batches,
            method=build_method(row, fisher=load_fisher(row, teacher)),
            replay=replay,
            training=config.training,
            learning_rate=(row.learning_rate or 0.0) * self.learning_rate_factor,
            iterations=data.iterations,
            seed=config.seed,
            processes=processes,
            **options,
        )


def _assist(processes: Processes, step: _Step, snapshot: Path) -> Callable[[], None]:
    """What every process but the first does. It writes nothing, and continues from the snapshot of the first."""
    from gift_core.artifacts.snapshot import Snapshot

    with explained(step.stage):
        inputs = _load(step.stage, step.method, step.task, processes)

    def train() -> None:
        step.stage.phase = "training"
        with explained(step.stage):
            step.train(*inputs, processes, snapshot=Snapshot(snapshot))

    return train


def _load(stage: Stage, method: str, task: str, processes: Processes) -> tuple[Clip, TrainingData, Replay]:
    """The start model, what the step learns from, and what it replays: the images that this process decodes."""
    from gift_core.clip.device import resolve_device
    from gift_core.methods import load_replay, load_training_data

    from .replay_source import replay_source

    row, source = stage.method(method), replay_source(stage, method, task)
    stage.phase = "loading the model"
    clip = _load_start_model(stage, method, task, resolve_device(stage.config.run.device))
    training, names = stage.config.training, ("finetune", stage.config.seed)
    stage.phase = "reading the training images"
    data = load_training_data(row, clip, source.tasks, training=training, names=names, share=processes.share)
    stage.phase = "reading the replayed data"
    return clip, data, load_replay(row, clip, replace(source, share=processes.share))


def _load_start_model(stage: Stage, method: str, task: str, device: torch.device) -> Clip:
    """The model from which the step starts. UserError if it cannot be trained or the disk is too full."""
    from gift_core.artifacts.atomic import require_free_bytes
    from gift_core.clip.disk_space import training_bytes
    from gift_core.clip.model import load_folder
    from gift_core.training.loop import require_trainable

    training = stage.config.training
    clip = load_folder(stage.start_model(method, task), device=device, precision=stage.config.model.precision)
    require_trainable(clip, training)
    needed = training_bytes(clip, iterations=training.iterations)
    require_free_bytes(stage.layout.model(method, task), needed, f"{stage.title}: the model and its checkpoint")
    return clip


def _read(stage: Stage, method: str, task: str) -> dict[str, Any]:
    """The hashes of what the provenance does not name: the files beside the weights, all tasks, and the replay."""
    from gift_core.artifacts.atomic import sha256_of
    from gift_core.replay.teach import hashes_of

    from .replay_source import replay_source
    from .unfinished import hashes_below

    row, source = stage.method(method), replay_source(stage, method, task)
    return {
        "start": hashes_below(stage.start_model(method, task)),
        "tasks": [sha256_of(folder / "task.json") for folder in source.tasks],
        "replay": hashes_of(row, source) if row.losses else {},
    }


def _provenance(stage: Stage, method: str, task: str, learning_rate_factor: float, start: str) -> dict[str, Any]:
    """What the model after `task` is made from. It contains no times and no machine names."""
    from gift_core.artifacts.atomic import sha256_of
    from gift_core.artifacts.teacher_source import SOURCE

    teacher = stage.layout.teacher(method, task) / SOURCE  # it has the hash of every file beside it
    return {
        "method": method,
        "task": task,
        "step": len(stage.learned_before(task)),
        "start_model": start,
        "task_json": sha256_of(stage.layout.task(task) / "task.json"),
        "teacher": sha256_of(teacher) if teacher.is_file() else None,
        "seed": stage.config.seed,
        "precision": stage.config.model.precision,
        "learning_rate_factor": learning_rate_factor,
        "training": stage.config.training.model_dump(mode="json"),
        "settings": stage.method(method).model_dump(mode="json", exclude_none=True),
    }


def _summary(losses: list[dict[str, float]]) -> str:
    if not losses:
        return ", nothing to learn"
    skipped = int(sum(row.get("skipped", 0) for row in losses))
    note = f", {skipped} skipped because gradients overflowed float16" if skipped else ""
    return f"{note}, task loss {losses[0]['task']:.2f} -> {losses[-1]['task']:.2f}"

"""finetune METHOD TASK: the model learns the task, with the method's replay, losses and consolidation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gift_core.errors import UserError

from .stage import PARAMS, ROOT, Method, Params, Root, Stage, Task, explained, open_stage

if TYPE_CHECKING:
    import torch

    from gift_core.clip.model import Clip
    from gift_core.methods import TrainingData
    from gift_core.replay.source import Replay, StepReplay
    from gift_core.training.encoders import EncoderStrategy
    from gift_core.training.loop import LossRow
    from gift_core.work.processes import Processes

MAX_FACTOR = 1000.0  # as in params.yaml
SNAPSHOT = "training.safetensors"


def _checked_factor(factor: float | None) -> float | None:
    if factor is not None and not 0 < factor <= MAX_FACTOR:  # typer's own bounds accept nan
        raise UserError(
            f"--learning-rate-factor {factor}: should be more than 0 and at most {MAX_FACTOR:g}. Change it."
        )
    return factor


HELP = "The factor on the method's learning rate. [default: that of the step in params.yaml]"
Factor = Annotated[float | None, typer.Option(metavar="NUMBER", help=HELP, callback=_checked_factor)]


def finetune(
    method: Method, task: Task, learning_rate_factor: Factor = None, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Fine-tune the model of the step before on the task, with the method's replay, losses and consolidation.

    Resumes an interrupted run.

    Example: gift finetune gift letters
    """
    with open_stage("finetune", params, root, method=method, task=task) as stage:
        from gift_core.clip.device import require_devices, resolve_device
        from gift_core.clip.model import save_clip
        from gift_core.provenance import environment
        from gift_core.tracking.tracked_run import require_tracker
        from gift_core.work.launcher import started
        from gift_core.work.processes import Processes
        from gift_core.work.snapshot import Snapshot

        from .tracked import tracked_training
        from .unfinished import threads_of, unfinished

        require_tracker()
        device, count = resolve_device(stage.config.run.device), stage.config.training.processes
        require_devices(device, count)
        if learning_rate_factor is None:
            learning_rate_factor = stage.step(task).learning_rate_factor
        step = _Step(stage, method, task, learning_rate_factor)
        loaded = step.load(Processes(0, count))
        provenance = _provenance(step, loaded.clip.weights_sha256)
        with (
            unfinished(stage, device, {**_read(step), **provenance}) as work,
            tracked_training(stage, provenance, loaded.data.iterations) as tracked,
            started(count if loaded.data.iterations else 1, device, _assist, (step, work / SNAPSHOT)) as processes,
        ):
            stage.phase = "training"
            snapshot = Snapshot(work / SNAPSHOT, stage.say)
            losses = step.train(loaded, processes, snapshot=snapshot, on_iteration=tracked.log_losses)
            stage.phase = "saving the model"
            recorded = environment(device) | {"processes": processes.count}
            if len(threads_of(work)) > 1:  # an interrupted run had another number
                recorded["threads"] = ", then ".join(map(str, threads_of(work)))
            save_clip(loaded.clip, stage.layout.model(method, task), provenance | {"environment": recorded}, losses)
        stage.say(f"{loaded.data.summary}, {loaded.data.iterations} iterations{_summary(losses)}")


@dataclass(frozen=True)
class _Loaded:
    """The start model, what the step learns from, and what it replays."""

    clip: Clip
    data: TrainingData
    replay: Replay


@dataclass(frozen=True)
class _Step:
    """The step that is trained, in each process of the training."""

    stage: Stage
    method: str
    task: str
    learning_rate_factor: float

    @cached_property
    def replay(self) -> StepReplay[Any]:
        """What the step replays."""
        from .replay_source import replay_of

        return replay_of(self.stage, self.method, self.task)

    def load(self, processes: Processes) -> _Loaded:
        """Loads what the step needs: the images that this process decodes."""
        from gift_core.clip.device import resolve_device
        from gift_core.methods import load_replay, load_training_data

        stage, row = self.stage, self.stage.method(self.method)
        stage.phase = "loading the model"
        clip = _load_start_model(stage, self.method, self.task, resolve_device(stage.config.run.device))
        training, names = stage.config.training, ("finetune", stage.config.seed)
        stage.phase = "reading the training images"
        tasks = self.replay.source.tasks
        data = load_training_data(row, clip, tasks, training=training, names=names, share=processes.share)
        stage.phase = "reading the replayed data"
        return _Loaded(clip, data, load_replay(row, clip, self.replay, share=processes.share))

    def train(self, loaded: _Loaded, processes: Processes, **options: Any) -> list[LossRow]:
        """Trains the model in place; `options` are those of gift_core.work.training.drive."""
        from gift_core.methods import build_method, load_fisher
        from gift_core.training.encoders import GradientCache
        from gift_core.training.loop import learning_rates, sampled, training_run
        from gift_core.work.processes import DataParallel
        from gift_core.work.training import drive

        clip, batches, total = loaded.clip, loaded.data.batches, loaded.data.iterations
        if not total:
            return []
        row, training = self.stage.method(self.method), self.stage.config.training
        method = build_method(row, fisher=load_fisher(row, self.replay.source.teacher))
        peak = (row.learning_rate or 0.0) * self.learning_rate_factor
        rates = learning_rates(total, warmup_iterations=training.warmup_iterations, peak=peak)
        encoders: EncoderStrategy = GradientCache(clip, training.micro_batch_size)
        if processes.count > 1:
            encoders = DataParallel(clip, encoders, processes)
        seed, prompts = self.stage.config.seed, batches.class_prompts
        with training_run(
            clip, prompts, method=method, training=training, rates=rates, seed=seed, encoders=encoders
        ) as run:
            drive(
                run,
                lambda first: sampled(batches, loaded.replay, range(first, total)),
                processes=processes,
                **options,
            )
        return run.rows


def _assist(processes: Processes, step: _Step, snapshot: Path) -> Callable[[], None]:
    """What every process but the first does. It writes nothing, and continues from the snapshot of the first."""
    from gift_core.work.snapshot import Snapshot

    with explained(step.stage):
        loaded = step.load(processes)

    def train() -> None:
        step.stage.phase = "training"
        with explained(step.stage):
            step.train(loaded, processes, snapshot=Snapshot(snapshot))

    return train


def _load_start_model(stage: Stage, method: str, task: str, device: torch.device) -> Clip:
    """The model from which the step starts. UserError if the method cannot train it or the disk is too full."""
    from gift_core.clip.disk_space import training_bytes
    from gift_core.clip.model import load_folder
    from gift_core.methods import build_method
    from gift_core.training.loop import require_trainable
    from gift_core.work.publishing import require_free_bytes

    training = stage.config.training
    clip = load_folder(stage.start_model(method, task), device=device, precision=stage.config.model.precision)
    trained = require_trainable(clip, training, build_method(stage.method(method)))
    needed = training_bytes(clip, iterations=training.iterations, trained=trained)
    require_free_bytes(stage.layout.model(method, task), needed, f"{stage.title}: the model and its checkpoint")
    return clip


def _read(step: _Step) -> dict[str, Any]:
    """The hashes of what the provenance does not name: the files beside the weights, and all tasks."""
    from gift_core.artifacts.contract import sha256_of

    from .unfinished import hashes_below

    return {
        "start": hashes_below(step.stage.start_model(step.method, step.task)),
        "tasks": [sha256_of(folder / "task.json") for folder in step.replay.source.tasks],
    }


def _provenance(step: _Step, start: str) -> dict[str, Any]:
    """What the model after the task is made from. It contains no times and no machine names."""
    from gift_core.artifacts.contract import sha256_of
    from gift_core.artifacts.teacher_source import SOURCE

    stage, method, task = step.stage, step.method, step.task
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
        "learning_rate_factor": step.learning_rate_factor,
        "training": stage.config.training.model_dump(mode="json"),
        "settings": stage.method(method).trained_settings,
    }


def _summary(losses: list[dict[str, float]]) -> str:
    if not losses:
        return ", nothing to learn"
    skipped = int(sum(row.get("skipped", 0) for row in losses))
    note = f", {skipped} skipped because gradients overflowed float16" if skipped else ""
    return f"{note}, task loss {losses[0]['task']:.2f} -> {losses[-1]['task']:.2f}"

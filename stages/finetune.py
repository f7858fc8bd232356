"""finetune METHOD TASK: the model learns the task, with the method's replay, losses and consolidation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from .stage import PARAMS, ROOT, Method, Params, Root, Stage, Task, explained, open_stage, option

if TYPE_CHECKING:
    from gift_core.clip.model import Clip
    from gift_core.method.methods import TrainingData
    from gift_core.method.replay.source import Replay
    from gift_core.method.training.encoders import EncoderStrategy
    from gift_core.method.training.loop import LossRow
    from gift_core.work.processes import Processes

SNAPSHOT = "training.safetensors"
HELP = "The factor on the method's learning rate. [default: that of the step in params.yaml]"
Factor = Annotated[float | None, option("NUMBER", HELP, min=0.001, max=1000)]  # as in params.yaml


def finetune(
    method: Method, task: Task, learning_rate_factor: Factor = None, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Fine-tune the model of the step before on the task, with the method's replay, losses and consolidation.

    Resumes an interrupted run.

    Example: gift finetune gift letters
    """
    with open_stage("finetune", params, root, method=method, task=task) as stage:
        from gift_core.artifacts.contract import sha256_of
        from gift_core.clip.device import resolve_device
        from gift_core.clip.model import save_clip
        from gift_core.provenance import environment
        from gift_core.tracking.tracked_run import describe, require_tracker, tracked_run

        from .unfinished import hashes_below, threads_of, unfinished

        require_tracker()
        factor = stage.step(task).learning_rate_factor if learning_rate_factor is None else learning_rate_factor
        step = Step(stage, method, task, (stage.method(method).learning_rate or 0.0) * factor)
        device, loaded = resolve_device(stage.config.run.device), step.load()
        provenance = _provenance(step, loaded.clip.weights_sha256, factor)
        read = {  # what the provenance does not name
            "start": hashes_below(stage.start_model(method, task)),
            "tasks": [sha256_of(folder / "task.json") for folder in stage.tasks_so_far(task)],
        }
        with (
            unfinished(stage, device, {**read, **provenance}) as work,
            tracked_run(
                lambda: describe(provenance, stage.config.experiment),
                stage.layout.root,
                iterations=loaded.data.iterations,
                say=stage.say,
            ) as tracked,
        ):
            losses = train_together(step, loaded, work / SNAPSHOT, on_iteration=tracked.log_losses)
            stage.phase = "saving the model"
            count = stage.config.training.processes if loaded.data.iterations else 1
            recorded = environment(device) | {"processes": count}
            if len(threads_of(work)) > 1:  # an interrupted run had another number
                recorded["threads"] = ", then ".join(map(str, threads_of(work)))
            save_clip(loaded.clip, stage.layout.model(method, task), provenance | {"environment": recorded}, losses)
        skipped = int(sum(row.get("skipped", 0) for row in losses))
        overflow = f", {skipped} skipped because gradients overflowed float16" if skipped else ""
        learned = f", task loss {losses[0]['task']:.2f} -> {losses[-1]['task']:.2f}" if losses else ", nothing to learn"
        stage.say(f"{loaded.data.summary}, {loaded.data.iterations} iterations{overflow}{learned}")


class Loaded(NamedTuple):
    """The start model, what the step learns from, and what it replays."""

    clip: Clip
    data: TrainingData
    replay: Replay


@dataclass(frozen=True)
class Step:
    """The step that is trained, in each process of the training, and the peak of its learning rate."""

    stage: Stage
    method: str
    task: str
    learning_rate: float

    def load(self) -> Loaded:
        """Loads the start model, the replay, and the training images.

        UserError if the devices do not suffice, the method cannot train the model, or the disk is too full.
        """
        from gift_core.clip.device import require_devices, resolve_device
        from gift_core.clip.disk_space import training_bytes
        from gift_core.clip.model import load_folder
        from gift_core.method.methods import build_method, load_replay, load_training_data
        from gift_core.method.training.loop import require_trainable
        from gift_core.work.publishing import require_free_bytes

        from .replay_source import replay_of

        stage, row, config = self.stage, self.stage.method(self.method), self.stage.config
        training = config.training
        device = resolve_device(config.run.device)
        require_devices(device, training.processes)
        stage.phase = "loading the model"
        start = stage.start_model(self.method, self.task)
        clip = load_folder(start, device=device, precision=config.model.precision)
        trained = require_trainable(clip, training, build_method(row))
        needed = training_bytes(clip, iterations=training.iterations, trained=trained)
        target = stage.layout.model(self.method, self.task)
        require_free_bytes(target, needed, f"{stage.title}: the model and its checkpoint")
        stage.phase = "reading the training images"
        tasks, names = stage.tasks_so_far(self.task), ("finetune", config.seed)
        data = load_training_data(row, clip, tasks, training=training, names=names)
        stage.phase = "reading the replayed data"
        replay = load_replay(row, clip, replay_of(stage, self.method, self.task))
        return Loaded(clip, data, replay)

    def train(self, loaded: Loaded, processes: Processes, **options: Any) -> list[LossRow]:
        """Trains the model in place; `options` are those of gift_core.work.training.drive."""
        from gift_core.method.methods import build_method, load_fisher
        from gift_core.method.training.encoders import GradientCache
        from gift_core.method.training.loop import learning_rates, sampled, training_run
        from gift_core.work.processes import DataParallel
        from gift_core.work.training import drive

        clip, batches, total = loaded.clip, loaded.data.batches, loaded.data.iterations
        if not total:
            return []
        stage, row, training = self.stage, self.stage.method(self.method), self.stage.config.training
        stage.phase = "training"
        method = build_method(row, fisher=load_fisher(row, stage.layout.teacher(self.method, self.task)))
        rates = learning_rates(total, warmup_iterations=training.warmup_iterations, peak=self.learning_rate)
        encoders: EncoderStrategy = GradientCache(clip, training.micro_batch_size)
        if processes.count > 1:
            encoders = DataParallel(clip, encoders, processes)
        seed, prompts = stage.config.seed, batches.class_prompts
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


def train_together(step: Step, loaded: Loaded, snapshot: Path, **options: Any) -> list[LossRow]:
    """Trains the model in place, together with the other processes of training.processes. Returns the losses.

    Continues from the file `snapshot` of an interrupted run. `options` are those of gift_core.work.training.drive.
    """
    from gift_core.work.launcher import started
    from gift_core.work.snapshot import Snapshot

    count = step.stage.config.training.processes if loaded.data.iterations else 1
    with started(count, loaded.clip.device, _assist, (step, snapshot)) as processes:
        return step.train(loaded, processes, snapshot=Snapshot(snapshot, step.stage.say), **options)


def _assist(processes: Processes, step: Step, snapshot: Path) -> Callable[[], None]:
    """What every process but the first does. It writes nothing, and continues from the snapshot of the first."""
    from gift_core.work.snapshot import Snapshot

    with explained(step.stage):
        loaded = step.load()

    def train() -> None:
        with explained(step.stage):
            step.train(loaded, processes, snapshot=Snapshot(snapshot))

    return train


def _provenance(step: Step, start: str, learning_rate_factor: float) -> dict[str, Any]:
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
        "learning_rate_factor": learning_rate_factor,
        "training": stage.config.training.model_dump(mode="json"),
        "settings": stage.method(method).trained_settings,
    }

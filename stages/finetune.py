"""finetune METHOD TASK: the model learns the task, with the method's replay, losses and consolidation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .open_stage import open_stage
from .options import PARAMS, ROOT, Method, Params, Root, Task, option
from .stage import Stage, explained, logged_to

if TYPE_CHECKING:
    from gift_core.clip.model import Clip
    from gift_core.config.method_options import MethodConfig
    from gift_core.driving.processes import Processes
    from gift_core.method.methods import TrainingData
    from gift_core.method.training.encoders import EncoderStrategy
    from gift_core.method.training.loop import LossRow

SNAPSHOT = "training.safetensors"
HELP = "The factor on the method's learning rate. [default: that of the step in params.yaml]"
Factor = Annotated[float | None, option("NUMBER", HELP, min=0.001, max=1000, default=...)]  # as in params.yaml


def finetune(
    method: Method, task: Task, learning_rate_factor: Factor = None, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Fine-tune the model of the step before on the task, with the method's replay, losses and consolidation.

    Resumes an interrupted run.

    Example: gift finetune gift letters
    """
    with open_stage("finetune", params, root, method=method, task=task) as stage:
        from gift_core.artifacts.contract import sha256_of
        from gift_core.artifacts.model_folder import hashes_below, noted_hash
        from gift_core.driving.processes import run_together
        from gift_core.provenance import environment
        from gift_core.torch_devices import require_devices, set_up_device
        from gift_core.tracking.tracked_run import require_tracker
        from gift_core.work.resumable import threads_of

        require_tracker()
        factor = stage.step.learning_rate_factor if learning_rate_factor is None else learning_rate_factor
        rate, device = (stage.row.learning_rate or 0.0) * factor, set_up_device(stage.config.run.device)
        count = 1 if stage.row.learns == "nothing" else stage.config.training.processes
        require_devices(device, count)
        provenance = _provenance(stage, noted_hash(stage.start_model), factor)
        read = {  # what the provenance does not name
            "start": hashes_below(stage.start_model),
            "tasks": [sha256_of(folder / "task.json") for folder in stage.task_folders],
        }
        with stage.resumable(device, {**read, **provenance}) as run:
            recorded = environment(device) | {"processes": count}
            if len(numbers := threads_of(run.folder)) > 1:  # an interrupted run had another one
                recorded["threads"] = ", then ".join(map(str, numbers))
            run_together(
                count, device, learn, (stage, rate, run.folder / SNAPSHOT, provenance | {"environment": recorded})
            )


def learn(
    processes: Processes, stage: Stage, learning_rate: float, snapshot: Path, provenance: dict[str, Any]
) -> Callable[[], None]:
    """Returns what trains the step in each of the processes. The first one saves the model."""
    from gift_core.clip.model import save_clip
    from gift_core.tracking.tracked_run import describe, tracked_run

    with logged_to(stage.say), explained(stage):  # one of several processes has not opened the stage
        clip, data, train = load_step(stage, learning_rate)

    @logged_to(stage.say)
    @explained(stage)
    def train_and_save() -> None:
        if not processes.is_first:
            train(processes=processes, snapshot=snapshot)
            return
        described = partial(describe, provenance, stage.config.experiment)
        with tracked_run(described, stage.layout.root, iterations=data.iterations) as tracked:
            losses = train(processes=processes, snapshot=snapshot, on_iteration=tracked.log_losses)
            stage.phase = "saving the model"
            save_clip(clip, stage.layout.model(stage.method, stage.task), provenance, losses)
        skipped = int(sum(row.get("skipped", 0) for row in losses))
        overflow = f", {skipped} skipped because gradients overflowed float16" if skipped else ""
        learned = f"; losses: {_first_to_last(losses, stage.row)}" if losses else ", nothing to learn"
        stage.say(f"{data.summary}, {data.iterations} iterations{overflow}{learned}")

    return train_and_save


def _first_to_last(losses: Sequence[LossRow], method: MethodConfig) -> str:
    """Returns "task 3.78 -> 2.04, align 1.31 -> 1.22": each loss of the method in the first and the last iteration.

    Of a cross-entropy to the teacher it is what is above the smallest value that it can have, as in the report.
    """
    from gift_core.artifacts.model_folder import ENTROPY

    names = ["task", *(name for name, _ in method.losses.items())]
    if method.consolidation.kind != "none":
        names.append("consolidation")

    def above_least(row: LossRow, name: str) -> float:
        return row.get(name, 0.0) - row.get(f"{name}{ENTROPY}", 0.0)

    first, last = losses[0], losses[-1]
    return ", ".join(f"{name} {above_least(first, name):.3g} -> {above_least(last, name):.3g}" for name in names)


def load_step(stage: Stage, learning_rate: float) -> tuple[Clip, TrainingData, Callable[..., list[LossRow]]]:
    """Returns the start model, what the step learns from, and the function that trains the model in place.

    That function takes the options of gift_core.driving.training.drive, and returns the losses. `learning_rate` is the
    peak. UserError if the method cannot train the model.
    """
    from gift_core.clip.model import load_folder
    from gift_core.driving.processes import ALONE, DataParallel
    from gift_core.driving.training import drive
    from gift_core.method.loaded_code import require_working
    from gift_core.method.methods import build_method, load_fisher, load_replay, load_training_data
    from gift_core.method.replay.teach import replay_of
    from gift_core.method.training.encoders import GradientCache
    from gift_core.method.training.loop import learning_rates, require_trainable, sampled, training_run
    from gift_core.torch_devices import set_up_device

    config, row = stage.config, stage.row
    training, root = config.training, stage.layout.root
    device = set_up_device(config.run.device)
    require_working(f"methods.{stage.method}", row, root)
    method = build_method(row, root=root)
    stage.phase = "loading the model"
    clip = load_folder(stage.start_model, device=device, precision=config.model.precision)
    require_trainable(clip, training, method)
    stage.phase = "reading the training images"
    data = load_training_data(row, clip, stage.task_folders, training=training, names=("finetune", config.seed))
    stage.phase = "reading the replayed data"
    replay = load_replay(method, clip, replay_of(config, stage.layout, stage.method, stage.task))
    batches, total = data.batches, data.iterations

    def train(*, processes: Processes = ALONE, **options: Any) -> list[LossRow]:
        if not total:
            return []
        stage.phase = "training"
        fisher = load_fisher(row, stage.layout.teacher(stage.method, stage.task))
        built = build_method(row, fisher=fisher, root=root)
        rates = learning_rates(total, warmup_iterations=training.warmup_iterations, peak=learning_rate)
        encoders: EncoderStrategy = GradientCache(clip, training.micro_batch_size)
        if processes.count > 1:
            encoders = DataParallel(clip, encoders, processes)
        prompts, seed = batches.class_prompts, config.seed
        with training_run(
            clip, prompts, method=built, training=training, rates=rates, seed=seed, encoders=encoders
        ) as run:
            drive(run, lambda first: sampled(batches, replay, range(first, total)), processes=processes, **options)
        return run.rows

    return clip, data, train


def _provenance(stage: Stage, start: str, learning_rate_factor: float) -> dict[str, Any]:
    """What the model after the task is made from. It contains no times and no machine names."""
    from gift_core.artifacts.contract import sha256_of
    from gift_core.artifacts.teacher_files import SOURCE
    from gift_core.code.own_files import own_files
    from gift_core.config.own_code import files_of

    teacher = stage.layout.teacher(stage.method, stage.task) / SOURCE  # it has the hash of every file beside it
    own_code = own_files(stage.layout.root, files_of(stage.config, [stage.method]))
    return {
        "method": stage.method,
        "task": stage.task,
        "step": len(stage.tasks) - 1,
        "start_model": start,
        "task_json": sha256_of(stage.layout.task(stage.task) / "task.json"),
        "teacher": sha256_of(teacher) if teacher.is_file() else None,
        "seed": stage.config.seed,
        "precision": stage.config.model.precision,
        "learning_rate_factor": learning_rate_factor,
        "training": stage.config.training.model_dump(mode="json"),
        "settings": stage.row.settings_of("finetune"),
        **({"own_code": own_code} if own_code else {}),
    }

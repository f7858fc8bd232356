"""teach METHOD TASK: the features of all replayed data by the teacher, computed once."""

from __future__ import annotations

from .open_stage import open_stage
from .options import PARAMS, ROOT, Method, Params, Root, Task
from .stage import Stage


def teach(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Encode the replayed data with the teacher, and estimate Fisher diagonals if the method needs them.

    Resumes an interrupted run.

    Example: gift teach gift letters
    """
    with open_stage("teach", params, root, method=method, task=task) as stage:
        stage.say(encode_replay(stage))


def encode_replay(stage: Stage) -> str:
    """Writes what the teacher of the step gives, and returns a sentence about it. Resumes an interrupted run."""
    from gift_core.artifacts.teacher_files import write_source
    from gift_core.work.publishing import build_folder

    options = stage.row.replay
    if options.images == "none":  # a constant file: nothing behind it goes stale when the synthetic images change
        with build_folder(stage.layout.teacher(stage.method, stage.task)) as folder:
            write_source(folder, replay="none", read={})
        return "no replay"
    from gift_core.artifacts.model_folder import hashes_below
    from gift_core.method.replay.source import load_teacher
    from gift_core.method.replay.teach import replay_of, write_teacher_folder
    from gift_core.torch_devices import set_up_device

    stage.phase = "loading the teacher"
    previous, initial = stage.start_model, stage.layout.pretrained()
    device = set_up_device(stage.config.run.device)
    precision = stage.config.model.precision
    teacher = load_teacher(options, previous=previous, initial=initial, device=device, precision=precision)
    replay = replay_of(stage.config, stage.layout, stage.method, stage.task)
    source, sampling = replay.source, replay.sampling
    stage.phase = "encoding with the teacher"
    read = replay.hashes()
    inputs = {
        "teacher": [teacher.model, hashes_below(previous), hashes_below(initial)],
        "replay": options.model_dump(mode="json"),
        "read": read,
        "before": hashes_below(source.teacher_before),
        "settings": [sampling.batch_size, sampling.encode_batch_size, sampling.names],
    }
    with stage.resumable(device, inputs) as run, build_folder(source.teacher) as folder:
        return write_teacher_folder(teacher, replay, folder, read=read, run=run)

"""Training runs of `gift search`: the training of the stage finetune on a task without its validation part.

What they write is in a work folder. DVC sees none of them, and no test image is read.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from gift_core.artifacts.contract import parse, sha256_of
from gift_core.artifacts.model_folder import hashes_below, model_hash
from gift_core.artifacts.shards import iterate_pairs
from gift_core.artifacts.tars import image_extension
from gift_core.artifacts.task import PAIRS, TaskInfo, write_task
from gift_core.artifacts.teacher_files import SOURCE, read_source
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import save_clip
from gift_core.clip.test_sets import TestSet
from gift_core.code.own_files import own_files
from gift_core.computation import State
from gift_core.config.checks import check_lengths
from gift_core.config.experiment import Config
from gift_core.config.method_options import READ_BY
from gift_core.config.own_code import files_of
from gift_core.datasets.ingest import validation_images
from gift_core.driving.processes import Processes, run_together
from gift_core.driving.searches import MOST, RateSearch, Trial, hold_out, measure, sample_training_images
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.method.replay.teach import replay_of
from gift_core.progress import progress
from gift_core.torch_devices import require_devices, set_up_device
from gift_core.work.resumable import read_state, write_state

from ..finetune import load_step
from ..stage import Stage, explained, logged_to
from ..teach import encode_replay

REPLAYED = "replayed pairs"  # measured where there are no other tasks; a task's name has no space


@dataclass(frozen=True)
class TrialLayout(Layout):
    """The project, but the task that is tried, what its teacher gives, and unfinished work are in `folder`."""

    folder: Path
    tried: str

    def task(self, task: str) -> Path:
        return self.folder / "task" / task if task == self.tried else super().task(task)

    def teacher(self, method: str, task: str) -> Path:
        return self.folder / "teacher" if task == self.tried else super().teacher(method, task)

    def work(self, stage: str, key: str) -> Path:
        return self.folder / "work" / stage / key


def with_iterations(stage: Stage, iterations: int) -> Config:
    """Returns the experiment with other training.iterations; the warm-up keeps its share.

    UserError if the method's row does not fit them.
    """
    training = stage.config.training
    for key, fault in check_lengths(f"methods.{stage.method}", stage.row, iterations):
        raise UserError(f"gift search --iterations {iterations}: params.yaml: {key}: {fault}")
    warmup = training.warmup_iterations * iterations // training.iterations
    shorter = training.model_copy(update={"iterations": iterations, "warmup_iterations": warmup})
    return stage.config.model_copy(update={"training": shorter})


def run_trials(stage: Stage, rates: Sequence[float]) -> RateSearch:
    """Trains the step at each rate and measures the models. Continues an interrupted search, whatever its rates were.

    UserError if no rate works.
    """
    config, layout = stage.config, stage.layout
    start, task = stage.start_model, stage.task
    device = set_up_device(config.run.device)
    budget = CacheBudget()
    require_devices(device, config.training.processes)
    names = (step.task for step in config.sequence)
    others = [name for name in names if name != task and (layout.task(name) / "task.json").is_file()]
    inputs = {  # what decides the result of a trial besides its rate
        "row": stage.row.model_dump(mode="json", exclude={"learning_rate", *READ_BY}),
        "own_code": own_files(layout.root, files_of(config, [stage.method])),
        "settings": config.model_dump(mode="json", include={"seed", "ingest", "training", "evaluation"}),
        "task": config.tasks[task].model_dump(mode="json"),
        "tasks": {name: sha256_of(layout.task(name) / "task.json") for name in [task, *others]},
        "start": [model_hash(start), hashes_below(start)],
        "teacher": hashes_below(layout.teacher(stage.method, task)),
    }
    with stage.resumable(device, inputs) as run:
        work = run.folder
        trial = _open_trial(stage, work)
        folders = [trial.layout.task(task), *_other_sets(stage, others, work / "measured")]
        sets = [TestSet(folder, batch_size=config.evaluation.batch_size, cache_budget=budget) for folder in folders]
        scores = partial(measure, sets=sets, device=device, precision=config.model.precision)
        before = scores(start)
        trials = list[Trial]()
        failed = dict[float, str]()
        for rate in progress(rates, len(rates), "rates"):
            finished = work / f"rate-{rate!r}.safetensors"
            snapshot = work / f"rate-{rate!r}.training.safetensors"
            model = work / "model"
            try:
                state = read_state(finished)
                if state is None:
                    begun = time.monotonic()
                    run_together(config.training.processes, device, learn, (trial, rate, snapshot, model))
                    seconds = round(time.monotonic() - begun, 1)
                    snapshot.unlink(missing_ok=True)
                    state = State({}, asdict(Trial(rate, scores(model), seconds)))
                    write_state(finished, state)
                trials.append(parse(Trial, json.dumps(state.note), finished, "search"))
            except UserError as error:  # such as losses that are not finite
                failed[rate] = str(error)
        if not trials:
            raise UserError(failed[rates[0]])
    metric = "Recall@1" if sets[0].task.kind == PAIRS else "accuracy"
    return RateSearch(task, before, trials, failed, metric)


def learn(processes: Processes, trial: Stage, learning_rate: float, snapshot: Path, model: Path) -> Callable[[], None]:
    """Returns what trains the trial in each of the processes. The first one saves the model."""
    with logged_to(trial.say), explained(trial):
        clip, _, train = load_step(trial, learning_rate)

    @explained(trial)
    def train_and_save() -> None:
        with redirect_stdout(sys.stderr), logged_to(trial.say):  # as in search, which a new process does not know
            losses = train(processes=processes, snapshot=snapshot)
        if processes.is_first:
            save_clip(clip, model, {}, losses)

    return train_and_save


def _open_trial(stage: Stage, work: Path) -> Stage:
    """Writes the task with its validation part, and what the teacher gives, where it has read the task's own images."""
    layout, config = stage.layout, stage.config
    task = stage.task
    trial = replace(stage, stage="finetune", layout=TrialLayout(layout.root, work, task))
    task_folder = trial.layout.task(task)
    if not task_folder.exists():
        shard, row = config.ingest.images_per_shard, config.tasks[task]
        images = validation_images(task, row, stored=config.ingest, seed=config.seed, root=layout.root)
        hold_out(layout.task(task), task_folder, seed=config.seed, images_per_shard=shard, validation=images)
    taught, teacher = layout.teacher(stage.method, task), work / "teacher"
    if not teacher.exists():
        replay = replay_of(config, trial.layout, stage.method, task)
        if (taught / SOURCE).is_file() and read_source(taught).read == replay.hashes():
            teacher.symlink_to(taught.absolute())
        else:
            teaching = replace(trial, stage="teach")
            with logged_to(teaching.say):
                encode_replay(teaching)
    return trial


def _other_sets(stage: Stage, others: Sequence[str], folder: Path) -> list[Path]:
    """Folders of tasks whose test images are training images of the other tasks, or else the replayed pairs."""
    layout = stage.layout
    for name in others:
        if not (folder / name).exists():
            sample_training_images(layout.task(name), folder / name, seed=stage.config.seed)
    if others:
        return [folder / name for name in others]
    pairs = list(islice(iterate_pairs(layout.shards(stage.task)), MOST))
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    if len(prompts) < 2:
        return []
    images = [(pair.image, image_extension(pair.image), prompts.index(pair.prompt)) for pair in pairs]
    info = TaskInfo(REPLAYED, tuple(prompts), ("{}",), "synthesize")
    write_task(folder / REPLAYED, info, [], images, images_per_shard=MOST)
    return [folder / REPLAYED]

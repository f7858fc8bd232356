"""Training runs of `gift search`, in a work folder that looks like a project. DVC sees none of them.

The work folder has links to what the step reads, and a task of its own: the training images and the validation part. No
test image is read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from gift_core.artifacts.contract import read, sha256_of, write_json
from gift_core.artifacts.model_folder import model_hash
from gift_core.artifacts.shards import iterate_pairs
from gift_core.artifacts.tars import image_extension
from gift_core.artifacts.task import PAIRS, TaskInfo, write_task
from gift_core.artifacts.teacher_source import read_source
from gift_core.clip.device import resolve_device
from gift_core.clip.images import CacheBudget
from gift_core.clip.test_set import TestSet
from gift_core.config.loading import parse_config
from gift_core.datasets.ingest import validation_images
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.progress import progress
from gift_core.report.accuracies import Score
from gift_core.report.rate_search import RateSearch, Scores, Trial, hold_out, measure, sample_training_images
from gift_core.tracking.tracked_run import VARIABLE
from gift_core.untrusted import parse_yaml

from .finetune import finetune
from .replay_source import replay_of
from .stage import Stage
from .teach import teach
from .unfinished import hashes_below, unfinished

MOST = 500  # images of each other task that are measured
REPLAYED = "replayed pairs"  # measured where there are no other tasks; a task's name has no space
DATA = ("0_raw", "2_prompts", "3_shards")  # read as they are
LINKED = ("1_tasks", "4_teachers/{method}", "5_models/{method}")  # folders with an entry for each task


@dataclass(frozen=True)
class Step:
    """The step that is tried: `params` is the text of params.yaml with one method, and the sequence up to the task."""

    stage: Stage
    method: str
    task: str
    params: str

    def at(self, rate: float) -> str:
        """Returns the params with this learning rate."""
        values = parse_yaml(self.params)
        values["methods"][self.method]["learning_rate"] = rate
        return yaml.safe_dump(values, sort_keys=False)


def open_step(stage: Stage, method: str, task: str, text: str, iterations: int) -> Step:
    """Returns the step with another number of iterations; the warm-up keeps its share. UserError if they do not fit."""
    values: dict[str, Any] = parse_yaml(text)
    training = values["training"]
    training["warmup_iterations"] = training["warmup_iterations"] * iterations // training["iterations"]
    training["iterations"] = iterations
    values["run"]["methods"] = [method]
    values["methods"] = {method: values["methods"][method]}
    values["sequence"] = values["sequence"][: stage.config.position(task) + 1]
    params = yaml.safe_dump(values, sort_keys=False)
    parse_config(params, "params.yaml")
    return Step(stage, method, task, params)


def run_trials(step: Step, rates: Sequence[float]) -> RateSearch:
    """Trains the step at each rate and measures the models. Continues an interrupted search, whatever its rates were.

    UserError if no rate works.
    """
    stage, settings = step.stage, step.stage.config
    device, budget = resolve_device(settings.run.device), CacheBudget()
    with unfinished(stage, device, _inputs(step)) as work, _untracked():
        _link_inputs(step, Layout(work))
        folders = [Layout(work).task(step.task), *_other_sets(step, work / "measured")]
        sets = [TestSet(each, batch_size=settings.evaluation.batch_size, cache_budget=budget) for each in folders]
        scores = partial(measure, sets=sets, device=device, precision=settings.model.precision)
        start = _noted(work / "start.json", lambda: Trial(0.0, scores(stage.start_model(step.method, step.task)), 0.0))
        trials, failed = [], dict[float, str]()
        for rate in progress(rates, len(rates), "rates"):
            try:
                trials.append(_noted(work / f"rate-{rate!r}.json", partial(_trial, step, work, rate, scores)))
            except UserError as error:  # such as losses that are not finite
                failed[rate] = str(error)
        if not trials:
            raise UserError(failed[rates[0]])
    metric = "Recall@1" if sets[0].task.kind == PAIRS else "accuracy"
    return RateSearch(step.task, start.scores, trials, failed, metric)


def _trial(step: Step, work: Path, rate: float, scores: Callable[[Path], Scores]) -> Trial:
    """Trains a model at the rate, measures it and removes it."""
    params, started = work / "params.yaml", time.monotonic()
    params.write_text(step.at(rate), encoding="utf-8")
    with _silent():
        finetune(step.method, step.task, params=params, root=work)
    seconds = time.monotonic() - started
    model = Layout(work).model(step.method, step.task)
    trial = Trial(rate, scores(model), round(seconds, 1))
    shutil.rmtree(model)
    return trial


def _inputs(step: Step) -> dict[str, Any]:
    """What decides the result of a trial besides its rate."""
    stage, layout = step.stage, step.stage.layout
    start = stage.start_model(step.method, step.task)
    tasks = {task: sha256_of(layout.task(task) / "task.json") for task in [step.task, *_others(step)]}
    teacher = hashes_below(layout.teacher(step.method, step.task))
    return {
        "params": step.at(1.0),
        "tasks": tasks,
        "start": [model_hash(start), hashes_below(start)],
        "teacher": teacher,
    }


def _others(step: Step) -> list[str]:
    """The other tasks of the sequence that are ingested, learned or not."""
    names = [other.task for other in step.stage.config.sequence if other.task != step.task]
    return [name for name in names if (step.stage.layout.task(name) / "task.json").is_file()]


def _link_inputs(step: Step, trial: Layout) -> None:
    """Makes the work folder a project before the step: links, the task without its validation part, the teacher."""
    layout, config = step.stage.layout, step.stage.config
    data, project = trial.root / "data", (layout.root / "data").resolve()
    earlier = step.stage.learned_before(step.task)
    names = [*DATA, "4_teachers/pretrained", "5_models/pretrained", f"4_teachers/{step.method}/{step.task}"]
    names += [f"{folder.format(method=step.method)}/{task}" for folder in LINKED for task in earlier]
    for name in names:
        _link(project / name, data / name)
    if not trial.task(step.task).exists():
        shard = config.ingest.images_per_shard
        row, stored, seed = config.tasks[step.task], config.ingest, config.seed
        own = validation_images(step.task, row, stored=stored, seed=seed, root=layout.root)
        hold_out(layout.task(step.task), trial.task(step.task), seed=seed, images_per_shard=shard, validation=own)
    _require_teacher(step, trial)


def _link(target: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not os.path.lexists(link):
        link.symlink_to(target)


def _require_teacher(step: Step, trial: Layout) -> None:
    """Runs the stage teach again where it has read the task's own images, of which there are fewer now."""
    stage = Stage("search", step.stage.name, parse_config(step.params, "params.yaml"), trial)
    replay = replay_of(stage, step.method, step.task)
    if read_source(replay.source.teacher).read != replay.hashes():
        folder, params = trial.teacher(step.method, step.task), trial.root / "params.yaml"
        folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)
        params.write_text(step.params, encoding="utf-8")
        with _silent():
            teach(step.method, step.task, params=params, root=trial.root)


def _other_sets(step: Step, folder: Path) -> list[Path]:
    """Folders of tasks whose test images are training images of the other tasks, or else the replayed pairs."""
    layout, seed, others = step.stage.layout, step.stage.config.seed, _others(step)
    for name in others:
        if not (folder / name).exists():
            sample_training_images(layout.task(name), folder / name, most=MOST, seed=seed)
    if others:
        return [folder / name for name in others]
    pairs = list(islice(iterate_pairs(layout.shards(step.task)), MOST))
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    if len(prompts) < 2:
        return []
    images = [(pair.image, image_extension(pair.image), prompts.index(pair.prompt)) for pair in pairs]
    write_task(
        folder / REPLAYED, TaskInfo(REPLAYED, tuple(prompts), ("{}",), "synthesize"), [], images, images_per_shard=MOST
    )
    return [folder / REPLAYED]


def _noted(path: Path, run: Callable[[], Trial]) -> Trial:
    """Returns the trial that the file has, or runs it and writes the file."""
    if path.is_file():
        noted = read(dict[str, Any], path, "search")
        scores = {name: Score(*numbers) for name, numbers in noted["scores"].items()}
        return Trial(noted["rate"], scores, noted["seconds"])
    trial = run()
    numbers = {name: [score.correct, score.images] for name, score in trial.scores.items()}
    write_json(path, {"rate": trial.rate, "scores": numbers, "seconds": trial.seconds})
    return trial


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Within the block nothing is printed on stdout: the table of the search is the result."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _untracked() -> Iterator[None]:
    """Within the block no experiment tracker hears of a training."""
    before = os.environ.pop(VARIABLE, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VARIABLE] = before

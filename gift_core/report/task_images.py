"""A few training images of each task, and beside them the synthetic images that stand for the task in later steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.shards import describe_shards, missing_tars
from gift_core.artifacts.task import STAGE, StoredImage, TaskInfo, describe_task, index_tars
from gift_core.layout import Layout
from gift_core.report.thumbnails import Thumbnail, a_few, evenly_spaced, pair_thumbnails, thumbnail

MAX_TASKS = 12
MAX_TARS = 6  # of a task are looked at, so that the time does not grow with the data set
CLASSES = 6
IMAGES_PER_CLASS = 2
COMPARED_CLASSES = 3

Candidates = Mapping[str, Sequence[StoredImage]]  # training images by the name of their class
Located = tuple[str, int]  # a step and the prompt_id of one of its pairs


@dataclass(frozen=True)
class ClassImages:
    """A class and a few of its training images."""

    name: str
    images: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class TaskImages:
    """A task: its position from 1, its numbers of classes and training images, and a few classes.

    A task of pairs has `texts`, the number of its captions, and a few of them in place of classes.
    """

    position: int
    task: str
    class_count: int
    image_count: int
    classes: tuple[ClassImages, ...]
    texts: int = 0


@dataclass(frozen=True)
class ComparedClass:
    """A class as it is and as the generator imagines it; the text of a synthetic image is its prompt."""

    name: str
    real: tuple[Thumbnail, ...]
    synthetic: tuple[Thumbnail, ...]

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts of the synthetic images, each once."""
        return tuple(dict.fromkeys(image.text for image in self.synthetic))


@dataclass(frozen=True)
class ComparedTask:
    """A task whose classes later steps replay, and its compared classes."""

    position: int
    task: str
    classes: tuple[ComparedClass, ...]


@dataclass(frozen=True)
class TaskPictures:
    """Sample images of tasks, and real beside synthetic images.

    `missing`: tasks whose training images are not on this machine. `missing_pairs`: steps whose pairs or prompts are
    not. `shown` of all tasks are in `samples` and `missing`.
    """

    samples: tuple[TaskImages, ...]
    compared: tuple[ComparedTask, ...]
    missing: tuple[str, ...]
    missing_pairs: tuple[str, ...]

    @property
    def shown(self) -> int:
        """The number of tasks that were looked at."""
        return len(self.samples) + len(self.missing)


def read_task_pictures(layout: Layout, tasks: tuple[str, ...], *, replays_pairs: bool) -> TaskPictures:
    """The pictures of the tasks, or of MAX_TASKS of them at even distances.

    With `replays_pairs` also the real and synthetic images of tasks that later steps replay. What is not on this
    machine is named in the result. ContractError for damaged tars.
    """
    samples, compared, missing = [], [], []
    pairs, missing_pairs = _located_pairs(layout, tasks) if replays_pairs else ({}, [])
    for position in evenly_spaced(len(tasks), MAX_TASKS):
        task = tasks[position]
        info = describe_task(layout.task(task))
        candidates = _candidates(layout, info)
        if not candidates:
            missing.append(task)
            continue
        classes = tuple(
            ClassImages(name, _real(layout, info, name, candidates)) for name in a_few(list(candidates), CLASSES)
        )
        texts = sum(info.captions.values())
        samples.append(TaskImages(position + 1, task, len(info.class_names), info.counts["train"], classes, texts))
        both = [name for name in candidates if name in pairs.get(task, {})]
        if both:
            shown = (_compared(layout, info, name, candidates, pairs[task]) for name in a_few(both, COMPARED_CLASSES))
            compared.append(ComparedTask(position + 1, task, tuple(shown)))
    return TaskPictures(tuple(samples), tuple(compared), tuple(missing), tuple(missing_pairs))


def _candidates(layout: Layout, info: TaskInfo) -> Candidates:
    """Training images of a few tars, in the order of the classes. Empty if a tar of them is not on this machine."""
    folder = layout.task(info.name)
    names = a_few(info.shards("train"), MAX_TARS)
    if not all((folder / name).is_file() for name in names):
        return {}
    found: dict[int, list[StoredImage]] = defaultdict(list)
    for image in index_tars(folder, info, names):
        if image.label >= 0:
            found[image.label].append(image)
    return {info.class_names[label]: found[label] for label in sorted(found)}


def _real(layout: Layout, info: TaskInfo, name: str, candidates: Candidates) -> tuple[Thumbnail, ...]:
    folder = layout.task(info.name)
    images = candidates[name][:IMAGES_PER_CLASS]
    return tuple(thumbnail(name, image.read(), file=folder, stage=STAGE) for image in images)


def _compared(
    layout: Layout, info: TaskInfo, name: str, candidates: Candidates, pairs: Mapping[str, Sequence[Located]]
) -> ComparedClass:
    synthetic = [
        pair_thumbnails(layout.shards(step), [prompt_id])[0] for step, prompt_id in pairs[name][:IMAGES_PER_CLASS]
    ]
    return ComparedClass(name, _real(layout, info, name, candidates), tuple(synthetic))


def _located_pairs(layout: Layout, tasks: tuple[str, ...]) -> tuple[dict[str, dict[str, list[Located]]], list[str]]:
    """{task: {class: pairs}} of the pairs that are on this machine, in the order of the steps; and the other steps."""
    found: dict[str, dict[str, list[Located]]] = {task: defaultdict(list) for task in tasks}
    missing = []
    for step in tasks[1:]:  # no task comes before the first step
        folder, prompts = layout.shards(step), layout.prompts(step)
        if not prompts.is_file() or missing_tars(folder, describe_shards(folder)):
            missing.append(step)
            continue
        rows = read_prompts(prompts)
        for prompt_id, task, name in zip(rows["prompt_id"], rows["source_task"], rows["class_name"], strict=True):
            of_class = found[task][name] if task in found else []
            if len(of_class) < IMAGES_PER_CLASS:
                of_class.append((step, int(prompt_id)))
    return found, missing

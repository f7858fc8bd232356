"""Tasks of image-caption pairs: Recall@1, 5, 10 and mean rank in both directions, and captions with retrieved images.

All comes from the predictions of the stage evaluate (artifacts.predictions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gift_core.artifacts.predictions import OF_CAPTION, OF_IMAGE, read_predictions
from gift_core.artifacts.task import STAGE, StoredImage, describe_task, images_at
from gift_core.layout import Layout
from gift_core.metrics import ZERO_SHOT
from gift_core.report.highlight import best_method, reading_order
from gift_core.report.kept_images import forgetful_method
from gift_core.report.run_record import RunRecord
from gift_core.report.thumbnails import Thumbnail, a_few, thumbnail

RECALLS = (1, 5, 10)
MAX_TASKS = 6
CAPTIONS_SHOWN = 4
BEFORE, LEARNED, AT_THE_END = "pre-trained", "right after the task", "at the end"


@dataclass(frozen=True)
class Recalls:
    """A model on a task of pairs, in percent: Recall@1, 5, 10 of the images for captions and of captions for images.

    The mean ranks count from 1.
    """

    method: str
    when: str
    images: tuple[float, ...]
    images_rank: float
    captions: tuple[float, ...]
    captions_rank: float

    @property
    def mean(self) -> float:
        """Recall@1, the mean of both directions: the task's number in the accuracy matrix."""
        return (self.images[0] + self.captions[0]) / 2


@dataclass(frozen=True)
class Retrieved:
    """The first images that a model retrieves for a caption, and whether each is the right one. `rank`: of that one."""

    method: str
    when: str
    rank: int
    images: tuple[tuple[Thumbnail, bool], ...]


@dataclass(frozen=True)
class CaptionExample:
    """A test caption, its own image, and what models retrieve for it."""

    caption: str
    image: Thumbnail
    found: tuple[Retrieved, ...]


@dataclass(frozen=True)
class RetrievalTask:
    """A task of pairs. No examples if its test images are not on this machine."""

    position: int
    task: str
    images: int
    captions: int
    rows: tuple[Recalls, ...]
    examples: tuple[CaptionExample, ...]


Tests = Mapping[tuple[str, str], pd.DataFrame]  # by method and time


def read_retrieval(layout: Layout, record: RunRecord) -> tuple[RetrievalTask, ...]:
    """The tasks of pairs of a run (MAX_TASKS at most), as far as the predictions are on this machine."""
    tasks = [task for task in record.tasks if task in record.pair_tasks]
    found = ((task, _tests(layout, record, task)) for task in a_few(tasks, MAX_TASKS))
    return tuple(_task(layout, record, task, tests) for task, tests in found if tests)


def recalls(test: pd.DataFrame, method: str = "", when: str = "") -> Recalls:
    """Returns the recalls of the rows of one test."""
    shares, means = {}, {}
    for query in (OF_CAPTION, OF_IMAGE):
        ranks = test.loc[test["query"] == query, "rank"]
        shares[query] = tuple(100 * float((ranks <= first).mean()) for first in RECALLS)
        means[query] = float(ranks.mean())
    return Recalls(method, when, shares[OF_CAPTION], means[OF_CAPTION], shares[OF_IMAGE], means[OF_IMAGE])


def _tests(layout: Layout, record: RunRecord, task: str) -> Tests:
    """The tests of the pre-trained model, and of each method after the task and at the end, in reading order."""
    tests: dict[tuple[str, str], pd.DataFrame] = {}
    own, last = record.tasks.index(task), len(record.tasks) - 1
    for method in reading_order(record, record.methods):
        times = {LEARNED: (own, task)} | ({AT_THE_END: (last, record.tasks[last])} if last > own else {})
        for when, (step, after) in times.items():
            if not layout.predictions(method, after).is_file():
                continue
            rows = read_predictions(layout.predictions(method, after))[0]
            rows = rows[rows["task"] == task]
            if when == LEARNED:
                tests.setdefault((ZERO_SHOT, BEFORE), rows[rows["step"] == -1])
            tests[method, when] = rows[rows["step"] == step]
    return tests


def _task(layout: Layout, record: RunRecord, task: str, tests: Tests) -> RetrievalTask:
    any_test = next(iter(tests.values()))
    counts = any_test["query"].value_counts()
    return RetrievalTask(
        position=record.tasks.index(task) + 1,
        task=task,
        images=int(counts[OF_IMAGE]),
        captions=int(counts[OF_CAPTION]),
        rows=tuple(recalls(test, method, when) for (method, when), test in tests.items()),
        examples=_examples(layout, record, task, tests),
    )


@dataclass(frozen=True)
class _Answers:
    """What a model retrieves for each test caption, by its position: the right image, its rank, the first images."""

    right: Mapping[int, int]
    ranks: Mapping[int, int]
    first: Mapping[int, Sequence[int]]


def _answers(test: pd.DataFrame) -> _Answers:
    rows = test[test["query"] == OF_CAPTION]
    captions = [int(caption) for caption in rows["image"]]
    right, ranks = ([int(each) for each in rows[name]] for name in ("label", "rank"))
    first = [[int(image) for image in images] for images in rows["retrieved"]]
    return _Answers(
        dict(zip(captions, right, strict=True)),
        dict(zip(captions, ranks, strict=True)),
        dict(zip(captions, first, strict=True)),
    )


def _examples(layout: Layout, record: RunRecord, task: str, tests: Tests) -> tuple[CaptionExample, ...]:
    """Captions by the pre-trained model, by the forgetful method, and by the best one, before and after."""
    info, folder = describe_task(layout.task(task)), layout.task(task)
    if not all((folder / name).is_file() for name in info.shards("test")):
        return ()
    compared = [ZERO_SHOT, forgetful_method(record), best_method(record)]
    shown = {key: _answers(test) for key, test in tests.items() if key[0] in compared}
    chosen = _chosen(list(shown.values()))
    wanted = {each.right[caption] for caption in chosen for each in shown.values()}
    wanted |= {image for caption in chosen for each in shown.values() for image in each.first[caption]}
    stored = images_at(folder, info, "test", wanted)
    pictures = {
        at: thumbnail(" | ".join(each.captions), each.read(), file=folder, stage=STAGE) for at, each in stored.items()
    }
    return tuple(_example(caption, shown, stored, pictures) for caption in chosen)


def _chosen(answers: Sequence[_Answers]) -> list[int]:
    """A few of the captions for which the models differ most in the rank of the right image, else of all."""
    most = max(RECALLS) + 1
    ranks = {caption: [min(each.ranks[caption], most) for each in answers] for caption in answers[0].ranks}
    spread = {caption: max(found) - min(found) for caption, found in ranks.items()}
    differing = sorted((caption for caption in spread if spread[caption]), key=lambda caption: -spread[caption])
    return sorted(a_few(differing[: 5 * CAPTIONS_SHOWN] or list(spread), CAPTIONS_SHOWN))


def _example(
    caption: int,
    shown: Mapping[tuple[str, str], _Answers],
    stored: Mapping[int, StoredImage],
    pictures: Mapping[int, Thumbnail],
) -> CaptionExample:
    right = next(iter(shown.values())).right
    own = right[caption]
    of_image = sorted(other for other, image in right.items() if image == own)
    found = tuple(
        Retrieved(
            method,
            when,
            each.ranks[caption],
            tuple((pictures[image], image == own) for image in each.first[caption]),
        )
        for (method, when), each in shown.items()
    )
    return CaptionExample(stored[own].captions[of_image.index(caption)], pictures[own], found)

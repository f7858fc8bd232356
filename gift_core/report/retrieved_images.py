"""Tasks of image-caption pairs: Recall@1, 5, 10 and mean rank in both directions, and captions with retrieved images.

All comes from the predictions of the stage evaluate (artifacts.predictions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from gift_core.artifacts.predictions import OF_CAPTION, OF_IMAGE, RECALLS, read_predictions, recalls
from gift_core.artifacts.task import STAGE, images_at
from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.highlight import baseline_method, best_method, reading_order
from gift_core.report.run_record import RunRecord, Section
from gift_core.report.thumbnails import a_few, thumbnail

MAX_TASKS = 6
CAPTIONS_SHOWN = 4
BEFORE, LEARNED, AT_THE_END = "pre-trained", "right after the task", "at the end"

Model = tuple[str, str]  # a method and a time
Tests = Mapping[Model, pd.DataFrame]


def retrieval(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the tasks of pairs (MAX_TASKS at most) whose predictions are on this machine."""
    tasks = []
    for task in a_few(record.pair_tasks, MAX_TASKS):
        if tests := _tests(record, task):
            counts = next(iter(tests.values()))["query"].value_counts()
            shown = {"task": task, "images": int(counts[OF_IMAGE]), "captions": int(counts[OF_CAPTION])}
            rows = {model: recalls(test) for model, test in tests.items()}
            tasks.append({**shown, "rows": rows, "examples": _examples(record, task, tests)})
    if tasks:
        yield Section("retrieval", "Retrieval", "retrieval.html.j2", {"tasks": tasks})


def _tests(record: RunRecord, task: str) -> Tests:
    """The tests of the pre-trained model, and of each method after the task and at the end, in reading order."""
    tests: dict[Model, pd.DataFrame] = {}
    own, last = record.tasks.index(task), len(record.tasks) - 1
    for method in reading_order(record, record.methods):
        for when, step in {LEARNED: own, **({AT_THE_END: last} if last > own else {})}.items():
            path = record.layout.predictions(method, record.tasks[step])
            if not path.is_file():
                continue
            rows = read_predictions(path)[0]
            rows = rows[rows["task"] == task]
            if when == LEARNED:
                tests.setdefault((ZERO_SHOT, BEFORE), rows[rows["step"] == -1])
            tests[method, when] = rows[rows["step"] == step]
    return tests


def _examples(record: RunRecord, task: str, tests: Tests) -> list[dict[str, Any]]:
    """Captions by the pre-trained model, by the baseline, and by the best one, before and after.

    Those for which the models differ most in the rank of the right image. None if its images are not on this machine.
    """
    info, folder = record.infos[task], record.layout.task(task)
    if not all((folder / name).is_file() for name in info.shards("test")):
        return []
    compared = [ZERO_SHOT, baseline_method(record), best_method(record)]
    shown = {  # by caption: label, the right image; rank, its rank; retrieved, the first images
        model: test[test["query"] == OF_CAPTION].set_index("image")
        for model, test in tests.items()
        if model[0] in compared
    }
    right = next(iter(shown.values()))["label"].astype(str).astype(int)
    ranks = pd.DataFrame({model: rows["rank"].clip(upper=max(RECALLS) + 1) for model, rows in shown.items()})
    spread = (ranks.max(axis=1) - ranks.min(axis=1)).loc[right.index]
    differing = spread[spread > 0].sort_values(ascending=False, kind="stable").index[: 5 * CAPTIONS_SHOWN]
    chosen = sorted(a_few(list(differing) or list(spread.index), CAPTIONS_SHOWN))
    first = {
        (model, at): [int(image) for image in rows["retrieved"][at]] for model, rows in shown.items() for at in chosen
    }
    wanted = {image for images in first.values() for image in images} | {int(right[at]) for at in chosen}
    stored = images_at(folder, info, "test", wanted)
    pictures = {
        at: thumbnail(" | ".join(each.captions), each.read(), file=folder, stage=STAGE) for at, each in stored.items()
    }
    return [
        {
            "caption": stored[right[at]].captions[list(right.index[right == right[at]].sort_values()).index(at)],
            "image": pictures[right[at]],
            "found": [
                (model, int(rows["rank"][at]), [(pictures[image], image == right[at]) for image in first[model, at]])
                for model, rows in shown.items()
            ],
        }
        for at in chosen
    ]

"""Images and captions with what the models made of them, from the predictions of the stage evaluate.

Test images that one method forgot and another one kept, the classes that are confused most at the end, and for tasks of
image-caption pairs Recall@1, 5, 10, the mean rank in both directions, and captions with the images retrieved.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from gift_core.artifacts.predictions import OF_CAPTION, OF_IMAGE, RECALLS, recalls
from gift_core.artifacts.task import CLASSES, STAGE, images_at
from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.paired import is_right, tests_of
from gift_core.report.pictures import thumbnail
from gift_core.report.run_record import MAX_TASKS, QUIET, RunRecord, Section, a_few

IMAGES_PER_TASK = 8
PAIRS_PER_METHOD = 4
MAX_RETRIEVAL_TASKS = 6
CAPTIONS_SHOWN = 4
BEFORE = "pre-trained"
LEARNED = "right after the task"
AT_THE_END = "at the end"
Model = tuple[str, str]  # a method and a time
Tests = Mapping[Model, pd.DataFrame]


def prediction_pictures(record: RunRecord) -> Iterator[Section]:
    """Yields what was forgotten and kept, and the confused classes. Of a long sequence, MAX_TASKS tasks are shown.

    Of many methods only the highlighted ones. ContractError if predictions are damaged.
    """
    if not record.methods:
        return
    methods = [name for name, style in record.styles.items() if style != QUIET]
    path = record.layout.predictions
    here = [method for method in methods if all(path(method, task).is_file() for task in record.tasks)]
    missing = [method for method in methods if method not in here]
    baseline, best = record.baseline_method, record.best_method
    if baseline is not None and best in here and baseline in here:
        kept = kept_tasks(record, baseline, best)
        absent = [task for task, of_task in kept.items() if of_task["kept"] and not of_task["images"]]
        shown = {"baseline": baseline, "best": best, "kept": kept, "missing": absent}
        if kept:
            yield Section("kept", "Forgotten and kept", "kept_images.html.j2", shown)
    confused = confused_tasks(record, here)
    if confused or missing:
        yield Section("confused", "Confused classes", "confused.html.j2", {"confused": confused, "missing": missing})


def answers_of(record: RunRecord, method: str, task: str, *, after: str | None = None) -> pd.DataFrame:
    """What the method's model after the step `after`, by default the last one, predicts on the images of `task`.

    Columns image (its position in the test set), label, predicted (classes by name), correct.
    """
    step = record.tasks.index(after or record.tasks[-1])
    rows = tests_of(record, method, task, step)[["image", "label", "predicted"]]
    return (
        rows.astype({"label": object, "predicted": object})
        .assign(correct=is_right(rows))
        .set_axis(rows["image"].to_list())
    )


def _with_classes(record: RunRecord) -> list[str]:
    """The tasks with classes. What is retrieved in the others has a section of its own."""
    return [task for task, info in record.infos.items() if info.kind == CLASSES]


def kept_tasks(record: RunRecord, baseline: str, best: str) -> dict[str, dict[str, Any]]:
    """The tasks but the last one, which nothing was learned after, and how many of their test images these are.

    learned: the baseline classified them correctly right after learning the task. forgotten: of these, it misclassifies
    them at the end. kept: of these, the best method classifies them correctly at the end. reverse: the best method had
    learned and has forgotten them, and the baseline has not. images: a few of the kept ones, each with what the
    baseline and the best method predict at the end; none if the test images are not on this machine.
    """
    tasks = {}
    for task in a_few([task for task in _with_classes(record) if task != record.tasks[-1]], MAX_TASKS):
        learned, had = (answers_of(record, method, task, after=task) for method in (baseline, best))
        forgot, kept = (answers_of(record, method, task) for method in (baseline, best))
        forgotten = learned.correct & ~forgot.correct
        folder = record.layout.task(task)
        info = record.infos[task]
        images = []
        # each step may have been tested on other images: what one of the tests lacks counts as not forgotten
        forgotten_here = forgotten.reindex(kept.index, fill_value=False)
        rows = kept.assign(baseline=forgot.predicted)[forgotten_here & kept.correct]
        if all((folder / name).is_file() for name in info.shards("test")):
            shown = rows.iloc[a_few(range(len(rows)), IMAGES_PER_TASK)]
            stored = images_at(folder, info, "test", map(int, shown.image))
            for position, row in zip(shown.image, shown.itertuples(), strict=True):
                picture = thumbnail(str(row.label), stored[position].read(), file=folder, stage=STAGE)
                images.append((picture, str(row.baseline), str(row.predicted)))
        reverse = int((had.correct & ~kept.correct & forgot.correct).sum())
        counts = {"learned": int(learned.correct.sum()), "forgotten": int(forgotten.sum())}
        tasks[task] = {**counts, "kept": len(rows), "reverse": reverse, "images": images}
    return tasks


def confused_tasks(record: RunRecord, methods: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """{task: {method: its errors at the end}}; {} without methods.

    errors: their number. total: that of the test images. pairs: the most frequent (right class, predicted class, the
    task of the predicted one or "" if it is the same, how often).
    """
    shown = _with_classes(record) if methods else []
    owners = {name: task for task in shown for name in record.infos[task].class_names}
    errors: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for task in a_few(shown, MAX_TASKS):
        others = {**owners, **dict.fromkeys(record.infos[task].class_names, "")}  # two tasks may share a name
        for method in methods:
            predicted = answers_of(record, method, task)
            wrong = predicted[~predicted.correct]
            counts = Counter(zip(wrong.label, wrong.predicted, strict=True))
            most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:PAIRS_PER_METHOD]
            pairs = [(label, chosen, others.get(chosen, ""), count) for (label, chosen), count in most]
            errors[task][method] = {"errors": len(wrong), "total": len(predicted), "pairs": pairs}
    return errors


def retrieval(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the tasks of pairs (MAX_RETRIEVAL_TASKS at most) whose predictions are on this machine."""
    tasks = []
    for task in a_few(record.pair_tasks, MAX_RETRIEVAL_TASKS):
        tests = _tests(record, task)
        if tests:
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
    for method in record.reading_order(record.methods):
        for when, step in {LEARNED: own, **({AT_THE_END: last} if last > own else {})}.items():
            if not record.layout.predictions(method, record.tasks[step]).is_file():
                continue
            if when == LEARNED:
                tests.setdefault((ZERO_SHOT, BEFORE), tests_of(record, method, task, step, of_zero_shot=True))
            tests[method, when] = tests_of(record, method, task, step)
    return tests


def _examples(record: RunRecord, task: str, tests: Tests) -> list[dict[str, Any]]:
    """Captions by the pre-trained model, by the baseline, and by the best one, before and after.

    Those for which the models differ most in the rank of the right image. None if its images are not on this machine.
    """
    info, folder = record.infos[task], record.layout.task(task)
    if not all((folder / name).is_file() for name in info.shards("test")):
        return []
    compared = [ZERO_SHOT, record.baseline_method, record.best_method]
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
    wanted = {int(right[at]) for at in chosen}
    for rows in shown.values():
        wanted |= {int(image) for at in chosen for image in rows["retrieved"][at]}
    stored = images_at(folder, info, "test", wanted)
    pictures = {
        position: thumbnail(" | ".join(image.captions), image.read(), file=folder, stage=STAGE)
        for position, image in stored.items()
    }
    examples = []
    for at in chosen:
        image = right[at]
        captions_of_image = list(right.index[right == image].sort_values())
        retrieved = []
        for model, rows in shown.items():
            first = [(pictures[int(other)], other == image) for other in rows["retrieved"][at]]
            retrieved.append((model, int(rows["rank"][at]), first))
        caption = stored[image].captions[captions_of_image.index(at)]
        examples.append({"caption": caption, "image": pictures[image], "retrieved": retrieved})
    return examples

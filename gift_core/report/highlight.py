"""The result in words: the headline about the best method and its baseline, and the sentences of summary.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gift_core.artifacts.report_json import SUMMARY_METRICS, rounded
from gift_core.config.method_options import MethodConfig
from gift_core.method.metrics import ZERO_SHOT, columns_by_task, is_within_intervals
from gift_core.mini.miniature import BENCHMARK
from gift_core.quantities import plural
from gift_core.report.labels import COLUMN_TITLES, number, probability
from gift_core.report.paired import in_all, paired_tests
from gift_core.report.run_record import RunRecord

PLAIN = "plain fine-tuning"
REPLAYED = {
    "synthetic": "replays generated images of what the model knew",
    "reference": "replays a fixed set of images with captions",
    "exemplars": "replays a few stored images of earlier tasks",
    "task": "is held to what it predicted before on the images of the new task",
}


class Sentence(NamedTuple):
    """A sentence about a metric, without its end, and what it compares that is within the noise."""

    metric: str
    text: str
    noise: str = ""

    @property
    def whole(self) -> str:
        """All of it, as `gift show` prints it."""
        return f"{self.text}{self.noise}."


def headline(record: RunRecord) -> tuple[str, str, list[str]]:
    """The result in two sentences, the second in a lighter color, and below them what is within the noise.

    With probes, the second is about them. They take the place of Transfer, which is measured only before a task is
    learned.
    """
    learned, *others = [*_learned(record), *_kept(record)]
    shown = [learned, *others[-1:]]
    first, second = f"{learned.text}.", "".join(f" {each.text}." for each in others[-1:])
    return (
        first,
        second,
        [f"{COLUMN_TITLES[each.metric]}: {each.noise.removeprefix('; ')}." for each in shown if each.noise],
    )


def _learned(record: RunRecord) -> list[Sentence]:
    """What the best method has learned, and what it has on tasks that it has not learned yet."""
    count = len(record.tasks)
    benchmark, among = record.miniature.of_benchmark, record.config.evaluation.protocol.among
    measured = f" mean accuracy on {plural(count, 'task')}{among}"
    if record.seen is not None:
        measured = f" accuracy on {plural(record.classes_seen[-1], 'class')}"
    if not record.methods:
        text = f"The zero-shot model has {number(record.scores[ZERO_SHOT]['last'])}%{measured}{benchmark}"
        return [Sentence("last", text)]
    if record.seen is not None:
        start = f"After {plural(count, 'step')}{benchmark}, "
        learned = _compared(record, "last", start, measured, and_zero_shot=True)
        return [learned, _compared(record, "avg", "Averaged over all steps, ")]
    start = f"After {plural(count, 'task')}{benchmark}, "
    learned = _compared(record, "last", start, f" mean accuracy{among}", and_zero_shot=count == 1)
    if count == 1:
        return [learned]
    return [learned, _compared(record, "transfer", "On tasks not trained yet, ", and_zero_shot=True)]


def _kept(record: RunRecord) -> list[Sentence]:
    """What is left of zero-shot on the tasks that no step learns. Empty without any."""
    if not (record.methods and record.probes):
        return []
    start = f"On {plural(len(record.probe_images), 'task')} that no step learns, "
    return [_compared(record, "probes", start, and_zero_shot=True)]


def name_in_text(record: RunRecord, method: str) -> str:
    """The name of the method within a sentence."""
    if method == ZERO_SHOT:
        return "the zero-shot model"
    is_plain = method in record.plain_methods and record.config.methods[method].label is None
    return PLAIN if is_plain else record.label(method)


def introduction(record: RunRecord) -> str:
    """What the methods of the headline are, for somebody who has read nothing else. Empty without any."""
    if not record.methods:
        return ""
    text = "A CLIP model learns one task after another."
    for method in filter(None, (record.best_method, record.baseline_method)):
        name = name_in_text(record, method)
        ways = ways_of(record.config.methods[method]) or ["does nothing against forgetting"]
        text += f" {PLAIN.capitalize() if name == PLAIN else name} {_enumerated(ways)}."
    return f"{text} The zero-shot model is CLIP before the first task."


def _enumerated(texts: Sequence[str]) -> str:
    """Returns `one`, `one, and two`, or `one, two, and three`."""
    *first, last = texts
    return ", ".join([*first, f"and {last}" if first else last])


def ways_of(row: MethodConfig) -> list[str]:
    """What a method does against forgetting, in words that need no other page. Empty for plain fine-tuning."""
    replays = row.replay.reads != "none"
    distills = any(name.startswith("distill") for name, _ in row.losses.items())
    ways = {
        "is trained on the data of all tasks so far": row.learns == "seen",
        "keeps a separate model for each task": row.keeps_every_model,
        REPLAYED.get(row.replay.images, "replays other data"): replays,
        "keeps its earlier answers about them": distills and row.replay.images != "task",
        "pulls the weights towards those before the task": row.consolidation.kind != "none",
        "averages the weights with earlier ones": bool(row.average or row.merge or row.release),
        "trains a part of the weights": row.trains is not None,
        "trains lower layers at lower rates": row.layer_decay is not None,
    }
    return [way for way, holds in ways.items() if holds]


def _compared(record: RunRecord, metric: str, start: str, of: str = "", *, and_zero_shot: bool = False) -> Sentence:
    """`<start>GIFT has 80.0% and plain fine-tuning has 60.0% (zero-shot model: 50.0%)`, and what is noise.

    The best method is compared with its baseline and the zero-shot model.
    """
    best = record.best_method
    baseline = record.baseline_method
    compared = []
    text = f"{start}{record.label(best)} has {number(record.scores[best][metric])}%{of}"
    if baseline is not None:
        text += f" and {name_in_text(record, baseline)} has {number(record.scores[baseline][metric])}%"
        compared.append(baseline)
    if and_zero_shot:
        text += f" (zero-shot model: {number(record.scores[ZERO_SHOT][metric])}%)"
        compared.append(ZERO_SHOT)
    return Sentence(metric, text, "".join(_noise(record, best, other, metric) for other in compared))


def _noise(record: RunRecord, method: str, other: str, metric: str) -> str:
    """`; the difference between GIFT and the zero-shot model is within the noise of 500 test images`, with the test.

    Empty if it is more than noise, if it is printed as 0.0, and if predictions are not on this machine.
    """
    scores, names = record.scores, f"{record.label(method)} and {name_in_text(record, other)}"
    difference = (scores[method][metric] or 0.0) - (scores[other][metric] or 0.0)
    if number(abs(difference)) == "0.0":
        return ""
    if metric == "probes":  # their single predictions are not stored
        accuracies, counts = by_task(record, method, metric)
        is_noise = is_within_intervals(accuracies, by_task(record, other, metric)[0], counts)
        images = sum(counts)
        test = "unpaired 95% interval"
    else:
        paired = in_all(paired_tests(record, method, other, metric))
        gained = -difference if metric == "forgetting" else difference
        images = paired.images
        is_noise = images > 0 and paired.is_noise(gained)
        test = f"exact McNemar test, {probability(paired.p)}"
    noise = f"the difference between {names} is within the noise of {plural(images, 'test image')}"
    return f"; {noise} ({test}, for this seed alone)" if is_noise else ""


def by_task(record: RunRecord, method: str, metric: str) -> tuple[list[float], list[int]]:
    """The accuracies of which the metric (last, transfer, probes) is the mean, and how many images each is of.

    A class-incremental metric counts as one, at the end.
    """
    if record.seen is not None and metric != "probes":
        return [record.scores[method][metric] or 0.0], [record.test_images[record.tasks[-1]]]
    if metric == "probes":
        accuracies = record.probes[method].iloc[-1]
    else:
        accuracies = columns_by_task(record.matrices[method].iloc[1:])[metric]
    images = {**record.test_images, **record.probe_images}
    return accuracies.tolist(), [images[str(task)] for task in accuracies.index]


def run_summary(record: RunRecord) -> dict[str, Any]:
    """The content of summary.json (gift_core.artifacts.report_json has the format)."""
    methods: dict[str, dict[str, Any]] = {}
    for method, row in record.metrics.items():
        values = {} if method in record.separate_models else row  # their other metrics mean nothing: None
        methods[method] = {key: values.get(name) for name, key in SUMMARY_METRICS.items()}
        methods[method]["by_task"] = accuracies_by_task(record, method)
        if method in record.config.methods and record.config.methods[method].label is not None:
            methods[method]["label"] = record.label(method)
        if "probes" in values:
            methods[method]["probes"] = values["probes"]
    published = record.published.benchmark.title if record.published else None
    return {
        "experiment": record.config.experiment,
        "benchmark": BENCHMARK if record.miniature.is_benchmark else published,
        "miniature_model": record.miniature.model,
        "note": record.miniature.note,
        "protocol": record.config.evaluation.protocol.name,
        "result": result_sentences(record),
        "best_method": record.best_method if record.methods else None,
        "tasks": list(record.tasks),
        "methods": methods,
    }


def result_sentences(record: RunRecord) -> list[str]:
    """What the run showed: what the baseline and the best method forgot, the headline, and what it kept of zero-shot.

    The headline alone for a single task, where nothing can be forgotten, and for a class-incremental run, which has no
    Forgetting.
    """
    learned = [sentence.whole for sentence in _learned(record)]
    first = [" ".join(learned)]
    if record.methods and record.seen is None and len(record.tasks) > 1:
        first = [_forgotten(record), *learned]
    return [*first, *(sentence.whole for sentence in _kept(record))]


def _forgotten(record: RunRecord) -> str:
    """`After 3 tasks, plain fine-tuning has lost 45.0 points of what it had learned and GIFT 4.0`, or it is noise."""
    baseline, best = record.baseline_method, record.best_method
    clauses, before = list[str](), ""
    for method in filter(None, (baseline, best)):
        name, lost = name_in_text(record, method), record.scores[method]["forgetting"] or 0.0
        amount, verb = number(abs(lost)), "lost" if lost > 0 else "gained"
        if amount == "0.0":
            clauses.append(f"{name} has lost nothing")
        elif verb == before:
            clauses.append(f"{name} {amount}")
        else:
            before = verb
            clauses.append(f"{name} has {verb} {amount} points {'of' if lost > 0 else 'on'} what it had learned")
    noise = _noise(record, best, baseline, "forgetting") if baseline else ""
    return f"After {plural(len(record.tasks), 'task')}{record.miniature.of_benchmark}, {' and '.join(clauses)}{noise}."


def accuracies_by_task(record: RunRecord, method: str) -> dict[str, dict[str, float | None]]:
    """The accuracies of the method on each task, before it was learned, right after, and at the end.

    The accuracy before is that of the model from which the step starts. A separate model for each task has none at the
    end. In a class-incremental run, each step has the accuracies of the zero-shot model and of the method on all
    classes seen so far.
    """
    columns = record.config.evaluation.protocol.by_task
    restarted = method in record.methods_where(lambda row: row.start == "pretrained")
    by_task = {}
    for step, task in enumerate(record.tasks, 1):
        values: tuple[float | None, ...]
        if record.seen is not None:
            before, after = (float(record.seen[name][task]) for name in (ZERO_SHOT, method))
            values = (record.classes_seen[step - 1], before, after, after - before)
        else:
            percent = [float(value) for value in record.matrices[method][task]]
            before = percent[0 if restarted else step - 1]
            after = percent[step]
            is_separate = method in record.separate_models
            at_end = (None, None) if is_separate else (percent[-1], percent[-1] - after)
            values = (before, after, *at_end)
        by_task[task] = {name: rounded(value) for name, value in zip(columns, values, strict=True)}
    return by_task

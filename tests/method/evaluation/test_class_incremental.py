"""Class-incremental: one test on all classes so far, worked out a second time the slow way."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.predictions import write_predictions
from gift_core.artifacts.task import TaskInfo
from gift_core.errors import UserError
from gift_core.method.evaluation import PROTOCOLS, Measurement, evaluate_class_incremental, require_distinct_classes
from stages.evaluate import SUMMARIES, summarize_class_incremental
from tests.made import made_task
from tests.method.evaluation.sequence import TASKS, inputs_of, require_agreement, slow_answers

Folders = dict[str, Path]


def measure(models: Folders, tasks: Folders, step: int, previous: dict[str, str] | None = None) -> Measurement:
    return evaluate_class_incremental(inputs_of(models, tasks, step, previous=previous))


@pytest.mark.parametrize("step", [0, 1, 2])
def test_images_are_classified_among_all_classes(models: Folders, tasks: Folders, tmp_path: Path, step: int) -> None:
    made, folders = measure(models, tasks, step), [tasks[name] for name in TASKS[: step + 1]]
    images = [
        (name, number) for name, count in zip(TASKS[: step + 1], (4, 5, 6), strict=False) for number in range(count)
    ]
    for row, at, name in zip(made.rows.itertuples(), (-1, step), ("pretrained", TASKS[step]), strict=True):
        slow = [answer for folder in folders for answer in slow_answers(models[name], folders, folder)]
        hits = sum(label == predicted for label, predicted in slow)
        phase = "pretrained" if at == -1 else "current"
        assert (row.top1, row.n) == (pytest.approx(hits / len(slow)), len(slow))
        assert (row.method, row.protocol, row.step) == ("gift", "class_incremental", at)
        assert (row.trained_task, row.eval_task, row.phase) == (name, TASKS[step], phase)
        found = made.predictions[made.predictions.step == at]
        assert list(found[["task", "image"]].itertuples(index=False, name=None)) == images
        assert list(zip(found.label, found.predicted, strict=True)) == slow
    path = tmp_path / "gift" / f"{TASKS[step]}.parquet"
    write_predictions(path, made.predictions, made.metadata)
    require_agreement(path, made.rows)
    pretrained, learned = made.rows.top1
    said = f"{learned:.1%} on {len(images)} test images of all classes so far (the pre-trained model: {pretrained:.1%})"
    assert summarize_class_incremental(made.rows) == said
    write_accuracy(path, made.rows, made.metadata)
    assert len(read_accuracy(path)[0]) == 2


def test_metadata_name_all_models_of_the_chain_though_only_two_are_read(models: Folders, tasks: Folders) -> None:
    previous = measure(models, tasks, 0).metadata
    for file in models["letters"].iterdir():
        file.unlink()
    metadata = measure(models, tasks, 1, previous).metadata
    assert sorted(metadata) == ["model:digits", "model:letters", "model:pretrained", "task:digits", "task:letters"]


def described(name: str, *classes: str) -> TaskInfo:
    return TaskInfo(name, classes, ("a {}.",), "made for a test")


@pytest.mark.parametrize(
    ("name", "said"), [("swift", "the class 'swift', so"), (" Swift", "the class 'swift' and ' Swift', so")]
)
def test_a_class_in_two_tasks_is_refused_with_both(name: str, said: str, models: Folders, tasks: Folders) -> None:
    """The stage meets it before it reads any image."""
    birds, cars = described("birds", "robin", "swift"), described("cars", "polo", "swift car")
    require_distinct_classes([birds, cars])
    with pytest.raises(UserError, match=f"tasks birds and cars both have {said}"):
        require_distinct_classes([birds, described("cars", "polo", name)])
    made_task(tasks["digits"], [0], ("Letters One", "two"))
    with pytest.raises(UserError, match="tasks letters and digits both have the class 'letters one' and 'Letters One'"):
        measure(models, tasks, 1)


def test_params_yaml_and_all_tables_name_the_same_protocols() -> None:
    from gift_core.artifacts.accuracy import PHASES
    from gift_core.artifacts.report_json import BY_TASK, Summary
    from gift_core.config.experiment import EvaluationConfig
    from gift_core.method.metrics import PROTOCOLS as METRICS
    from gift_core.report.facts import PROTOCOLS as TEXTS

    assert set(PROTOCOLS) == set(EvaluationConfig.model_fields["protocol"].annotation.__args__)
    assert set(PROTOCOLS) == set(METRICS) == set(SUMMARIES) == set(PHASES) == set(BY_TASK) == set(TEXTS)
    assert set(PROTOCOLS) == set(Summary.model_fields["protocol"].annotation.__args__)

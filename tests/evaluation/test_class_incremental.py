"""Class-incremental: one test on all classes so far, worked out a second time the slow way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.nn import functional

from gift_core import classifier
from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.predictions import read_predictions, require_agreement, write_predictions
from gift_core.artifacts.task import TaskInfo, iterate_task, read_task, write_task
from gift_core.clip import test_set
from gift_core.clip.images import decode, evaluation_transform
from gift_core.clip.model import load_folder
from gift_core.errors import ContractError, UserError
from gift_core.evaluation import (
    PROTOCOLS,
    Measurement,
    evaluate_class_incremental,
    own_model,
    require_distinct_classes,
)
from gift_core.metrics import accuracy_curve, metrics_by_method, with_zero_shot
from stages.evaluate import SUMMARIES, summarize_class_incremental
from tests.clip.tiny import png
from tests.evaluation.sequence import TASKS, inputs_of

CPU = torch.device("cpu")


def measure(
    models: dict[str, Path], tasks: dict[str, Path], step: int, previous: dict[str, str] | None = None
) -> Measurement:
    return evaluate_class_incremental(inputs_of(models, tasks, step, previous=previous))


def chain(models: dict[str, Path], tasks: dict[str, Path]) -> list[Measurement]:
    steps: list[Measurement] = []
    for step in range(len(TASKS)):
        steps.append(measure(models, tasks, step, steps[-1].metadata if steps else None))
    return steps


def slow_hits(model: Path, folders: list[Path]) -> tuple[int, int]:
    """(images classified correctly among all classes of the folders, images)."""
    answers = slow_answers(model, folders)
    return sum(label == predicted for label, predicted in answers), len(answers)


def slow_answers(model: Path, folders: list[Path]) -> list[tuple[int, int]]:
    """(label, prediction) among all classes of the folders: one image and one prompt at a time."""
    clip = load_folder(model, device=CPU, precision="fp32")
    transform, classes, images = evaluation_transform(clip), [], []
    with torch.no_grad():
        for folder in folders:
            task = read_task(folder)
            images += [(image, label + len(classes)) for image, label in iterate_task(folder, "test")]
            for name in task.class_names:
                prompts = [clip.model.encode_text(clip.tokenizer([t.format(name)]))[0] for t in task.templates]
                classes.append(functional.normalize(sum(functional.normalize(p, dim=0) for p in prompts), dim=0))
        encoded = [(clip.model.encode_image(transform(decode(image))[None])[0], label) for image, label in images]
    return [(label, int(torch.argmax(torch.stack([feature @ c for c in classes])))) for feature, label in encoded]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_top1_is_over_all_images_among_all_classes_so_far(
    models: dict[str, Path], tasks: dict[str, Path], step: int
) -> None:
    rows = measure(models, tasks, step).rows
    folders = [tasks[name] for name in TASKS[: step + 1]]
    for row, model in zip(rows.itertuples(), ("pretrained", TASKS[step]), strict=True):
        hits, images = slow_hits(models[model], folders)
        assert (row.top1, row.n) == (pytest.approx(hits / images), images)


def test_the_predictions_are_the_nearest_of_all_classes_so_far(
    models: dict[str, Path], tasks: dict[str, Path], tmp_path: Path
) -> None:
    made = measure(models, tasks, 1)
    folders = [tasks[name] for name in TASKS[:2]]
    slow = [answer for model in ("pretrained", "digits") for answer in slow_answers(models[model], folders)]
    classes = [f"{task} {number}" for task in TASKS[:2] for number in ("one", "two")]
    columns = ["step", "trained_task", "task", "image"]
    expected = [(step, name, *image) for step, name in ((-1, "pretrained"), (1, "digits"))
                for image in [*(("letters", n) for n in range(4)), *(("digits", n) for n in range(5))]]  # fmt: skip
    assert list(made.predictions[columns].itertuples(index=False, name=None)) == expected
    assert list(made.predictions.label) == [classes[label] for label, _ in slow]
    assert list(made.predictions.predicted) == [classes[predicted] for _, predicted in slow]
    path = tmp_path / "gift" / "digits.parquet"
    write_predictions(path, made.predictions, made.metadata)
    require_agreement(path, read_predictions(path), (made.rows, made.metadata))


def test_a_step_adds_one_row_of_its_model_and_one_of_the_pretrained(
    models: dict[str, Path], tasks: dict[str, Path]
) -> None:
    rows = measure(models, tasks, 1).rows
    columns = ["method", "protocol", "step", "trained_task", "eval_task", "phase", "n"]
    assert rows[columns].to_records(index=False).tolist() == [
        ("gift", "class_incremental", -1, "pretrained", "digits", "pretrained", 9),
        ("gift", "class_incremental", 1, "digits", "digits", "current", 9),
    ]


def test_the_chain_passes_the_contract_and_becomes_metrics_with_a_zero_shot_row(
    models: dict[str, Path], tasks: dict[str, Path], tmp_path: Path
) -> None:
    frames = []
    for step, made in enumerate(chain(models, tasks)):
        write_accuracy(tmp_path / "gift" / f"{TASKS[step]}.parquet", made.rows, made.metadata)
        frames.append(read_accuracy(tmp_path / "gift" / f"{TASKS[step]}.parquet")[0])
    rows = pd.concat(frames)
    metrics = metrics_by_method(rows)
    assert list(metrics) == ["zero_shot", "gift"]
    last = [slow_hits(models[model], list(tasks.values())) for model in ("pretrained", "faces")]
    assert [metrics[name]["last"] for name in metrics] == pytest.approx([100 * hits / n for hits, n in last])
    assert list(accuracy_curve(with_zero_shot(rows), "zero_shot").index) == list(TASKS)


def test_metadata_name_all_models_of_the_chain_though_only_two_are_read(
    models: dict[str, Path], tasks: dict[str, Path]
) -> None:
    previous = measure(models, tasks, 0).metadata
    for file in models["letters"].iterdir():
        file.unlink()
    metadata = measure(models, tasks, 1, previous).metadata
    assert sorted(metadata) == ["model:digits", "model:letters", "model:pretrained", "task:digits", "task:letters"]


@pytest.mark.parametrize("changed", ["model:pretrained", "task:letters"])
def test_a_chain_measured_on_something_else_is_refused(
    models: dict[str, Path], tasks: dict[str, Path], changed: str
) -> None:
    previous = measure(models, tasks, 0).metadata
    previous[changed] = "0" * 64
    with pytest.raises(ContractError, match=f"measured on another {changed}"):
        measure(models, tasks, 1, previous)


def test_models_of_their_own_for_the_tasks_are_refused_before_any_is_loaded(tasks: dict[str, Path]) -> None:
    nowhere = {name: Path("nowhere") for name in ("pretrained", *TASKS)}
    with pytest.raises(UserError, match=r"gift keeps a model of its own for every task.*run\.methods"):
        evaluate_class_incremental(inputs_of(nowhere, tasks, 1, model_for=own_model))


def described(name: str, *classes: str) -> TaskInfo:
    return TaskInfo(name, classes, ("a {}.",), "made for a test")


@pytest.mark.parametrize(
    ("name", "said"), [("swift", "the class 'swift', so"), (" Swift", "the class 'swift' and ' Swift', so")]
)
def test_a_class_in_two_tasks_is_refused_with_both(name: str, said: str) -> None:
    with pytest.raises(UserError, match=f"tasks birds and cars both have {said}"):
        require_distinct_classes([described("birds", "robin", "swift"), described("cars", "polo", name)])
    require_distinct_classes([described("birds", "robin", "swift"), described("cars", "polo", "swift car")])


def test_a_class_in_two_tasks_is_met_before_any_image_is_read(models: dict[str, Path], tasks: dict[str, Path]) -> None:
    images = [(png(0), "png", 0)]
    write_task(tasks["digits"], described("digits", "Letters One", "two"), images, images, images_per_shard=3)
    with pytest.raises(UserError, match="tasks letters and digits both have the class 'letters one' and 'Letters One'"):
        measure(models, tasks, 1)


def test_nothing_is_read_or_encoded_twice(
    models: dict[str, Path], tasks: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    for name, module in [
        ("read_own_task", test_set),
        ("index_task", test_set),
        ("load_folder", classifier),
        ("class_features", test_set),
    ]:
        monkeypatch.setattr(module, name, counted(name, getattr(module, name), calls))
    measure(models, tasks, 2)
    assert calls == {"read_own_task": 3, "index_task": 3, "load_folder": 2, "class_features": 2 * 3}


def counted(name: str, function: Callable[..., Any], calls: Counter[str]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        calls[name] += 1
        return function(*arguments, **options)

    return call


def test_the_summary_names_both_models(models: dict[str, Path], tasks: dict[str, Path]) -> None:
    rows = measure(models, tasks, 1).rows
    pretrained, learned = rows.top1
    said = f"{learned:.1%} on 9 test images of all classes so far (the pre-trained model: {pretrained:.1%})"
    assert summarize_class_incremental(rows) == said


def test_params_yaml_and_all_tables_name_the_same_protocols() -> None:
    from gift_core.artifacts.accuracy import PHASES
    from gift_core.config.experiment import EvaluationConfig
    from gift_core.metrics import PROTOCOLS as METRICS

    assert set(PROTOCOLS) == set(EvaluationConfig.model_fields["protocol"].annotation.__args__)
    assert set(PROTOCOLS) == set(METRICS) == set(SUMMARIES) == set(PHASES)

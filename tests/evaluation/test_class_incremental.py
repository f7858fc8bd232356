"""Class-incremental: one test on all classes so far, worked out a second time the slow way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.predictions import read_predictions, require_agreement, write_predictions
from gift_core.artifacts.task import TaskInfo, iterate_task, read_task, write_task
from gift_core.clip.images import decode, evaluation_transform
from gift_core.clip.model import load_folder
from gift_core.errors import UserError
from gift_core.evaluation import PROTOCOLS, Measurement, evaluate_class_incremental, require_distinct_classes
from stages.evaluate import SUMMARIES, summarize_class_incremental
from tests.clip.tiny import png
from tests.evaluation.sequence import TASKS, inputs_of

CPU = torch.device("cpu")


Folders = dict[str, Path]


def measure(models: Folders, tasks: Folders, step: int, previous: dict[str, str] | None = None) -> Measurement:
    return evaluate_class_incremental(inputs_of(models, tasks, step, previous=previous))


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
def test_images_are_classified_among_all_classes(models: Folders, tasks: Folders, tmp_path: Path, step: int) -> None:
    made, folders = measure(models, tasks, step), [tasks[name] for name in TASKS[: step + 1]]
    classes = [f"{task} {number}" for task in TASKS[: step + 1] for number in ("one", "two")]
    images = [
        (name, number) for name, count in zip(TASKS[: step + 1], (4, 5, 6), strict=False) for number in range(count)
    ]
    for row, at, name in zip(made.rows.itertuples(), (-1, step), ("pretrained", TASKS[step]), strict=True):
        slow = slow_answers(models[name], folders)
        hits = sum(label == predicted for label, predicted in slow)
        phase = "pretrained" if at == -1 else "current"
        assert (row.top1, row.n) == (pytest.approx(hits / len(slow)), len(slow))
        assert (row.method, row.protocol, row.step) == ("gift", "class_incremental", at)
        assert (row.trained_task, row.eval_task, row.phase) == (name, TASKS[step], phase)
        found = made.predictions[made.predictions.step == at]
        assert list(found[["task", "image"]].itertuples(index=False, name=None)) == images
        assert list(found.label) == [classes[label] for label, _ in slow]
        assert list(found.predicted) == [classes[predicted] for _, predicted in slow]
    path = tmp_path / "gift" / f"{TASKS[step]}.parquet"
    write_predictions(path, made.predictions, made.metadata)
    require_agreement(path, read_predictions(path), (made.rows, made.metadata))
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
    images = [(png(0), "png", 0)]
    write_task(tasks["digits"], described("digits", "Letters One", "two"), images, images, images_per_shard=3)
    with pytest.raises(UserError, match="tasks letters and digits both have the class 'letters one' and 'Letters One'"):
        measure(models, tasks, 1)


def test_params_yaml_and_all_tables_name_the_same_protocols() -> None:
    from gift_core.artifacts.accuracy import PHASES
    from gift_core.artifacts.report_json import BY_TASK, Summary
    from gift_core.config.experiment import EvaluationConfig
    from gift_core.metrics import PROTOCOLS as METRICS
    from gift_core.report.facts import PROTOCOLS as TEXTS

    assert set(PROTOCOLS) == set(EvaluationConfig.model_fields["protocol"].annotation.__args__)
    assert set(PROTOCOLS) == set(METRICS) == set(SUMMARIES) == set(PHASES) == set(BY_TASK) == set(TEXTS)
    assert set(PROTOCOLS) == set(Summary.model_fields["protocol"].annotation.__args__)

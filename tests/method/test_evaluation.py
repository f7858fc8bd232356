"""The three protocols: the rows of every step, worked out a second time the slow way, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from gift_core.artifacts.accuracy import read_accuracy, read_probe, write_accuracy
from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.task import iterate_task, read_task
from gift_core.clip import task_tests
from gift_core.clip.images import decode, evaluation_transform
from gift_core.clip.model import Clip, load_folder, save_clip
from gift_core.clip.test_sets import ImageLimit, TestSet, choose_images
from gift_core.computation import run_serially
from gift_core.errors import ContractError
from gift_core.method import classifier
from gift_core.method.classifier import EncodingSettings
from gift_core.method.evaluation import (
    EvaluationInputs,
    evaluate_probe,
    evaluate_step,
    newest_model,
    own_model,
    with_probes,
)
from gift_core.protocols import CLASS_INCREMENTAL, CROSS_DOMAIN, PROTOCOLS, TASK_INCREMENTAL, Protocol
from gift_core.seeds import seed_for
from gift_core.work.resumable import ResumableRunner
from stages.evaluate import describe
from tests.artifacts.damage import flip
from tests.clip.tiny import tiny_clip
from tests.execution.pretended_helper import run_with_helper
from tests.made import made_task

Folders = dict[str, Path]
TASKS = ("letters", "digits", "faces")
MODELS = ("pretrained", *TASKS)


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, Path]:
    """Of two classes: 4, 5 and 6 test images; the templates of each task are its own."""
    folders = {}
    for number, name in enumerate(TASKS):
        classes, templates = (f"{name} one", f"{name} two"), (f"a {{}}, {name}.", "the {}")
        labels = [row % 2 for row in range(4 + number)]
        folders[name] = made_task(tmp_path / "tasks" / name, labels, classes, templates, first=10 * number)
    return folders


def save_model(folder: Path, name: str, seed: int) -> Path:
    """The pre-trained model, or that of gift after a task."""
    save_clip(tiny_clip(seed=seed), folder / name, {} if name == "pretrained" else {"method": "gift", "task": name})
    return folder / name


@pytest.fixture
def models(tmp_path: Path, one_tokenizer: None) -> dict[str, Path]:
    """The pre-trained model and one after each task, all with different weights."""
    return {name: save_model(tmp_path / "gift", name, seed) for seed, name in enumerate(MODELS)}


def inputs_of(
    models: Mapping[str, Path],
    tasks: Mapping[str, Path],
    step: int,
    protocol: Protocol = TASK_INCREMENTAL,
    *,
    model_for: Callable[[int, int], int] = newest_model,
    limit: ImageLimit | None = None,
    probe: str = "",
) -> EvaluationInputs:
    """What the evaluation of gift after `step` needs. The pre-trained model has 0.5 of 6 images of `probe`."""
    names = TASKS[: step + 1]
    return EvaluationInputs(
        method="gift",
        protocol=protocol,
        models={name: models[name] for name in ("pretrained", *names)},
        tasks={name: tasks[name] for name in names},
        model_for=model_for,
        settings=EncodingSettings(torch.device("cpu"), "fp32", 4, limit),
        previous={},
        probes={probe: (tasks[probe], (0.5, 6))} if probe else {},
    )


def slow_answers(model: Path, folders: Sequence[Path], of: Path) -> list[tuple[str, str]]:
    """(class, nearest class of all folders) of each test image of a task: one image and one prompt at a time."""
    clip, texts, answers = load_folder(model, device=torch.device("cpu"), precision="fp32"), [], []
    transform = evaluation_transform(clip)
    with torch.no_grad():
        for task in map(read_task, folders):
            for name in task.class_names:
                prompts = [clip.model.encode_text(clip.tokenizer([t.format(name)]))[0] for t in task.templates]
                texts.append((name, functional.normalize(sum(functional.normalize(p, dim=0) for p in prompts), dim=0)))
        for image, label in iterate_task(of, "test"):
            feature = clip.model.encode_image(transform(decode(image))[None])[0]
            nearest = max(texts, key=lambda text: float(feature @ text[1]))[0]
            answers.append((read_task(of).class_names[label], nearest))
    return answers


# The model that classifies letters, digits and faces after each step.
NEWEST = [[name] * 3 for name in TASKS]
OWN = [["letters", "pretrained", "pretrained"], ["letters", "digits", "pretrained"], list(TASKS)]


def count_models(models: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a model classify as many images correctly as models came before it."""
    weights = {
        name: load_file(models[name] / "open_clip_model.safetensors")["visual.class_embedding"] for name in MODELS
    }

    def signature(clip: Clip, images: TestSet) -> dict[str, torch.Tensor]:
        own, labels_N = clip.model.get_parameter("visual.class_embedding").data, images.labels_N
        number = next(number for number, name in enumerate(MODELS) if torch.equal(weights[name], own))
        predicted_N = torch.where(torch.arange(len(labels_N)) < number, labels_N, 1 - labels_N)
        return {"predicted_N": predicted_N, "labels_N": labels_N, "positions_N": images.positions_N}

    monkeypatch.setitem(task_tests.TESTERS, "classes", signature)


@pytest.mark.parametrize(("model_for", "models_of"), [(newest_model, NEWEST), (own_model, OWN)])
def test_each_task_is_classified_by_the_model_that_the_method_has_for_it(
    model_for: Callable[[int, int], int],
    models_of: list[list[str]],
    models: Folders,
    tasks: Folders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one model per task, past tasks have their own model, and future tasks the pre-trained one.

    A model's accuracy says whose it is here: as many images are correct as models came before it.
    """
    count_models(models, monkeypatch)
    steps = [inputs_of(models, tasks, step, model_for=model_for) for step in range(3)]
    rows = pd.concat([evaluate_step(each).rows for each in steps])
    expected = {
        (step, task): MODELS.index(name) / (4 + TASKS.index(task))  # letters has 4 images, digits 5, faces 6
        for step, names in enumerate([["pretrained"] * 3, *models_of], -1)
        for task, name in zip(TASKS, names, strict=True)
    }
    assert {(row.step, row.eval_task): row.top1 for row in rows.itertuples()} == pytest.approx(expected)
    columns = ["step", "trained_task", "eval_task", "phase", "n"]  # the last step adds an L: its row and its column
    assert rows[columns].tail(6).to_records(index=False).tolist() == [
        (-1, "pretrained", "faces", "pretrained", 6),
        (0, "letters", "faces", "future", 6),
        (1, "digits", "faces", "future", 6),
        (2, "faces", "digits", "past", 5),
        (2, "faces", "faces", "current", 6),
        (2, "faces", "letters", "past", 4),
    ]
    assert len(rows) == 4 * 3


@pytest.mark.parametrize(("model_for", "of_steps"), [(newest_model, [1 / 6, 2 / 6]), (own_model, [0.5, 0.5])])
def test_a_probe_is_tested_by_the_newest_model_and_by_the_pretrained_one_where_each_task_has_its_own(
    model_for: Callable[[int, int], int],
    of_steps: list[float],
    models: Folders,
    tasks: Folders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count_models(models, monkeypatch)
    made = []
    for step in range(2):
        inputs = inputs_of(models, tasks, step, model_for=model_for, probe="faces")
        made.append(with_probes(evaluate_step(inputs), inputs))
    rows = pd.concat(each.rows for each in made)
    probes = rows[rows.phase == "probe"]
    assert dict(zip(probes.step, probes.trained_task, strict=True)) == {-1: "pretrained", 0: "letters", 1: "digits"}
    assert list(probes.top1) == pytest.approx([0.5, *of_steps])
    assert set(probes.eval_task) == {"faces"} and set(probes.n) == {6} and set(probes.method) == {"gift"}
    assert "faces" not in set(made[1].predictions.task)
    assert made[1].metadata["probe:faces"] == sha256_of(tasks["faces"] / "task.json")
    write_accuracy(tmp_path / "gift" / "digits.parquet", made[1].rows, made[1].metadata)  # rows of a whole step
    measured = evaluate_probe(models["letters"], tasks["faces"], inputs_of(models, tasks, 0).settings)
    write_accuracy(tmp_path / "faces.parquet", measured.rows, measured.metadata)
    assert read_probe(tmp_path / "faces.parquet") == (pytest.approx(1 / 6), 6)


@pytest.mark.parametrize("templates", [("a {}.",), ("a {} in a garden.", "the {}")])
def test_every_cell_is_that_of_plain_loops(models: Folders, tasks: Folders, templates: tuple[str, ...]) -> None:
    made_task(tasks["letters"], (0, 1, 0, 1, 1), ("lotus", "frog"))
    made_task(tasks["faces"], (0, 1, 1, 0, 0, 1, 0), (" Lotus", "rose"), templates, first=7)
    made, folders = evaluate_step(inputs_of(models, tasks, 2, CROSS_DOMAIN)), list(tasks.values())
    assert len(made.rows) == len(made.rows[["step", "eval_task"]].drop_duplicates()) == 4 * 3
    shared = 0
    for row in made.rows.itertuples():
        own_step = TASKS.index(row.eval_task)
        phase = "past" if own_step < row.step else "current" if own_step == row.step else "future"
        assert row.phase == ("pretrained" if row.step == -1 else phase)
        slow = slow_answers(models[row.trained_task], folders, tasks[row.eval_task])
        slow = [(label.strip().lower(), nearest.strip().lower()) for label, nearest in slow]
        own = made.predictions[(made.predictions.step == row.step) & (made.predictions.task == row.eval_task)]
        assert list(zip(*(own[name].str.strip().str.lower() for name in ("label", "predicted")), strict=True)) == slow
        assert (row.top1, row.n) == (pytest.approx(sum(a == b for a, b in slow) / len(slow)), len(slow))
        shared += sum(predicted == "lotus" for _, predicted in slow)
        spelling = {"letters": "lotus", "faces": " Lotus"}.get(row.eval_task)  # that of the image's own task
        assert not spelling or {each for each in own.predicted if "lotus" in each.lower()} <= {spelling}
    assert shared
    newest = made.rows[made.rows.step == 2].set_index("eval_task").top1
    (said,) = describe(made.rows)
    assert said.startswith(f"{newest.mean():.1%} on the tasks so far (") and f"faces {newest['faces']:.1%}" in said


def test_kept_features_give_the_same_rows_and_only_what_is_new_is_encoded(
    models: Folders, tasks: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Mock(wraps=classifier.encode_test_set)
    monkeypatch.setattr(classifier, "encode_test_set", encode)
    kept, counts = tmp_path / "kept", []
    kept.mkdir()

    def require_same_as_alone(step: int) -> None:
        run = ResumableRunner(tmp_path, kept)
        found = evaluate_step(inputs_of(models, tasks, step, CROSS_DOMAIN), run)
        counts.append(encode.call_count)
        alone = evaluate_step(inputs_of(models, tasks, step, CROSS_DOMAIN), run_serially)
        pd.testing.assert_frame_equal(found.rows, alone.rows, check_exact=True)
        pd.testing.assert_frame_equal(found.predictions, alone.predictions)
        encode.reset_mock()

    for step in range(3):
        require_same_as_alone(step)
    assert counts == [2, 4, 6]  # the new model on all tasks, the former ones on the new task
    names = {file.name for file in kept.iterdir()}
    assert len(names) == 4 * 3
    save_model(models["digits"].parent, "digits", 9)  # trained again
    (damaged := min(kept.iterdir())).write_bytes(b"no features")
    require_same_as_alone(2)
    assert counts[-1] in (3, 4)  # what is damaged may be of the former model
    assert len({file.name for file in kept.iterdir()} - names - {f"{damaged.name}.not_used"}) == 3
    assert len(TASKS) * 4 == len(list(kept.glob("*.safetensors")))


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_damaged_weights_are_noticed_before_any_test(models: Folders, tasks: Folders, protocol: Protocol) -> None:
    flip(models["faces"] / "open_clip_model.safetensors")
    run = Mock(wraps=run_serially)
    with pytest.raises(ContractError, match="faces/open_clip_model.safetensors"):
        evaluate_step(inputs_of(models, tasks, 2, protocol), run)
    assert not run.called


@pytest.mark.parametrize("step", [0, 1, 2])
def test_images_are_classified_among_all_classes(models: Folders, tasks: Folders, tmp_path: Path, step: int) -> None:
    """As in the cross-domain protocol, which plain loops check. Here a row is for the images of all tasks."""
    made = evaluate_step(inputs_of(models, tasks, step, CLASS_INCREMENTAL))
    cells = evaluate_step(inputs_of(models, tasks, step, CROSS_DOMAIN)).predictions
    columns = ["task", "image", "label", "predicted"]
    for row, at, name in zip(made.rows.itertuples(), (-1, step), ("pretrained", TASKS[step]), strict=True):
        expected, found = (each[each.step == at][columns].astype(str) for each in (cells, made.predictions))
        assert found.values.tolist() == expected.values.tolist()
        assert (row.top1, row.n) == (pytest.approx((expected.label == expected.predicted).mean()), len(expected))
        assert (row.method, row.protocol, row.step) == ("gift", "class_incremental", at)
        phase = "pretrained" if at == -1 else "current"
        assert (row.trained_task, row.eval_task, row.phase) == (name, TASKS[step], phase)
    path = tmp_path / "gift" / f"{TASKS[step]}.parquet"
    assert [*describe(made.rows)] == [f"{made.rows.top1.iloc[1]:.1%} on the tasks so far"]
    write_accuracy(path, made.rows, made.metadata)
    assert len(read_accuracy(path)[0]) == 2


UNITS = {"task_incremental": 6, "class_incremental": 6, "cross_domain": 12}  # of a whole run


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_helper_changes_neither_accuracies_nor_predictions(
    models: Folders, tasks: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: Protocol
) -> None:
    alone = evaluate_step(inputs_of(models, tasks, 2, protocol), run_serially)
    run, helper = run_with_helper(tmp_path / "work", monkeypatch)
    (kept := tmp_path / "kept").mkdir()
    found = evaluate_step(inputs_of(models, tasks, 2, protocol), replace(run, kept=kept))
    pd.testing.assert_frame_equal(found.rows, alone.rows, check_exact=True)
    pd.testing.assert_frame_equal(found.predictions, alone.predictions)
    assert found.metadata == alone.metadata
    assert len(helper.helped) == UNITS[protocol.name] // 2
    assert len(list(kept.iterdir())) == (0 if protocol.own_classes else UNITS[protocol.name])


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_only_the_chosen_images_are_tested(models: Folders, tasks: Folders, tmp_path: Path, protocol: Protocol) -> None:
    whole = evaluate_step(inputs_of(models, tasks, 2, protocol), run_serially)
    limit = ImageLimit(max_images=4, seed=7)  # letters has 4 test images, digits 5, faces 6
    made = evaluate_step(inputs_of(models, tasks, 2, protocol, limit=limit), run_serially)
    chosen = set()
    for name in TASKS:
        labels = [label for _, label in iterate_task(tasks[name], "test")]
        chosen |= {(name, at) for at in choose_images(labels, 4, seed=seed_for("test images", 7, name))}
    kept = [each in chosen for each in zip(whole.predictions.task, whole.predictions.image, strict=True)]
    expected = whole.predictions[kept].reset_index(drop=True)
    pd.testing.assert_frame_equal(made.predictions, expected)
    assert len(expected) < len(whole.predictions)
    for row in made.rows.itertuples():
        of_row = expected[expected.step == row.step]
        if protocol.has_matrix:
            of_row = of_row[of_row.task == row.eval_task]
        assert row.n == len(of_row) == (4 if protocol.has_matrix else 12)
        assert row.top1 == pytest.approx((of_row.label == of_row.predicted).mean())
    assert made.metadata == {**whole.metadata, "max_images": "4"}

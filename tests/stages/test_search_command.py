"""`gift search`: runs beside DVC that change nothing, never read a test image, and tell a hopeless rate."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.shards import write_manifest
from gift_core.driving.processes import Processes
from gift_core.errors import UserError
from stages.commands import trials
from stages.commands.search import change_of, present_rate, show_trials, shown
from stages.commands.trials import run_trials, with_iterations
from stages.stage import Stage
from stages.teach import teach
from tests.clone import content
from tests.datasets.folders import picture
from tests.tiny_world import CLASSES, TinyExperiment, make_world, write_pair_task

RATES = [1e-4, 1e-3]


def tiny(root: Path, params: dict[str, Any], method: str, task: str, *, captions: bool = False) -> Stage:
    """The step in a tiny world, whose test tars are garbage: whoever reads one fails."""
    experiment = TinyExperiment(make_world(root), params, method, params["methods"][method], iterations=2)
    if captions:
        shutil.rmtree(experiment.layout.task(task))
        write_pair_task(experiment.layout.task(task))
    for tar in root.glob("data/1_tasks/*/test-*.tar"):
        tar.write_bytes(b"garbage")
    if experiment.row.replay.images != "task":  # such a teacher reads all training images, also those held out
        teach(method, task, params=experiment.params, root=root)
    stage = replace(experiment.stage, stage="search", task=task)
    return replace(stage, config=with_iterations(stage, 3))


@pytest.mark.parametrize(
    ("method", "others"), [("gift", ["birds", "letters"]), ("gift", ["replayed pairs"]), ("lwf", [])]
)
def test_it_changes_nothing_and_reads_no_test_image(
    tmp_path: Path, mini_params: dict[str, Any], method: str, others: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher of lwf reads the task's own images. Without other tasks the replayed pairs are measured, if any."""
    captions = others == ["replayed pairs"]  # in this case the task has captions
    stage = tiny(tmp_path, mini_params, method, "digits", captions=captions)
    for name in {"birds", "letters"} - {*others}:
        shutil.rmtree(stage.layout.task(name))
    if not others:
        shutil.rmtree(stage.layout.shards("digits"))
        write_manifest(stage.layout.shards("digits"), {}, {"count": 0, "sha256": "of the prompts"})
    for split, count in (("train", 2), ("test", 1), ("val", 3)):  # the split is the validation part
        for name, number in product([] if captions else CLASSES["digits"], range(count)):
            picture(tmp_path / "data/0_raw/digits" / split / name / f"{number}.png", (number, len(split), 0))
    before = content(tmp_path)
    found = run_trials(stage, RATES[:1])
    assert captions or found.start["digits"].images == 3 * len(CLASSES["digits"])
    show_trials(found, stage)
    assert ("Recall@1 (95%)" if captions else "accuracy (95%)") in capsys.readouterr().out
    assert [trial.rate for trial in found.trials] == RATES[:1]
    assert list(found.start) == ["digits", *others]
    after = content(tmp_path)
    assert {name for name in after if name not in before} == {f".gift/search/{method}-digits.lock"}
    assert all(after[name] == text for name, text in before.items())


def test_an_interrupted_search_continues_and_a_rate_at_which_training_breaks_is_left_out_with_its_reason(
    tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, load, trained = tiny(tmp_path, mini_params, "finetune", "digits"), trials.load_step, list[float]()
    interrupted_after = [1e-4]

    def loading(stage: Stage, rate: float) -> Any:
        if rate == 10.0:
            raise UserError("the loss is not finite")
        if trained == interrupted_after:
            raise KeyboardInterrupt
        trained.append(rate)
        return load(stage, rate)

    monkeypatch.setattr(trials, "load_step", loading)
    with pytest.raises(KeyboardInterrupt, match="the next run continues from there"):
        run_trials(stage, RATES)
    interrupted_after.clear()
    found = run_trials(stage, [*RATES, 2e-3, 10.0])
    assert trained == [trial.rate for trial in found.trials] == [1e-4, 1e-3, 2e-3]
    assert found.failed == {10.0: "the loss is not finite"}
    with pytest.raises(UserError, match="the loss is not finite"):
        run_trials(stage, [10.0])


def test_what_a_training_says_is_not_in_the_result_also_in_a_process_of_its_own(
    tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = mini_params["methods"]["finetune"]
    trial = TinyExperiment(make_world(tmp_path), mini_params, "finetune", row, iterations=2).stage
    logger = logging.getLogger("gift_core.driving.training")
    monkeypatch.setattr(trials, "load_step", lambda *_: (None, None, lambda **_: logger.info("continues at 1")))
    trials.learn(Processes(1, 2), trial, 1e-4, tmp_path, tmp_path)()
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == "test@finetune: continues at 1\n"


def test_the_rate_changes_in_the_first_step_and_the_factor_later(tmp_path: Path, mini_params: dict[str, Any]) -> None:
    row = mini_params["methods"]["finetune"]
    whole = TinyExperiment(make_world(tmp_path), mini_params, "finetune", row, iterations=2).stage
    lines = []
    for task in ("birds", "digits"):
        stage = replace(whole, task=task)
        assert present_rate(stage) == row["learning_rate"]
        lines.append(change_of(stage, row["learning_rate"] / 2)[0])
    assert lines == [f"methods.finetune.learning_rate: {shown(row['learning_rate'] / 2)}", "learning_rate_factor: 0.5"]

"""Stages that are killed at any moment and run again end with the bytes of a run that was not interrupted."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.model_folder import read_provenance
from gift_core.clip.model import save_clip
from gift_core.layout import Layout
from tests.interruption.processes import Kill
from tests.interruption.world import FIRST, SECOND, Step, read, spread, tiny_experiment, write
from tests.tiny_world import load, moved, write_images, write_pairs

CONTINUES = ("continues", "known")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any]) -> Path:
    return tiny_experiment(tmp_path_factory.mktemp("interrupted"), _mini_params)


@pytest.mark.parametrize(("stage", "method", "kills"), [
    ("finetune", "frozen", 3),
    ("teach", "ewc", 3),
    ("evaluate", "frozen", 3),
])  # fmt: skip
def test_a_killed_stage_continues_to_the_same_bytes(root: Path, stage: str, method: str, kills: int) -> None:
    step = Step(root, stage, method)
    whole = step.succeed()
    expected = step.digest()
    continued = 0
    for change in spread(whole.changes, kills):
        assert step.run(kill=Kill(change=change)).code == -9
        assert step.is_whole_or_missing(expected)
        continued += any(word in step.succeed().printed for word in CONTINUES)
        assert step.digest() == expected, f"killed at change {change} of {whole.changes}"
    assert continued
    ended = step.run(kill=Kill(change=whole.changes // 2, signal=signal.SIGINT))  # Ctrl-C
    assert (ended.code, step.result.exists(), "Traceback" in ended.printed) == (130, False, False)
    assert any(word in step.succeed().printed for word in CONTINUES)
    assert step.digest() == expected


def change_seed(root: Path) -> None:
    params = read(root)
    write(root, params | {"seed": params["seed"] + 1})


def replace_images(root: Path) -> None:
    folder = Layout(root).task(SECOND)
    shutil.rmtree(folder)
    write_images(folder, seed=900)


def replace_pairs(root: Path) -> None:
    folder = Layout(root).shards(SECOND)
    shutil.rmtree(folder)
    write_pairs(folder, seed=950)


def replace_model(root: Path) -> None:
    folder = Layout(root).model("frozen", FIRST)
    save_clip(moved(load(folder), seed=5), folder, {"method": "frozen", "task": FIRST})


@pytest.mark.parametrize(("stage", "changes"), [
    ("finetune", (change_seed, replace_images, replace_model)),
    ("teach", (replace_pairs,)),
    ("evaluate", (replace_images,)),
])  # fmt: skip
def test_stale_work_is_not_used(
    root: Path, tmp_path: Path, stage: str, changes: tuple[Callable[[Path], None], ...]
) -> None:
    middle = Step(root, stage, "frozen").succeed().changes // 2
    for change in changes:
        copy = tmp_path / change.__name__
        shutil.copytree(root, copy)
        step = Step(copy, stage, "frozen")
        assert step.run(kill=Kill(change=middle)).code == -9
        assert list((copy / ".gift" / stage / f"frozen-{SECOND}").rglob("*.safetensors"))
        change(copy)
        if (stage, change) == ("finetune", replace_model):
            Step(copy, "teach", "frozen").succeed()  # finetune refuses the features of the former model
        ended = step.succeed()
        continued = any(word in ended.printed for word in CONTINUES)
        assert not continued or stage == "evaluate", change.__name__  # it knows the accuracies on the other test set
        assert continued or "starts from the beginning. The unfinished work of " in ended.printed, ended.printed
        found = step.digest()
        step.succeed()
        assert step.digest() == found, change.__name__


def test_work_is_continued_after_a_detour_and_with_another_number_of_threads(root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    step, params = Step(copy, "finetune", "frozen"), read(copy)
    middle = step.succeed().changes // 2
    step.run(kill=Kill(change=middle))
    change_seed(copy)
    assert f"(inputs.seed {params['seed']}, now {params['seed'] + 1})" in step.succeed().printed
    write(copy, params)
    ended = step.succeed(threads=2)
    assert "continues with 2 threads what ran with 1" in ended.printed
    assert "continues at iteration" in ended.printed
    assert step.unfinished == []
    assert read_provenance(step.result)["environment"]["threads"] == "1, then 2"

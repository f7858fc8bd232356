"""`gift run --helpers` on a pipeline with a long stage: real DVC, real Ray, and a real sum of squared gradients."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
import yaml

from tests.stages.toy_pipeline import ToyPipeline, ended, wait
from tests.work.test_spread import ToyStage

pytestmark = pytest.mark.end_to_end
OUTPUT = "fisher/out/fisher.safetensors"
AFTER = {"left", "middle", "right"}


def pipeline_with_fisher(folder: Path) -> tuple[ToyPipeline, ToyStage]:
    """A stage `fisher`, and beside it `gate`, which three other stages need."""
    toy = ToyPipeline(folder, {"gate": [], **{name: ["gate"] for name in sorted(AFTER)}})
    toy.environment["OMP_NUM_THREADS"] = "1"
    (toy.folder / "fisher" / "ranges").mkdir(parents=True)
    file = toy.folder / "dvc.yaml"
    stages = yaml.safe_load(file.read_text())
    stages["stages"]["fisher"] = {"cmd": "python -m tests.work.toy_fisher fisher", "outs": [OUTPUT]}
    file.write_text(yaml.safe_dump(stages))
    return toy, ToyStage(toy.folder / "fisher")


def helpers_of(run: subprocess.Popen[str]) -> int:
    return sum(each.name().startswith("ray::Helper") for each in psutil.Process(run.pid).children(recursive=True))


def test_a_free_worker_helps_until_a_stage_waits_for_it_and_changes_no_byte(tmp_path: Path) -> None:
    toy, fisher = pipeline_with_fisher(tmp_path / "toy")
    waiting = toy.folder / ".gift" / "logs" / "waiting"
    toy.hold("gate", *AFTER)
    fisher.hold("stage", "helpers")
    run = toy.start("--workers", "4", "--helpers", "1")
    ranges = toy.folder / "fisher" / "ranges"
    wait((ranges / "0-stage").exists, "the stage in a range")
    wait(fisher.helpers, "a helper in a range")
    fisher.helpers()[0].kill()
    wait(lambda: fisher.helped == 2, "another helper in the same range")
    assert list(waiting.iterdir()) == []
    assert helpers_of(run) == 1  # though a second worker is free

    toy.release("gate")
    wait(lambda: len(AFTER & set(toy.runs)) == 2 and list(waiting.iterdir()), "two stages, and the mark of the third")
    assert {file.name for file in waiting.iterdir()} == AFTER - set(toy.runs)

    fisher.release("helpers")
    wait(lambda: set(toy.runs) >= AFTER, "the stage that waited for the helper's worker")
    assert list(waiting.iterdir()) == [] and helpers_of(run) == 0
    assert {file.name for file in ranges.iterdir()} == {"0-stage", "4-helpers"}

    toy.release(*AFTER)
    fisher.release("stage")
    assert "5 done" in ended(run)
    log = (toy.folder / ".gift" / "logs" / "fisher.log").read_text()
    assert "a helper was lost" in log and log.count("a free worker helps") >= 2
    assert not (ranges / "4-stage").exists()

    with_helpers = toy.lock
    shutil.rmtree(toy.folder / ".dvc" / "cache")
    for file in [toy.folder / "dvc.lock", toy.folder / OUTPUT, *(toy.folder / "out").iterdir()]:
        file.unlink()
    toy.repro()
    assert toy.lock == with_helpers
    assert (ranges / "4-stage").exists()

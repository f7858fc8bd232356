"""`gift run --helpers` on a pipeline with a long stage: real DVC and real Ray."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
import yaml

from tests.stages.toy_pipeline import ToyPipeline, ended, wait
from tests.work.test_spread import UNITS, ToyStage

pytestmark = pytest.mark.end_to_end
AFTER = {"left", "middle", "right"}


def pipeline_with_units(folder: Path) -> tuple[ToyPipeline, ToyStage]:
    """A stage of many units, and beside it `gate`, which three other stages need."""
    toy = ToyPipeline(folder, {"gate": [], **{name: ["gate"] for name in sorted(AFTER)}})
    toy.environment["OMP_NUM_THREADS"] = "1"
    (toy.folder / "units").mkdir()
    file = toy.folder / "dvc.yaml"
    stages = yaml.safe_load(file.read_text())
    stages["stages"]["units"] = {"cmd": f"python -m tests.work.toy_units units {UNITS}", "outs": ["units/out"]}
    file.write_text(yaml.safe_dump(stages))
    return toy, ToyStage(toy.folder / "units")


def helpers_of(run: subprocess.Popen[str]) -> int:
    return sum(each.name().startswith("ray::_Helper") for each in psutil.Process(run.pid).children(recursive=True))


def test_a_free_worker_helps_until_a_stage_waits_for_it_and_changes_no_byte(tmp_path: Path) -> None:
    toy, units = pipeline_with_units(tmp_path / "toy")
    waiting = toy.folder / ".gift" / "logs" / "waiting"
    toy.hold("gate", *AFTER)
    units.hold("stage", "helpers")
    run = toy.start("--workers", "4", "--helpers", "1")
    wait(units.helpers, "a helper in a unit")
    units.helpers()[0].kill()
    wait(lambda: units.helped == 2, "another helper in the same unit")
    assert list(waiting.iterdir()) == []
    assert helpers_of(run) == 1  # though a second worker is free

    toy.release("gate")
    wait(lambda: len(AFTER & set(toy.runs)) == 2 and list(waiting.iterdir()), "two stages, and the mark of the third")
    assert {file.name for file in waiting.iterdir()} == AFTER - set(toy.runs)

    units.release("helpers")
    wait(lambda: set(toy.runs) >= AFTER, "the stage that waited for the helper's worker")
    assert list(waiting.iterdir()) == [] and helpers_of(run) == 0
    assert units.written() == ["1.txt"]

    toy.release(*AFTER)
    units.release("stage")
    assert "5 done" in ended(run)
    log = (toy.folder / ".gift" / "logs" / "units.log").read_text()
    assert "a helper was lost" in log and log.count("a free worker helps") >= 2
    assert f"of {UNITS}" in log and "helpers computed 0" not in log

    with_helpers = toy.lock
    for folder in (toy.folder / ".dvc" / "cache", toy.folder / "units" / "out"):
        shutil.rmtree(folder)
    for file in (toy.folder / "dvc.lock", *(toy.folder / "out").iterdir()):
        file.unlink()
    toy.repro()
    assert toy.lock == with_helpers

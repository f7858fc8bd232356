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
    found = psutil.Process(run.pid).children(recursive=True)
    return sum("stages.dvc.helper" in each.cmdline() for each in found)


def test_a_free_worker_helps_until_a_stage_needs_it_and_changes_no_byte(tmp_path: Path) -> None:
    toy, units = pipeline_with_units(tmp_path / "toy")
    toy.hold("gate", *AFTER)
    units.hold("stage", "helpers")
    run = toy.start("--workers", "4", "--helpers", "1")
    wait(units.helpers, "a helper in a unit")
    units.helpers()[0].kill()
    wait(lambda: units.helped == 2, "another helper in a unit")
    assert helpers_of(run) == 1  # though a second worker is free

    toy.release("gate")
    wait(lambda: set(toy.runs) >= AFTER, "the stage that needs the helper's worker")
    assert helpers_of(run) == 0 and units.written() == []

    units.release("helpers")
    toy.release(*AFTER)
    wait(units.written, "a unit of the third helper")
    units.release("stage")
    printed = ended(run)
    assert "5 done" in printed
    assert printed.count("units: a helper was lost") == 1 and printed.count("units: a free worker helps") >= 3
    log = (toy.folder / ".gift" / "logs" / "units.log").read_text()
    assert f"of {UNITS}" in log and "helpers computed 0" not in log

    with_helpers = toy.lock
    for folder in (toy.folder / ".dvc" / "cache", toy.folder / "units" / "out"):
        shutil.rmtree(folder)
    for file in (toy.folder / "dvc.lock", *(toy.folder / "out").iterdir()):
        file.unlink()
    toy.repro()
    assert toy.lock == with_helpers

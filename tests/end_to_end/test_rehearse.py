"""`gift rehearse` with the real DVC: its verdict, a planted failure, and that the experiment stays as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.clone import Clone
from tests.stages.toy_pipeline import wait

pytestmark = pytest.mark.end_to_end
FAILS = "finetune@gift-step1"
PLANTED = f"""
import os

def planted(student_image_MD):
    if os.environ.get("DVC_STAGE") == "{FAILS}":
        raise ValueError("the planted failure")
    return student_image_MD.square().mean()
"""


def rehearse(clone: Clone, *options: str, expect: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "stages", "rehearse", "--json", *options]
    done = subprocess.run(command, cwd=clone.folder, env=clone.environment, capture_output=True, text=True)
    assert done.returncode == expect, done.stderr[-6000:]
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def stages_of(found: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(each["stage"], each["method"], each["task"]): each for each in found["stages"]}


def state(clone: Clone) -> tuple[str, str, dict[str, int]]:
    """What git and DVC say of the project, and the sizes of the files that DVC keeps."""
    cache = clone.folder / ".dvc" / "cache"
    sizes = {str(file.relative_to(cache)): file.stat().st_size for file in cache.rglob("*") if file.is_file()}
    return clone.run("git", "status", "--porcelain"), clone.run("dvc", "status"), sizes


def test_a_rehearsal_measures_every_stage_and_leaves_the_experiment_as_it_was(clone: Clone) -> None:
    before = state(clone)
    found = rehearse(clone)
    assert state(clone) == before and not (clone.folder / ".gift" / "rehearsal").exists()
    assert found["failures"] == [] and {each["mark"] for each in found["findings"]} <= {"ok", "info", "warn"}
    stages = stages_of(found)
    assert len(stages) == len(found["stages"]) == 24  # as many as the experiment has
    trained = stages["finetune", "gift", "digits"]
    assert trained["peaks"]["process"] > 1e8 and trained["bytes"] > 1e6
    assert found["whole_seconds"] == pytest.approx(sum(each["seconds"] for each in stages.values()), abs=1)
    doctor = clone.run(sys.executable, "-m", "stages", "doctor", "--time")
    assert f"measured {found['date']}" in doctor and "time of finetune" in doctor
    params = clone.params
    params["training"]["iterations"] = 4000  # how much is no reason to measure again
    clone.write_params(params)
    assert f"measured {found['date']}" in clone.run(sys.executable, "-m", "stages", "doctor", "--time")
    params["training"]["batch_size"] = 9
    clone.write_params(params)
    said = clone.run(sys.executable, "-m", "stages", "doctor", "--time")
    assert f"not measured since training changed in params.yaml ({found['date']}): gift rehearse (at least " in said


@pytest.mark.thorough
def test_a_failure_is_named_with_its_stage_and_what_does_not_depend_on_it_is_rehearsed(clone: Clone) -> None:
    (clone.folder / "planted.py").write_text(PLANTED, encoding="utf-8")
    params = clone.params
    params["methods"]["gift"]["losses"]["planted"] = {"file": "planted.py", "weight": 1.0}
    clone.write_params(params)
    found = rehearse(clone, expect=1)
    (failure,) = found["failures"]
    assert (failure["stage"], "the planted failure" in failure["error"]) == (FAILS, True)
    assert failure["skipped"] == 2  # evaluate@gift-step1, report
    assert failure["after_seconds"] > 0
    assert ("evaluate", "finetune", "digits") in {
        (each["stage"], each["method"], each["task"]) for each in found["stages"]
    }
    few = rehearse(clone, "--methods", "finetune", "--tasks", "digits")
    assert {task for _, _, task in stages_of(few)} == {"", "digits", "arrows"} and few["failures"] == []


@pytest.mark.thorough
def test_ctrl_c_leaves_nothing(clone: Clone) -> None:
    before, folder = state(clone), clone.folder / ".gift" / "rehearsal"
    command = [sys.executable, "-m", "stages", "rehearse"]
    process = subprocess.Popen(command, cwd=clone.folder, env=clone.environment, start_new_session=True)
    wait(lambda: (folder / "data" / "5_models" / "pretrained").is_dir(), "a stage")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert state(clone) == before and not folder.exists()

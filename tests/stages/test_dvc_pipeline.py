"""Whether another process works on a project, how long a run will take, and what changes while DVC runs a stage."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from gift_core.errors import UserError
from stages.check import check
from stages.commands import why
from stages.dvc.pipeline import open_pipeline, require_free
from stages.dvc.time_left import describe
from stages.open_stage import open_stage


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {first: {cmd: echo first > first.txt, outs: [first.txt]}}\n")
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
    return tmp_path


def test_a_later_process_with_the_number_of_a_killed_one_does_not_block(project: Path) -> None:
    left_over = project / ".dvc" / "tmp" / "rwlock"
    left_over.write_text(json.dumps({"write": {"first.txt": {"pid": os.getpid(), "cmd": "dvc repro"}}}))
    with pytest.raises(UserError, match=rf"works on this project: `dvc repro` \(process {os.getpid()}\)"):
        require_free(project)
    os.utime(left_over, (0, 0))
    require_free(project)


@pytest.mark.parametrize("content", ["", '{"write": {"fir', "[]", '{"write": {"first.txt": 3}}'])
def test_a_list_of_running_stages_that_ctrl_c_damaged_is_removed(
    project: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    damaged = project / ".dvc" / "tmp" / "rwlock"
    damaged.write_text(content)
    assert subprocess.run(["dvc", "repro", "--quiet"]).returncode != 0
    require_free(project)
    assert "DVC's list of running stages, .dvc/tmp/rwlock, was damaged" in capsys.readouterr().err
    subprocess.run(["dvc", "repro", "--quiet"], check=True)


def test_a_dependency_outside_the_project_and_an_apostrophe_in_a_command_are_understood(project: Path) -> None:
    stage = {"cmd": "echo it's", "deps": [__file__], "outs": ["first.txt"]}
    (project / "dvc.yaml").write_text(json.dumps({"stages": {"first": stage}}))
    with open_pipeline() as pipeline:
        assert pipeline.expected_seconds() == {} and [*pipeline.changes("first").deps] == [__file__]


@pytest.mark.parametrize(("elapsed", "left"), [(5, "6.0 min"), (300, "6.0 min"), (660, "12 min")])
def test_the_time_left_follows_a_run_that_is_slower_than_expected(elapsed: float, left: str) -> None:
    assert describe(12, 40, 360.0, done=300.0, elapsed=elapsed) == f"stage 12 of 40, about {left} left"


def test_before_the_first_run_gift_why_names_the_command_that_measures_it() -> None:
    said = why.describe({"run": 2, "of": 24, "follow": 0, "seconds": 0.0, "without_time": 2})
    assert said == "2 of 24 stages would run. How long they take is not known yet: `gift rehearse` measures it."


def test_under_dvc_a_stage_refuses_other_code_than_that_of_check_and_settings_that_change_meanwhile(
    mini_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, code = mini_project / "params.yaml", mini_project / "data/code/finetune/gift.json"
    check(params, mini_project)
    text, state = params.read_text(encoding="utf-8"), json.loads(code.read_text(encoding="utf-8"))
    changed = text.replace("temperature: 2.0", "temperature: 2.5")

    def run(edited: str) -> None:
        with open_stage("finetune", params, mini_project, method="gift", task="letters"):
            params.write_text(edited, encoding="utf-8")
        params.write_text(text, encoding="utf-8")

    run(changed)  # by hand: nothing is recorded
    monkeypatch.setenv("DVC_STAGE", "finetune@gift-step1")
    run(text)
    run(text.replace("    consolidation: {kind: adaptive", "    label: GIFT\n    consolidation: {kind: adaptive"))
    for edited, message in (
        (changed, "methods.gift.losses changed while finetune"),
        (f"{text}[", "edited while finetune ran"),
        ("", "changed while finetune ran"),
    ):
        with pytest.raises(UserError, match=message):
            run(edited)
        params.write_text(text, encoding="utf-8")
    code.write_text(json.dumps(state | {"edited": state.get("edited", {}) | {"a.py: distill": ""}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"after `check` ran, .* other code"):
        run(text)

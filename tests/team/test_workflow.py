"""The GitHub workflow for users: valid by GitHub's schema, and its scripts run in clones of a project."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clone import Clone, clone_of, commit, new_project
from tests.imports import ROOT
from tests.team.toy import change, toy_clone

FILE = ROOT / "gift_core" / "new_project" / "template" / ".github" / "workflows" / "gift.yaml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["check"]["steps"]


def run(clone: Clone, name: str, **variables: str) -> str:
    """Runs a step as GitHub does: bash -e, with pipefail only for `shell: bash`. Returns what it prints."""
    (step,) = [step for step in STEPS if step.get("name") == name]
    pipefail = ["-o", "pipefail"] if step.get("shell") == "bash" else []
    done = subprocess.run(
        ["bash", "-e", *pipefail, "-c", step["run"]],
        cwd=clone.folder,
        env=clone.environment | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_workflow_is_valid_by_githubs_schema(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    assert subprocess.run([*command, str(FILE)], capture_output=True).returncode == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(FILE.read_text(encoding="utf-8").replace("runs-on:", "run-on:"), encoding="utf-8")
    assert subprocess.run([*command, str(wrong)], capture_output=True).returncode == 1


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint_finds_nothing() -> None:
    done = subprocess.run(["actionlint", str(FILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_actions_are_pinned_and_rights_are_few() -> None:
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert actions and all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert WORKFLOW["jobs"]["check"]["permissions"] == {"contents": "read", "pull-requests": "write"}


def test_no_script_contains_an_expression() -> None:
    """Text of a pull request in `run` would be run by the shell. It goes through env instead."""
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]


@pytest.fixture
def checkout(first: Clone, tmp_path: Path) -> Clone:
    """A clone without data, as on GitHub's machine."""
    clone = clone_of(first, tmp_path / "checkout")
    return toy_clone(clone.folder)


def test_results_that_fit_params_yaml_plan_nothing(checkout: Clone, tmp_path: Path) -> None:
    said = run(checkout, "plan the pipeline")
    assert "::warning::" not in said
    assert "Running stage" not in (checkout.folder / "plan.txt").read_text(encoding="utf-8")


def test_a_pull_request_gets_its_metrics_against_the_target_branch(
    first: Clone, checkout: Clone, tmp_path: Path
) -> None:
    first.run("git", "switch", "--quiet", "--create", "longer")
    change(first, ("iterations: 10", "iterations: 20"))
    checkout.run("git", "fetch", "--quiet", "origin", "longer")
    checkout.run("git", "switch", "--quiet", "longer")
    assert "::warning::" not in run(checkout, "plan the pipeline")
    run(checkout, "compare the metrics", TARGET="origin/main", GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))
    comment = (checkout.folder / "comment.md").read_text(encoding="utf-8")
    assert (tmp_path / "summary").read_text(encoding="utf-8") == comment
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in comment.splitlines() if "finetune.last" in line
    ]
    assert rows == [["reports/metrics.json", "finetune.last", "10.0", "20.0", "10.0"]]
    assert "older than params.yaml" not in comment


def test_results_that_were_not_computed_are_named(checkout: Clone, tmp_path: Path) -> None:
    checkout.edit("params.yaml", "iterations: 10", "iterations: 30")
    commit(checkout, "a value without its results")
    said = run(checkout, "plan the pipeline")
    assert "::warning::dvc.lock does not fit params.yaml." in said
    run(checkout, "compare the metrics", TARGET="origin/main", GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))
    assert "`dvc repro` has stages to run" in (checkout.folder / "comment.md").read_text(encoding="utf-8")


def test_a_pipeline_that_dvc_cannot_read_fails(checkout: Clone) -> None:
    checkout.edit("dvc.yaml", "    cmd: python toy.py start", "    cmmd: python toy.py start")
    with pytest.raises(AssertionError, match="cmmd"):
        run(checkout, "plan the pipeline")


@pytest.fixture
def project(tmp_path: Path) -> Clone:
    """A project of `gift init` that has not run, with `gift` on the PATH."""
    project = new_project(tmp_path / "project")
    program = tmp_path / "bin" / "gift"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m stages "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    project.environment["PATH"] = f"{program.parent}:{project.environment['PATH']}"
    return project


def test_a_pull_request_that_is_worse_than_its_target_fails(project: Clone, tmp_path: Path) -> None:
    metrics, summary = project.folder / "reports" / "metrics.json", tmp_path / "summary"
    metrics.parent.mkdir(exist_ok=True)
    row = {"transfer": 67.5, "avg": 75.2, "last": 80.2, "forgetting": 7.7}
    metrics.write_text(json.dumps({"gift": row}), encoding="utf-8")
    commit(project, "a result")
    variables = {"TARGET": "target", "GITHUB_STEP_SUMMARY": str(summary)}
    project.run("git", "branch", "target")
    assert run(project, "may it be shipped", **variables).startswith("Yes: gift has Last 80.2")
    metrics.write_text(json.dumps({"gift": row | {"last": 78.0}}), encoding="utf-8")
    with pytest.raises(AssertionError, match="No: gift has Last 78.0"):
        run(project, "may it be shipped", **variables)
    assert [line.split(":")[0] for line in summary.read_text(encoding="utf-8").splitlines()] == ["Yes", "No"]


def test_the_check_of_params_yaml_needs_no_data(project: Clone) -> None:
    run(project, "check params.yaml")
    project.edit("params.yaml", "  iterations: 60 ", "  iterations: -1 ")
    with pytest.raises(AssertionError, match="training.iterations: should be at least 1"):
        run(project, "check params.yaml")


def test_without_the_secrets_of_a_remote_nothing_is_pulled(checkout: Clone) -> None:
    assert run(checkout, "get the report", AWS_ACCESS_KEY_ID="") == ""

"""The GitHub workflows: valid, with few rights; the scripts of the one for users run in clones of a project."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clone import Clone, clone_of, commit, new_project, write_program
from tests.imports import ROOT
from tests.team.toy import run_and_push, toy_clone, write_gift

OURS = ROOT / ".github" / "workflows" / "tests.yml"
THEIRS = ROOT / "gift_core" / "new_project" / "template" / ".github" / "workflows" / "gift.yaml"
STEPS: list[dict[str, Any]] = yaml.safe_load(THEIRS.read_text(encoding="utf-8"))["jobs"]["check"]["steps"]


def run(clone: Clone, name: str, *, fails: bool = False, **variables: str) -> str:
    """Runs a step as GitHub does: bash -e, with pipefail only for `shell: bash`. Returns what it prints.

    No variable of the repository is set, except by `variables`.
    """
    (step,) = [step for step in STEPS if step.get("name") == name]
    defaults = {
        key: re.fullmatch(r"\$\{\{ vars\.\w+(?: \|\| '(.*)')? \}\}", text) for key, text in step.get("env", {}).items()
    }
    variables = {key: found[1] or "" for key, found in defaults.items() if found} | variables
    pipefail = ["-o", "pipefail"] if step.get("shell") == "bash" else []
    command = ["bash", "-e", *pipefail, "-c", step["run"]]
    return clone.run(*command, expect=int(fails), **variables)


@pytest.fixture
def checkout(first: Clone, tmp_path: Path) -> Clone:
    """A clone without data, as on GitHub's machine."""
    return toy_clone(clone_of(first, tmp_path / "checkout").folder)


def test_a_pull_request_gets_its_metrics_against_its_target(first: Clone, checkout: Clone, tmp_path: Path) -> None:
    assert run(checkout, "get the report", AWS_ACCESS_KEY_ID="") == ""  # without the secrets of a remote
    first.run("git", "switch", "--quiet", "--create", "longer")
    first.edit("params.yaml", "iterations: 10", "iterations: 20")
    run_and_push(first)
    checkout.run("git", "fetch", "--quiet", "origin", "longer")
    checkout.run("git", "switch", "--quiet", "longer")
    assert "::warning::" not in run(checkout, "plan the pipeline")
    assert "Running stage" not in (checkout.folder / "plan.txt").read_text(encoding="utf-8")
    summary = tmp_path / "summary"
    run(checkout, "compare the metrics", TARGET="origin/main", GITHUB_STEP_SUMMARY=str(summary))
    comment = (checkout.folder / "comment.md").read_text(encoding="utf-8")
    assert summary.read_text(encoding="utf-8") == comment and "older than params.yaml" not in comment
    (line,) = [line for line in comment.splitlines() if "finetune.last" in line]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == ["reports/metrics.json", "finetune.last", "10.0", "20.0", "10.0"]


def test_a_pull_request_that_is_worse_than_its_target_or_has_bad_params_fails(tmp_path: Path) -> None:
    """In a project of `gift init` that has not run."""
    project = new_project(tmp_path / "project")
    write_gift(tmp_path / "bin", sys.executable)
    project.environment["PATH"] = f"{tmp_path / 'bin'}:{project.environment['PATH']}"
    metrics, summary = project.folder / "reports" / "metrics.json", tmp_path / "summary"
    metrics.parent.mkdir(exist_ok=True)
    row = {"transfer": 67.5, "avg": 75.2, "last": 80.2, "forgetting": 7.7}
    metrics.write_text(json.dumps({"gift": row}), encoding="utf-8")
    commit(project, "a result")
    variables = {"TARGET": "target", "GITHUB_STEP_SUMMARY": str(summary)}
    project.run("git", "branch", "target")
    first = run(project, "may it be shipped", **variables | {"TARGET": "target~1"})
    assert "Last 80.2 (at least 0 is asked). Not compared with target~1, which has no result yet." in first
    summary.unlink()
    variables["LIMITS"] = "--max-forgetting 10 --min-last 60"
    assert run(project, "may it be shipped", **variables).startswith("Yes: gift has Last 80.2")
    metrics.write_text(json.dumps({"gift": row | {"last": 78.0}}), encoding="utf-8")
    assert "No: gift has Last 78.0" in run(project, "may it be shipped", fails=True, **variables)
    assert [line.split(":")[0] for line in summary.read_text(encoding="utf-8").splitlines()] == ["Yes", "No"]
    run(project, "check params.yaml")
    project.edit("params.yaml", "  iterations: 60 ", "  iterations: -1 ")
    assert "training.iterations: should be greater than or equal to 1" in run(project, "check params.yaml", fails=True)


def test_a_project_installs_the_version_of_its_requirements_and_a_clone_itself(tmp_path: Path) -> None:
    write_program(tmp_path / "bin" / "pip", 'echo "$PIP_FIND_LINKS: $@"')
    folder = Clone(tmp_path)
    path = f"{tmp_path / 'bin'}:{folder.environment['PATH']}"
    assert run(folder, "install", PATH=path) == ": install --requirement requirements.txt\n"
    assert run(folder, "install", PATH=path, PIP_FIND_LINKS="wheels").startswith("wheels: ")
    (tmp_path / "gift_core").mkdir()
    assert run(folder, "install", PATH=path) == ": install --constraint constraints.txt --editable .\n"


def test_the_workflows_are_valid_their_actions_are_pinned_and_their_rights_are_few() -> None:
    schema = ["--builtin-schema", "vendor.github-workflows"]
    Clone(ROOT).run(sys.executable, "-m", "check_jsonschema", *schema, str(OURS), str(THEIRS))
    # Text of a pull request in `run` would be run by the shell. It goes through env instead.
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]
    rights = {OURS: {"test": None, "test-all": None}, THEIRS: {"check": {"contents": "read", "pull-requests": "write"}}}
    for file, expected in rights.items():
        workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        actions = [step["uses"] for step in steps if "uses" in step]
        assert actions and all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
        assert workflow["permissions"] == {"contents": "read"}
        assert {name: job.get("permissions") for name, job in workflow["jobs"].items()} == expected

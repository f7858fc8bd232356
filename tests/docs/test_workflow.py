"""The GitHub workflow with the checks of this repository: valid by GitHub's schema, and it calls targets that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import yaml

from tests.imports import ROOT

FILE = ROOT / ".github" / "workflows" / "tests.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_the_workflow_is_valid_by_githubs_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_step_calls_a_target_of_make() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = [step["run"] for step in STEPS if "run" in step]
    assert called == [f"make {target} PYTHON=python" for target in ("lint", "test", "test-all")]
    assert {"lint", "test", "test-all"} <= targets


def test_actions_are_pinned_and_may_only_read() -> None:
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert actions and all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in WORKFLOW["jobs"].values())


def test_the_oldest_and_the_newest_python_are_tested() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (oldest,) = re.findall(r'requires-python = ">=([\d.]+)"', pyproject)
    assert WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"] == [oldest, "3.13"]

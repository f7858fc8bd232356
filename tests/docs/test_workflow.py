"""The GitHub workflows of this repository and of its users: valid by GitHub's schema, with few rights."""

from __future__ import annotations

import re
import subprocess
import sys

import yaml

from tests.imports import ROOT

OURS = ROOT / ".github" / "workflows" / "tests.yml"
THEIRS = ROOT / "gift_core" / "new_project" / "template" / ".github" / "workflows" / "gift.yaml"


def test_the_workflows_are_valid_by_githubs_schema() -> None:
    schema = ["--builtin-schema", "vendor.github-workflows"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(OURS), str(THEIRS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_and_rights_are_few() -> None:
    rights = {OURS: {"test": None, "test-all": None}, THEIRS: {"check": {"contents": "read", "pull-requests": "write"}}}
    for file, expected in rights.items():
        workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        actions = [step["uses"] for step in steps if "uses" in step]
        assert actions and all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
        assert workflow["permissions"] == {"contents": "read"}
        assert {name: job.get("permissions") for name, job in workflow["jobs"].items()} == expected

"""The test suite on a machine that has only Python, git and make: what needs another program is skipped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import ROOT

OPTIONAL = re.search(r'^optional="(.*)"$', (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
# The tests that look for a program on the PATH.
USERS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "tests").rglob("test_*.py")
    if re.search(r"shutil\.which|chromium\(\)", path.read_text(encoding="utf-8")) and path != Path(__file__)
)
COSTLY = ("test_snippets.py", "test_wheel.py")  # they run the whole pipeline; .ci/run has them


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of a new user: an empty home, no SHELL, and a PATH of links without the optional programs."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            link = programs / program.name
            if program.name not in OPTIONAL and not link.is_symlink() and os.access(program, os.X_OK):
                link.symlink_to(program)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SHELL", "COLUMNS"))}
    return {**kept, "PATH": str(programs), "HOME": str(home)}


def run_pytest(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 5), done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


def test_all_tests_are_collected(environment: dict[str, str]) -> None:
    assert all(shutil.which(name, path=environment["PATH"]) is None for name in OPTIONAL)
    numbers = re.findall(r"^tests/.*: (\d+)$", run_pytest(environment, "--collect-only", "-q", "-m", ""), re.MULTILINE)
    assert sum(map(int, numbers)) > 2000


def test_what_needs_another_program_is_skipped_with_a_reason(environment: dict[str, str]) -> None:
    files = [name for name in USERS if not name.endswith(COSTLY)]
    assert len(files) > 3
    printed = run_pytest(environment, "-m", "not slow and not hostile and not gpu and not end_to_end", *files)
    reasons = {line.split(": ", 1)[1] for line in re.findall(r"^SKIPPED .*$", printed, re.MULTILINE)}
    assert any("hrom" in reason for reason in reasons)
    assert " failed" not in printed

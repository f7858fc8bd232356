"""DVC: its repository, and whether its remote can be reached. Asked through its command line, with a time limit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from gift_core.doctor.finding import Finding
from gift_core.errors import UserError

PATIENCE = 8.0  # seconds that the remote has
LATER = "Until then everything stays on this machine: `dvc repro` works, `dvc push` and `dvc pull` do not."


def check_store(root: Path) -> Iterator[Finding]:
    """Yields DVC's version, whether `root` is one of its repositories, and whether its default remote answers.

    UserError where DVC's settings cannot be read.
    """
    place = root.resolve()
    if not (root / ".dvc").is_dir():
        yield Finding("dvc", "fail", f"{place} is no DVC repository", "Run in the project's root, or: dvc init")
        return
    settings = read_settings(root)
    in_git = any((folder / ".git").exists() for folder in (place, *place.parents))
    if not in_git and settings.get("core.no_scm") != "True":
        yield Finding("dvc", "fail", f"{place} is no git repository, which DVC expects", "Run: git init")
        return
    yield Finding("dvc", "ok", f"{metadata.version('dvc')}, repository {place}")
    yield check_remote(root, settings)


def check_remote(root: Path, settings: Mapping[str, str]) -> Finding:
    """Returns whether the default remote of DVC's `settings` answers; without one there is nothing to check."""
    name = settings.get("core.remote")
    if name is None:
        return Finding("dvc remote", "info", "none", "To share results: dvc remote add -d store s3://bucket/gift")
    address = settings.get(f"remote.{name}.url", "no address")
    try:
        answer = _dvc(root, "ls-url", f"remote://{name}", patience=PATIENCE)
    except subprocess.TimeoutExpired:
        return Finding("dvc remote", "fail", f"{name} ({address}) did not answer within {PATIENCE:.0f} s", LATER)
    if answer.returncode == 0:
        return Finding("dvc remote", "ok", f"{name} ({address}) answers")
    reason = _reason(answer)
    if "does not exist" in reason:
        what = f"{name}: nothing lies at {address} yet"
        return Finding("dvc remote", "warn", what, "The first dvc push makes it, if the address is right.")
    return Finding("dvc remote", "fail", f"{name} ({address}): {reason}", LATER)


def read_settings(root: Path) -> dict[str, str]:
    """Returns DVC's settings, of all places where it keeps some: {"core.remote": "store", ...}.

    UserError where they cannot be read.
    """
    listed = _dvc(root, "config", "--list")
    if listed.returncode != 0:
        raise UserError(f"DVC's settings cannot be read ({_reason(listed)}). Correct .dvc/config.")
    pairs = (line.partition("=") for line in listed.stdout.splitlines())
    return {key: value for key, _, value in pairs}


def _dvc(root: Path, *words: str, patience: float | None = None) -> subprocess.CompletedProcess[str]:
    """Runs DVC without its telemetry; TimeoutExpired where it takes more than `patience` seconds."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=patience)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """DVC's error in its first line."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    error = next((line for line in lines if line.startswith("ERROR:")), lines[0] if lines else "no reason given")
    return error.removeprefix("ERROR:").strip()

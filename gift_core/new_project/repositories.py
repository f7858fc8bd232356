"""git and DVC for a new project: which repository it belongs to, and what makes it one."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from gift_core.doctor.storage import dvc_error, run_dvc
from gift_core.errors import UserError

STAGED = (".dvc", ".dvcignore")  # what `dvc init` adds to git's index


def find_repository(folder: Path) -> Path | None:
    """Returns the root of the git repository that contains `folder`, which need not exist. None if there is none.

    UserError if git is not installed, or refuses the repository.
    """
    if shutil.which("git") is None:
        raise UserError("git: not found. A project keeps its history in git, and DVC needs it. Install git.")
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    found = _git(existing, "rev-parse", "--show-toplevel")
    if found.returncode == 0:
        return Path(found.stdout.strip())
    if any(os.path.lexists(parent / ".git") for parent in (existing, *existing.parents)):
        raise UserError(f"git: {_reason(found)}. Correct that, or name a folder outside of this repository.")
    return None


def start_git(folder: Path, undo: ExitStack) -> None:
    """Makes `folder` a git repository."""
    undo.callback(shutil.rmtree, folder / ".git", ignore_errors=True)
    done = _git(folder, "init", "--quiet")
    if done.returncode != 0:
        raise UserError(f"git init: {_reason(done)}")


def start_dvc(folder: Path, repository: Path, undo: ExitStack) -> None:
    """Makes `folder` a DVC repository. It is the root of the git `repository`, or a folder in it."""
    subdirectory = [] if folder.samefile(repository) else ["--subdir"]
    undo.callback(_forget, folder)
    done = run_dvc(folder, "init", "--quiet", *subdirectory)
    if done.returncode != 0:
        raise UserError(f"dvc init: {dvc_error(done)}")


def set_merge_drivers(repository: Path) -> None:
    """Tells git how to merge dvc.lock and reports/metrics.json (.gitattributes). Drivers that are set already stay."""
    command = Path(sys.executable).with_name("gift")
    gift = shlex.quote(str(command)) if command.is_file() else "gift"
    settings = {
        "merge.dvc-lock.name": "stages of dvc.lock",
        "merge.dvc-lock.driver": f"{gift} merge-lock %O %A %B",
        "merge.ours.driver": "true",
    }
    for name, value in settings.items():
        if _git(repository, "config", "--get", name).returncode != 0:
            done = _git(repository, "config", "--local", name, value)
            if done.returncode != 0:
                raise UserError(f"git config {name}: {_reason(done)}")


def _forget(folder: Path) -> None:
    """Removes what `dvc init` made, from git's index, too."""
    _git(folder, "rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", *STAGED)
    shutil.rmtree(folder / ".dvc", ignore_errors=True)
    (folder / ".dvcignore").unlink(missing_ok=True)


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, encoding="utf-8")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Returns the first line of git's error."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return (lines[0] if lines else "no reason given").removeprefix("fatal: ").rstrip(".")

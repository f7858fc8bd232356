"""Builds the distributions of this repository from a copy, so that no folder build/ is left or reused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.imports import ROOT

LEFT_OUT = ("tests/", "benchmarks/", "docs/")  # no part of a distribution


def copy_of_repository(folder: Path) -> Path:
    """Copies what git has, or would add, to `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith(LEFT_OUT):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def build(source: Path, kind: str, out: Path) -> Path:
    """Builds a "wheel", an "sdist" or an "editable" wheel from the folder `source`, without a network."""
    out.mkdir(parents=True, exist_ok=True)
    script = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", script, f"build_{kind}", str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"[-4000:]
    (file,) = out.iterdir()
    return file

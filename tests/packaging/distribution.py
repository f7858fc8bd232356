"""Builds the distributions of this repository from a copy, so that no folder build/ is left or reused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NO_PART = ("tests/", "benchmarks/", "docs/decisions/")  # of a distribution


def build(source: Path, kind: str, out: Path) -> Path:
    """Builds a "wheel" or an "sdist" from the folder `source`, without a network."""
    out.mkdir(parents=True, exist_ok=True)
    script = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", script, f"build_{kind}", str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"[-4000:]
    (file,) = out.iterdir()
    return file

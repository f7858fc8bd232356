"""`gift run` against `dvc repro`, with the stages of the miniature on a very small experiment."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from tests.clone import RESULTS, Clone, copy_of_repository, small

pytestmark = pytest.mark.end_to_end


def hashes(clone: Clone) -> dict[str, str]:
    """Returns {path: hash} of every output, of dvc.lock, and of the runs in the run cache."""
    files = [clone.folder / name for name in (*clone.outputs(), "dvc.lock")]
    runs = (clone.folder / ".dvc" / "cache" / "runs").glob("*/*/*")
    found = {str(file.relative_to(clone.folder)): file.read_bytes() for file in (*files, *runs)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def test_two_workers_write_the_bytes_and_the_lock_file_of_dvc_repro(first_result: Path, tmp_path: Path) -> None:
    clone = Clone(copy_of_repository(tmp_path / "fresh", left_out=RESULTS))
    clone.write_params(small(clone.params))
    clone.run("git", "init", "--quiet")
    assert "22 done" in clone.run(sys.executable, "-m", "stages", "run", "--workers", "2")
    assert hashes(clone) == hashes(Clone(first_result / "gift"))
    assert clone.repro() == []

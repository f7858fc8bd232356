"""`gift run` against `dvc repro`, with the stages of the miniature on a very small experiment."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.clone import RESULTS, Clone, copy_of, copy_of_repository, small

pytestmark = pytest.mark.end_to_end


def hashes(clone: Clone) -> dict[str, str]:
    """Returns {path: hash} of every output, of dvc.lock, and of the runs in the run cache."""
    files = [clone.folder / name for name in (*clone.outputs(), "dvc.lock")]
    runs = (clone.folder / ".dvc" / "cache" / "runs").glob("*/*/*")
    return {
        str(file.relative_to(clone.folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in (*files, *runs)
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone of the small experiment in which nothing has run."""
    clone = Clone(copy_of_repository(tmp_path_factory.mktemp("run") / "fresh", left_out=RESULTS))
    clone.write_params(small(clone.params))
    clone.run("git", "init", "--quiet")
    return clone


def beside(clone: Clone, name: str) -> Clone:
    """A copy of the clone in the same folder."""
    return copy_of(clone.folder, clone.folder.with_name(name))


def gift_run(clone: Clone, *arguments: str) -> str:
    return clone.run(sys.executable, "-m", "stages", "run", *arguments)


@pytest.fixture(scope="module")
def expected(first_result: Path) -> dict[str, str]:
    """What one `dvc repro` writes."""
    return hashes(Clone(first_result / "gift"))


@pytest.mark.parametrize(
    "workers", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_any_number_of_workers_writes_the_bytes_and_the_lock_file_of_dvc_repro(
    fresh: Clone, expected: dict[str, str], workers: int
) -> None:
    clone = beside(fresh, f"workers{workers}")
    assert "22 done" in gift_run(clone, "--workers", str(workers))
    assert hashes(clone) == expected
    assert clone.repro() == []


@pytest.mark.slow
def test_what_one_way_of_running_has_cached_the_other_restores(
    fresh: Clone, expected: dict[str, str], first_result: Path
) -> None:
    clone = beside(fresh, "restored")
    shutil.copytree(first_result / "gift" / ".dvc" / "cache", clone.folder / ".dvc" / "cache")
    printed = gift_run(clone, "--workers", "2")
    assert "3 done, 19 restored" in printed  # DVC caches no run of a stage with `persist: true`: check, ingest
    assert hashes(clone) == expected
    params = clone.params
    params["sequence"][1]["learning_rate_factor"] = 0.5  # the last step alone
    clone.write_params(params)
    assert "16 unchanged" in gift_run(clone, "--workers", "2")
    assert clone.repro() == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["synthesize", "teach", "finetune", "evaluate"])
def test_a_stage_whose_worker_is_killed_runs_again_to_the_same_bytes(
    fresh: Clone, expected: dict[str, str], stage: str
) -> None:
    clone = beside(fresh, f"killed_{stage}")
    command = [sys.executable, "-m", "stages", "run", "--workers", "2"]
    run = subprocess.Popen(
        command, cwd=clone.folder, env=clone.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    worker = None
    while worker is None:  # the first instance of the stage
        time.sleep(0.05)
        assert run.poll() is None
        for process in psutil.Process(run.pid).children(recursive=True):
            with suppress(psutil.Error):
                if ["-m", "stages", stage] == process.cmdline()[1:4]:
                    worker = process.parent()
    time.sleep(1)  # the libraries are imported
    worker.kill()
    printed, _ = run.communicate(timeout=300)
    assert run.returncode == 0, printed
    assert "its worker was lost" in printed and "attempt 2 of 3" in printed and "22 done" in printed
    assert hashes(clone) == expected

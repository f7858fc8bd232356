"""`gift run` against `dvc repro`, with the stages of the miniature on a very small experiment."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from tests.end_to_end.test_pipeline import Clone, small
from tests.imports import ROOT

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
    """A clone in which nothing has run. The number of threads is the same for all that runs in it."""
    folder = tmp_path_factory.mktemp("run") / "fresh"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file() and name not in ("dvc.lock", "reports/metrics.json"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    clone = Clone(folder)
    params = small(clone.params)
    params["training"] |= {"iterations": 2, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
    params["prompts"] |= {"images_per_task": 8}
    params["generator"] |= {"images_per_shard": 8, "steps": 2, "batch_size": 8}
    for row in params["tasks"].values():
        row |= {"train_images": 40, "test_images": 40}
    clone.write_params(params)
    clone.run("git", "init", "--quiet")
    return clone


def copy_of(clone: Clone, name: str) -> Clone:
    folder = clone.folder.parent / name
    shutil.copytree(clone.folder, folder, symlinks=True)
    copy = Clone(folder)
    copy.environment["OMP_NUM_THREADS"] = "1"  # the number of threads changes the last bits on a CPU
    return copy


def gift_run(clone: Clone, *arguments: str) -> str:
    return clone.run(sys.executable, "-m", "stages", "run", *arguments)


@pytest.fixture(scope="module")
def expected(fresh: Clone) -> dict[str, str]:
    """What one `dvc repro` writes."""
    clone = copy_of(fresh, "repro")
    assert len(clone.repro()) == 22
    return hashes(clone)


@pytest.mark.parametrize(
    "workers", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_any_number_of_workers_writes_the_bytes_and_the_lock_file_of_dvc_repro(
    fresh: Clone, expected: dict[str, str], workers: int
) -> None:
    clone = copy_of(fresh, f"workers{workers}")
    assert "22 done" in gift_run(clone, "--workers", str(workers))
    assert hashes(clone) == expected
    assert clone.repro() == []


def test_what_one_way_of_running_has_cached_the_other_restores(fresh: Clone, expected: dict[str, str]) -> None:
    clone = copy_of(fresh, "restored")
    shutil.copytree(fresh.folder.parent / "repro" / ".dvc" / "cache", clone.folder / ".dvc" / "cache")
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
    clone = copy_of(fresh, f"killed_{stage}")
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

"""`gift run` on a toy pipeline, with real DVC, real Ray and real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.stages.toy_pipeline import ToyPipeline, ended, stage_process, wait

pytestmark = pytest.mark.end_to_end
TEXTS = {
    "first.txt": "first()",
    "last.txt": "last(left(first()),right(first()))",
    "left.txt": "left(first())",
    "right.txt": "right(first())",
}
KILLED_SECONDS = 10  # after `gift run` was killed; Ray's agents would live for a minute


@pytest.fixture
def toy(tmp_path: Path) -> ToyPipeline:
    return ToyPipeline(tmp_path / "toy")


def left_behind(folder: Path) -> list[str]:
    """Returns the processes that work in a folder: those of Ray, of stages and the fork server."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if Path(process.info["cwd"] or "/").is_relative_to(folder):
            found.append(" ".join(process.info["cmdline"] or []))
    return found


def test_it_writes_the_lock_file_of_dvc_repro_and_leaves_nothing_to_run_and_no_process(tmp_path: Path) -> None:
    toy, other = ToyPipeline(tmp_path / "toy"), ToyPipeline(tmp_path / "other")
    printed = toy.run()
    other.repro()
    assert "4 done" in printed and "last: started (stage 4 of 4, about " in printed
    assert toy.texts() == other.texts() == TEXTS
    assert toy.lock == other.lock
    assert "Running stage" not in toy.repro()
    again = toy.run()
    assert "4 unchanged: there is nothing to run." in again and "workers" not in again  # without Ray
    assert len(toy.runs) == 4
    wait(lambda: not left_behind(tmp_path), "the end of Ray")


def test_the_run_cache_is_filled_and_used_both_ways(toy: ToyPipeline) -> None:
    def remove_results() -> None:
        for file in (toy.folder / "dvc.lock", *(toy.folder / "out").iterdir()):
            file.unlink()

    toy.run()
    remove_results()
    assert "is cached - skipping run" in toy.repro()
    lock = toy.lock
    remove_results()
    printed = toy.run()
    assert "4 restored" in printed and "left: restored from the run cache" in printed
    assert toy.lock == lock
    assert toy.texts() == TEXTS
    assert len(toy.runs) == 4


def test_a_failed_stage_is_named_with_its_last_lines_and_is_not_run_again(toy: ToyPipeline) -> None:
    toy.fail("left")
    printed = toy.run(expect=1)
    assert "failed: left" in printed and "| error: the reason of left" in printed
    assert "error: gift run: failed: left (exit code 1)" in printed and "run it again" in printed
    assert "last: skipped, because left failed" in printed
    assert toy.runs.count("left") == 1 and "last" not in toy.runs
    (toy.folder / "fails" / "left").unlink()
    toy.run()
    assert toy.texts() == TEXTS
    assert toy.runs.count("first") == 1


def test_keep_going_and_force_and_a_target_choose_the_stages(tmp_path: Path) -> None:
    toy = ToyPipeline(tmp_path / "toy", {"bad": [], "good": [], "better": ["good"], "worse": ["bad"]})
    toy.fail("bad")
    toy.run("--keep-going", expect=1)
    assert sorted(toy.runs) == ["bad", "better", "good"]
    toy.run("--force", "better")
    assert toy.runs[3:] == ["good", "better"]


def test_a_signal_stops_the_stages_and_records_those_that_have_ended(toy: ToyPipeline) -> None:
    toy.hold("right")
    run = toy.start("--workers", "2")
    toy.wait_for("right")
    wait(lambda: (toy.folder / "out" / "left.txt").exists() and b"left.txt" in toy.lock, "the record of left")
    run.send_signal(signal.SIGINT)
    printed = ended(run, expect=128 + signal.SIGINT)
    assert "The finished stages are recorded. Run it again." in printed
    assert set(toy.texts()) == {"first.txt", "left.txt"}
    wait(lambda: not left_behind(toy.folder), "the end of all processes")
    toy.release("right")
    toy.run()
    assert toy.texts() == TEXTS
    assert (toy.runs.count("first"), toy.runs.count("left"), toy.runs.count("right")) == (1, 1, 2)


def test_beside_a_run_others_are_refused_and_a_killed_one_leaves_no_process_after_ten_seconds(toy: ToyPipeline) -> None:
    toy.hold("left", "right")
    run = toy.start("--workers", "2")
    toy.wait_for("left", "right")  # at once
    processes = psutil.Process(run.pid).children(recursive=True)
    listening = [each.laddr for process in processes for each in process.net_connections() if each.status == "LISTEN"]
    assert len(listening) > 2
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert 8265 not in {address.port for address in listening}  # of Ray's dashboard
    assert "DVC: Unable to acquire lock" in toy.run(expect=1)
    assert "Unable to acquire lock" in toy.repro(expect=255)
    assert len(left_behind(toy.folder)) > 4
    run.kill()
    run.wait()
    wait(lambda: not left_behind(toy.folder), "the end of all processes", seconds=KILLED_SECONDS)
    assert set(toy.texts()) == {"first.txt"}
    toy.release("left", "right")
    assert "last: done" in toy.run()
    assert toy.texts() == TEXTS
    assert (toy.folder / ".gift" / "logs" / "left.log").read_text().endswith("wrote left(first())\n")


def test_beside_dvc_repro_every_command_that_would_disturb_it_names_it_and_what_to_do(toy: ToyPipeline) -> None:
    """DVC's own lock is free while a stage runs."""
    toy.hold("left")
    repro = subprocess.Popen(["dvc", "repro", "left"], cwd=toy.folder, env=toy.environment, stdout=subprocess.DEVNULL)
    toy.wait_for("left")
    message = f"dvc repro left` (process {repro.pid}). Wait until it has ended, or stop it (kill {repro.pid}; "
    for command in (["stages", "run"], ["stages.dvc.fork_server", "dvc", "repro"], ["stages", "verify"]):
        said = toy.clone.run(sys.executable, "-m", *command, expect=1)
        assert "error: another process works on this project: `" in said and message in said
    toy.release("left")
    assert repro.wait() == 0
    toy.clone.run(sys.executable, "-m", "stages.dvc.fork_server", "dvc", "repro")
    assert toy.runs == ["first", "left", "right", "last"]


def test_a_stage_whose_worker_is_killed_runs_again_to_the_same_bytes(toy: ToyPipeline) -> None:
    toy.hold("left")
    run = toy.start("--workers", "2")
    toy.wait_for("left")
    stage = stage_process(run, "left")
    worker = next(each for each in stage.parents() if each.name().startswith("ray::"))  # a shell may be between
    worker.kill()
    wait(lambda: toy.runs.count("left") == 2, "the second attempt")
    toy.release("left")
    assert "attempt 2 of 3" in ended(run)
    assert toy.texts() == TEXTS
    assert "--- " in (toy.folder / ".gift" / "logs" / "left.log").read_text()
    assert "Running stage" not in toy.repro()


def test_a_wrong_argument_and_a_missing_ray_are_refused_before_anything_runs(toy: ToyPipeline, tmp_path: Path) -> None:
    assert "nothing_of_that_name" in toy.run("nothing_of_that_name", expect=1)
    assert "--gpus-per-stage 1.5: should be a whole number" in toy.run("--gpus-per-stage", "1.5", expect=1)
    assert "works on a machine of the cluster" in toy.run("--address", "ray://127.0.0.1:1", expect=1)
    (tmp_path / "ray.py").write_text("raise ImportError\n")
    toy.environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    assert "pip install 'gift-pipeline[ray]'" in toy.run(expect=1)
    assert toy.runs == []

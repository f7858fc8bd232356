"""What the measuring wrapper notes of a command, and that the command does not notice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.smoke.measure import Measured, read_notes, write_shim

MIB = 2**20


def stages_package(folder: Path, body: str) -> None:
    (folder / "stages").mkdir()
    (folder / "stages" / "__init__.py").write_text("")
    (folder / "stages" / "__main__.py").write_text(body)


def run_shimmed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    write_shim(folder / "bin", folder / "notes.jsonl")
    environment = os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}
    command = ["python", *arguments]
    return subprocess.run(
        ["/bin/sh", "-c", '"$@"', "sh", *command], cwd=folder, env=environment, capture_output=True, text=True
    )


def noted(folder: Path, body: str) -> Measured:
    """What is noted of a stage with this code."""
    stages_package(folder, body)
    assert run_shimmed(folder, "-m", "stages", "report").returncode == 0
    return read_notes(folder / "notes.jsonl")[0]


def test_the_peak_is_the_stages_own_memory(tmp_path: Path) -> None:
    held = 300 * MIB
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    assert noted(tmp_path / "small", "pass").peak_bytes < 100 * MIB
    large = noted(tmp_path / "large", f"x = bytearray({held}); x[::4096] = b'1' * len(x[::4096])")
    assert held < large.peak_bytes < held + 100 * MIB


def test_memory_that_was_given_back_counts(tmp_path: Path) -> None:
    assert noted(tmp_path, f"x = b'1' * {200 * MIB}; del x").peak_bytes > 200 * MIB


def test_processor_time_is_not_wall_time(tmp_path: Path) -> None:
    asleep = noted(tmp_path, "import time; time.sleep(0.5)")
    assert asleep.seconds >= 0.5 > asleep.cpu_seconds


def test_a_stage_is_noted_with_its_arguments(tmp_path: Path) -> None:
    stages_package(tmp_path, "import sys; print(sys.argv[1:])")
    done = run_shimmed(tmp_path, "-m", "stages", "finetune", "gift", "mnist", "--learning-rate-factor", "5.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['finetune', 'gift', 'mnist', '--learning-rate-factor', '5.0']"
    assert [note.stage for note in read_notes(tmp_path / "notes.jsonl")] == ["finetune gift mnist"]


def test_other_commands_run_and_are_not_noted(tmp_path: Path) -> None:
    done = run_shimmed(tmp_path, "-c", "print('it runs')")
    assert (done.returncode, done.stdout.strip()) == (0, "it runs")
    assert read_notes(tmp_path / "notes.jsonl") == []


def test_a_failing_stage_fails_as_before(tmp_path: Path) -> None:
    stages_package(tmp_path, "raise SystemExit(3)")
    assert run_shimmed(tmp_path, "-m", "stages", "report").returncode == 3
    assert run_shimmed(tmp_path, "-c", "raise SystemExit(4)").returncode == 4


def test_a_stage_is_named_by_its_arguments_before_the_options() -> None:
    assert Measured(("report",), 1.0, 1.0, 1).stage == "report"
    assert Measured(("teach", "gift", "mnist", "--root", "x"), 1.0, 1.0, 1).stage == "teach gift mnist"

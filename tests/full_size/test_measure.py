"""What the measuring wrapper notes of a command, and that the command does not notice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.smoke.measure import read_notes, write_shim

HELD = 300 * 2**20
STAGES = f"""
import sys, time
held = bytearray({HELD})
held[::4096] = b"1" * len(held[::4096])
del held
time.sleep(0.5)
print(sys.argv[1:])
sys.exit(3 if "fail" in sys.argv else 0)
"""


def test_a_stage_is_noted_with_its_arguments_and_what_it_took_and_ends_as_before(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__main__.py").write_text(STAGES)
    write_shim(tmp_path / "bin", tmp_path / "notes.jsonl")
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}

    def run(*arguments: str) -> tuple[int, str]:
        words = ["/bin/sh", "-c", '"$@"', "sh", "python", *arguments]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout.strip()

    assert run("-m", "stages", "finetune", "gift", "mnist", "--learning-rate-factor", "5.0") == (
        0, "['finetune', 'gift', 'mnist', '--learning-rate-factor', '5.0']",
    )  # fmt: skip
    assert run("-m", "stages", "fail")[0] == 3
    assert run("-c", "print('it runs')") == (0, "it runs")
    notes = read_notes(tmp_path / "notes.jsonl")
    assert [note.stage for note in notes] == ["finetune gift mnist", "fail"]
    assert HELD < notes[0].peak_bytes < HELD + 100 * 2**20  # also memory that was given back
    assert notes[0].seconds >= notes[0].cpu_seconds + 0.5 - 0.1  # it sleeps

"""A `gift run` whose workers, helpers, stages and own process are killed at random moments ends with the same bytes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import yaml

from tests.clone import Clone, copy_of_repository, small
from tests.end_to_end.test_pipeline import hashes

pytestmark = pytest.mark.end_to_end
KILLS = int(os.environ.get("KILLS", "2"))
HANG_SECONDS = 900.0  # without a kill, no run takes so long


def experiment(folder: Path) -> Clone:
    """A small experiment whose helpers come at once, and with enough units for them."""
    clone = Clone(copy_of_repository(folder))
    clone.edit("gift_core/work/spread.py", "PATIENCE_SECONDS = 20.0", "PATIENCE_SECONDS = 0.5")
    params = small(clone.params)
    params["prompts"]["images_per_task"], params["generator"]["images_per_shard"] = 96, 4
    params["generator"]["steps"] = 8
    clone.write_params(params)
    clone.run("git", "init", "--quiet")
    return clone


def processes_of(run: psutil.Process) -> dict[str, list[psutil.Process]]:
    """The processes that can be killed, by their kind."""
    found: dict[str, list[psutil.Process]] = {"driver": [run]}
    for process in run.children(recursive=True):
        try:
            name, words = process.name(), process.cmdline()
        except psutil.Error:
            continue
        kinds = {"stage": ["-m", "stages"], "helper": ["-m", "stages.dvc.helper"]}
        kind = next((kind for kind, beginning in kinds.items() if words[1:3] == beginning), "")
        if name.startswith("ray::") and not any(each in name for each in ("IDLE", "Agent")):
            kind = "worker"
        if kind:
            found.setdefault(kind, []).append(process)
    return found


def test_kills_at_random_moments_change_no_byte(tmp_path: Path) -> None:
    whole, killed = experiment(tmp_path / "whole"), experiment(tmp_path / "killed")
    whole.repro()
    chance, kills, failures = random.Random(KILLS), Counter[str](), 0
    begun = killed.folder / ".gift" / "logs" / "synthesize@0.log"  # before it, there is little to lose
    command = [sys.executable, "-m", "stages", "run", "--workers", "2"]
    with (tmp_path / "printed").open("w+") as printed:
        while True:
            started = time.monotonic()
            run = subprocess.Popen(command, cwd=killed.folder, env=killed.environment, stdout=printed, stderr=printed)
            next_kill = started + chance.uniform(1, 20)
            while run.poll() is None:
                assert time.monotonic() - started < HANG_SECONDS, "the run hangs"
                if kills.total() < KILLS and time.monotonic() > next_kill and begun.exists():
                    kinds = processes_of(psutil.Process(run.pid))
                    kind = min(kinds, key=lambda each: (kills[each], chance.random()))
                    chance.choice(kinds[kind]).kill()
                    kills[kind] += 1
                    next_kill = time.monotonic() + chance.uniform(1, 6)
                time.sleep(0.1)
            if run.returncode == 0:
                break
            failures += run.returncode > 0
            assert failures <= KILLS, (tmp_path / "printed").read_text()[-3000:]
    assert kills.total() == KILLS, kills
    sys.stdout.write(f"{dict(kills)}, {failures} runs failed\n")
    ended, expected = hashes(killed), hashes(whole)
    assert ended | {"dvc.lock": ""} == expected | {"dvc.lock": ""}
    lock, expected_lock = (yaml.safe_load((each.folder / "dvc.lock").read_text()) for each in (killed, whole))
    assert lock == expected_lock  # after a kill, it has the stages in another order
    assert killed.repro() == []

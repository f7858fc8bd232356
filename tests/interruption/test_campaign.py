"""The long campaign: finetune, evaluate and teach are killed at random moments, often several times in a row."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.interruption.processes import Kill
from tests.interruption.world import Step, tiny_experiment

KILLS = int(os.environ.get("KILLS", "10"))  # of each row of STEPS
STEPS = [
    ("finetune", "frozen", "task_incremental"),
    ("finetune", "ewc", "task_incremental"),
    ("finetune", "plain", "task_incremental"),
    ("teach", "ewc", "task_incremental"),
    ("teach", "icarl", "task_incremental"),
    ("teach", "plain", "task_incremental"),
    ("evaluate", "frozen", "task_incremental"),
    ("evaluate", "frozen", "class_incremental"),
]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("stage", "method", "protocol"), STEPS)
def test_random_kills_leave_no_trace(
    tmp_path: Path,
    mini_params: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    stage: str,
    method: str,
    protocol: str,
) -> None:
    step = Step(tiny_experiment(tmp_path, mini_params, iterations=20, protocol=protocol), stage, method)
    whole = step.succeed()
    expected = step.digest()
    chance = random.Random(f"{stage} {method} {protocol}")
    found: Counter[str] = Counter()
    while found["kills"] < KILLS:
        for _ in range(chance.choice((1, 1, 2, 3))):
            moments = (
                Kill(seconds=chance.uniform(0, whole.seconds)),
                Kill(change=chance.randint(1, max(1, whole.changes - 1))),
            )
            kill = chance.choice(moments)
            found["kills"] += step.run(kill=kill).code == -9
            assert step.is_whole_or_missing(expected), f"{kill} after {dict(found)}"
        found["continued"] += any(word in step.succeed().printed for word in ("continues", "known"))
        found["runs"] += 1
        assert step.digest() == expected, f"{kill} after {dict(found)}"
    line = f"{stage} {method} ({protocol}): {dict(found)}, {whole.changes} changes in {whole.seconds:.1f} s"
    with capsys.disabled():
        sys.stdout.write(f"\n{line}\n")

"""How far a run is: "stage 12 of 40, about 6 min left", for `make repro` and `gift run`.

`dvc repro` does not tell, so each stage that `make repro` runs prints it when it begins. The first one writes the plan
of the run for the others.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.errors import GiftError
from gift_core.progress import is_quiet
from gift_core.quantities import duration

from .fork_server import PLAN

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

    from .pipeline import DvcPipeline

BRIEF = ("check", "report")  # they do not write the plan: before check one does not know what is stale
DVC_SECONDS = 1.0  # that DVC takes for a stage, and Python to start it
PRIOR = 0.1  # of the whole time: after so much the measured times count as much as the expected ones


def expected_seconds(pipeline: DvcPipeline, names: Collection[str], config: Config) -> dict[str, float]:
    """Returns the time of each stage: of its last run, or else what `gift doctor --time` estimates."""
    from gift_core.doctor.finding import Project
    from gift_core.doctor.time_estimate import estimate_stages

    known, estimates = pipeline.expected_seconds(), estimate_stages(Project(Path(), config))
    return {
        name: DVC_SECONDS + known.get(name, estimates.get(pipeline.timing(name), 0.0))
        for name in names
        if pipeline.command(name)
    }


def describe(number: int, of: int, left: float, *, took: float, expected: float, total: float) -> str:
    """Returns "stage 12 of 40, about 6 min left".

    `left` is the expected time of the rest and `total` of the whole run. It is corrected by the time that the stages
    of this run took in place of the `expected` one.
    """
    left *= (took + PRIOR * total) / (expected + PRIOR * total) if total else 1.0
    return f"stage {number} of {of}, about {duration(left)} left"


def announce() -> None:
    """Prints how far `make repro` is, in the process of a stage that begins. Prints nothing in other runs."""
    name, file = os.environ.get("DVC_STAGE"), os.environ.get(PLAN)
    if not name or not file or is_quiet() or (name in BRIEF and not Path(file).is_file()):
        return
    try:
        plan = _read_plan(Path(file))
        now, order, seconds, started = time.time(), plan["stages"], plan["seconds"], plan["started"]
        took = now - min(started.values(), default=now)
        expected = sum(seconds.get(each, 0.0) for each in started)
        started[name] = now
        Path(file).write_text(json.dumps(plan), encoding="utf-8")
        number = order.index(name) + 1
        left = sum(seconds.get(each, 0.0) for each in order[number - 1 :])
        text = describe(number, len(order), left, took=took, expected=expected, total=sum(seconds.values()))
    except (GiftError, ImportError, OSError, ValueError):
        return  # the stage says what is wrong, or runs without it
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _read_plan(file: Path) -> dict[str, Any]:
    """Returns the names of all stages in the order of `dvc repro`, the expected times, and when each stage started."""
    if file.is_file():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    from dvc.repo import Repo

    from gift_core.config.loading import load_config

    from .pipeline import DvcPipeline
    from .store import dvc_errors

    file.parent.mkdir(parents=True, exist_ok=True)
    with dvc_errors():
        pipeline = DvcPipeline(Repo(), [])  # without DVC's lock: `dvc repro` runs
    stages = [name for name in pipeline.upstream if pipeline.command(name)]
    seconds = expected_seconds(pipeline, pipeline.may_run(), load_config(Path("params.yaml")))
    return {"stages": stages, "seconds": seconds, "started": {}}

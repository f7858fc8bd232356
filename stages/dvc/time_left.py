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
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.errors import GiftError
from gift_core.process_variables import DVC_STAGE, PLAN
from gift_core.progress import is_quiet
from gift_core.quantities import duration
from gift_core.stage_facts import facts_of

if TYPE_CHECKING:
    from .pipeline import DvcPipeline

TRUSTED_SECONDS = 60.0  # of a run, which say little about the rest
DVC_SECONDS = 1.0  # that DVC takes for a stage, and Python to start it


def expected_seconds(pipeline: DvcPipeline, names: Collection[str]) -> dict[str, float]:
    """Returns the time of each stage: of its last run, or else by the last rehearsal. 0 where nobody knows it."""
    known = pipeline.expected_seconds()
    measured = dict[Path, float]()
    unknown = [name for name in names if name not in known and pipeline.timing(name)]
    if not all(facts_of(name).always_runs for name in unknown):
        from gift_core.config.loading import load_config
        from gift_core.doctor.finding import Project
        from gift_core.doctor.measurement import stage_times

        with suppress(GiftError, ImportError, OSError, ValueError):  # the stage says what is wrong
            config = load_config(Path("params.yaml"))
            measured = stage_times(Project(Path().absolute(), config, is_active=True, quick=True))
    files = {name: pipeline.timing(name) or Path() for name in names if pipeline.command(name)}
    return {name: DVC_SECONDS + known.get(name, measured.get(file, 0.0)) for name, file in files.items()}


def describe(number: int, of: int, left: float, *, done: float, elapsed: float) -> str:
    """Returns "stage 12 of 40, about 6 min left". `left`: the expected seconds of this stage and the later ones.

    Where the stages before took longer than the `done` seconds that were expected of them, so will these. Restored
    stages take no time, so the estimate is never lowered.
    """
    slower = max(1.0, (elapsed + TRUSTED_SECONDS) / (done + TRUSTED_SECONDS))
    return f"stage {number} of {of}, about {duration(slower * left)} left"


def announce() -> None:
    """Prints how far `make repro` is, in the process of a stage that begins. Prints nothing in other runs.

    The plan has the expected seconds of all stages in the order of `dvc repro`, 0 for those that do not run.
    """
    name, file = os.environ.get(DVC_STAGE), Path(os.environ[PLAN])
    if not name or is_quiet():
        return
    if facts_of(name).always_runs and not file.is_file():
        return  # such as check, before which one does not know what is stale
    try:
        if not file.is_file():
            from dvc.repo import Repo

            from .pipeline import DvcPipeline
            from .store import dvc_errors

            with dvc_errors():
                pipeline = DvcPipeline(Repo(), [])  # without DVC's lock: `dvc repro` runs
                expected = expected_seconds(pipeline, pipeline.may_run())
            plan = {stage: expected.get(stage, 0.0) for stage in pipeline.upstream if pipeline.command(stage)}
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(plan), encoding="utf-8")
        seconds = json.loads(file.read_text(encoding="utf-8"))
        number = list(seconds).index(name)
        done, left = sum([*seconds.values()][:number]), sum([*seconds.values()][number:])
        text = describe(number + 1, len(seconds), left, done=done, elapsed=time.time() - file.stat().st_mtime)
    except (GiftError, ImportError, OSError, ValueError):
        return  # the stage says what is wrong, or runs without it
    print(text, file=sys.stderr, flush=True)  # noqa: T201

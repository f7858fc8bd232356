"""run: the pipeline of dvc.yaml, several stages at once, with Ray."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from gift_core.errors import UserError

from ..command_line import note
from ..options import MOST, PARAMS, argument, flag, option

LOGS = Path(".gift", "logs")


def run(
    targets: list[str] | None = argument("TARGET", "Stages, with those that they need. [default: all]", default=None),
    workers: int | None = option("N", "Stages at once. [default: what the machines hold]", min=1, max=MOST),
    gpus_per_stage: float = option("N", "GPUs of a stage that uses one. 0.5: two stages share.", default=1.0),
    helpers: int | None = option(
        "N", "Free workers that a long stage uses as well. [default: all of them]", min=0, max=MOST
    ),
    address: str | None = option(
        "ADDRESS", "A running Ray cluster: auto, or HOST:PORT. [default: this machine]", envvar="RAY_ADDRESS"
    ),
    keep_going: bool = flag("--keep-going", "After a failure, run what does not depend on it."),
    force: bool = flag("--force", "Run all stages, also unchanged ones."),
) -> None:
    """Run the stages that are new or changed, several at once, on this machine or on a Ray cluster.

    The results, dvc.lock and the cache are those of `dvc repro`. The output of each
    stage is in .gift/logs. Needs the extra `ray` (docs/install.md).

    Example: gift run --workers 4
    """
    from gift_core.config.checks import require_task
    from gift_core.config.loading import load_config
    from gift_core.execution.pool import check_gpus, open_pool

    from ..dvc.fork_server import serving
    from ..dvc.interruption import postponed
    from ..dvc.pipeline import open_pipeline
    from ..dvc.run_loop import RunLoop
    from ..dvc.time_left import expected_seconds

    config = load_config(PARAMS)
    require_task(config, PARAMS.name)  # as the stage check, but before the workers start
    check_gpus(gpus_per_stage, config.run.device)
    with open_pipeline(targets or []) as pipeline, ExitStack() as resources:
        names = list(pipeline.upstream) if force else pipeline.may_run()
        if not names:  # before the workers start, which takes seconds
            note(f"{len(pipeline.upstream)} unchanged: there is nothing to run.")
            return
        seconds, use_gpus = expected_seconds(pipeline, names), config.run.device != "cpu"
        pool = resources.enter_context(open_pool(address, workers, gpus_per_stage=gpus_per_stage, use_gpus=use_gpus))
        if pool.is_local:
            pool.environment = resources.enter_context(serving(pool.environment))
        note(f"{len(pipeline.upstream)} stages, {pool.workers} workers, {pool.gpus:g} GPUs")
        loop = RunLoop(pipeline, pool, LOGS.absolute(), seconds, keep_going, force, helpers)
        with postponed() as stop:  # inside, because Ray sets a handler of its own
            loop.run(stop)
    note(loop.summary())
    if loop.failed:
        reasons = "; ".join(f"{name} ({reason.splitlines()[0]})" for name, reason in loop.failed.items())
        raise UserError(
            f"gift run: failed: {reasons}. All that finished is recorded. The outputs of the stages are in {LOGS}. "
            "Correct the cause, and run it again: it continues from here."
        )

"""run: the pipeline of dvc.yaml, several stages at once, with Ray."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gift_core.errors import UserError
from gift_core.quantities import duration, plural

from ..command_line import note
from ..stage import MOST, PARAMS, argument, flag, option

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

    from ..dvc.pipeline import DvcPipeline

LOGS = Path(".gift", "logs")
SHOWN_NAMES = 30  # of a wave


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
    dry: bool = flag("--dry", "Only print what would run, in which order."),
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
    with open_pipeline(Path(), targets or []) as pipeline, ExitStack() as resources:
        if dry:
            _print_plan(pipeline, config, force=force)
            return
        names = list(pipeline.upstream) if force else pipeline.may_run()
        if not names:  # before the workers start, which takes seconds
            note(f"{len(pipeline.upstream)} unchanged: there is nothing to run.")
            return
        seconds, use_gpus = expected_seconds(pipeline, names, PARAMS), config.run.device != "cpu"
        pool = resources.enter_context(open_pool(address, workers, gpus_per_stage=gpus_per_stage, use_gpus=use_gpus))
        if pool.is_local:
            pool.environment = resources.enter_context(serving(pool.environment))
        note(f"{len(pipeline.upstream)} stages, {pool.capacity.workers} workers, {pool.capacity.gpus:g} GPUs")
        loop = RunLoop(pipeline, pool, LOGS.absolute(), seconds, gpus_per_stage, keep_going, force, helpers)
        with postponed("The finished stages are recorded.") as stop:  # inside, because Ray sets a handler of its own
            loop.run(stop)
    note(loop.summary())
    if loop.failed:
        reasons = "; ".join(f"{name} ({reason.splitlines()[0]})" for name, reason in loop.failed.items())
        raise UserError(
            f"gift run: failed: {reasons}. All that finished is recorded. The outputs of the stages are in {LOGS}. "
            "Correct the cause, and run it again: it continues from here."
        )


def _print_plan(pipeline: DvcPipeline, config: Config, *, force: bool) -> None:
    """Prints the stages that would run, in waves, how many stages after them may have to run, and the times."""
    from gift_core.execution.schedule import Schedule, waves

    from .why import describe, stale_stages, total_time

    found = stale_stages(pipeline, config)
    chosen = pipeline.upstream if force else [name for each in found for name in each["stages"]]
    stale = {name for name in chosen if pipeline.command(name)}
    if not stale:
        typer.echo("Nothing is new or changed: gift run would run nothing.")
        return
    for number, names in enumerate(waves(pipeline.upstream, stale), 1):
        if len(names) > SHOWN_NAMES:
            counts = Counter(each.partition("@")[0] for each in names)
            names = [f"{count} of {block}" for block, count in sorted(counts.items())]
        typer.echo(f"wave {number}: {', '.join(names)}")
    typer.echo(describe(total_time(pipeline, stale)))
    seconds = pipeline.expected_seconds()
    schedule = Schedule(pipeline.upstream, {name: seconds.get(name, 1.0) for name in stale})
    whole, longest = schedule.longest_path()
    path = [name for name in whole if name in stale]
    times = f", about {duration(longest)}" if all(name in seconds for name in path) else ""
    length = plural(len(path), "stage")
    shown = path if len(path) <= 8 else [*path[:4], f"{len(path) - 7} more", *path[-3:]]
    typer.echo(f"The longest path has {length}{times}: {' > '.join(shown)}")

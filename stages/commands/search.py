"""search: short runs of a task at several learning rates, measured on a validation part."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import duration, plural

from ..command_line import AsJson, hint, note, print_json, print_table
from ..options import MOST, PARAMS, ROOT, Root, ShippedMethod, Task, option
from ..stage import Stage, logged_to

if TYPE_CHECKING:
    from gift_core.driving.searches import RateSearch
    from gift_core.method.metrics import Score

TRIED = "The learning rates to try. Default: a third of the present one, itself, and three times as much."


def search(
    task: Task,
    rates: list[float] | None = option("RATE...", TRIED, min=1e-9, max=10),
    method: ShippedMethod = None,
    iterations: int | None = option("N", "Of each run. Default: training.iterations.", min=1, max=MOST),
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Find the learning rate for a task: train it at a few rates, and compare them on a validation part.

    The validation part is the data set's own (val/ or validation/), or else 20% of
    the training images of each class, sampled by seed. Of a task with captions Recall@1 is
    measured, of others the accuracy. The test images are not used. Each run starts
    from the model before the task. What it costs is measured, too: the accuracy lost
    on training images of the other tasks, or without any, on the replayed pairs.
    Nothing in data/ and dvc.lock changes, except that `dvc repro` first makes what
    the task's training reads. Fewer iterations are faster, but tend to favor higher
    rates. An interrupted search continues.

    Example: gift search greek --rates 1e-4 3e-4 1e-3
    """
    from gift_core.config.loading import load_config
    from gift_core.report.run_record import contender

    config = load_config(root / PARAMS)
    stage = Stage("search", config, Layout(root), contender(config, method), task)
    present = present_rate(stage)
    chosen = sorted({*rates}) if rates else [float(f"{present / 3:.1e}"), present, float(f"{present * 3:.1e}")]
    count = iterations or config.training.iterations

    from .trials import run_trials, with_iterations

    stage.config = with_iterations(stage, count)
    runs = f"{plural(len(chosen), 'run')} of {plural(count, 'iteration')}"
    note(f"{runs} with {stage.method} on {task}, at the learning rates {', '.join(map(shown, chosen))}.")
    _make_inputs(stage)
    with redirect_stdout(sys.stderr), logged_to(stage.say):  # the result is the table
        result = run_trials(stage, chosen)
    if as_json:
        print_json(_record(result, stage, count))
    else:
        show_trials(result, stage)


def _make_inputs(stage: Stage) -> None:
    """Has DVC make what the task's training reads. UserError if it fails."""
    from ..dvc.pipeline import repro

    target = f"teach@{stage.method}-step{stage.config.position(stage.task)}"
    note(f"First, dvc repro {target} makes what they read, where it is missing.")
    if repro(stage.layout.root, "--quiet", target) != 0:
        raise UserError(f"gift search: dvc repro {target} failed. Its message is above. Correct the cause.")


def present_rate(stage: Stage) -> float:
    """Returns the learning rate of the method in the step of the task. UserError if it learns nothing."""
    rate = stage.row.learning_rate
    if rate is None:
        raise UserError(f"params.yaml: methods.{stage.method}: it learns nothing. Name another method with --method.")
    return rate * stage.step.learning_rate_factor


def shown(rate: float) -> str:
    """Returns a rate as params.yaml has it: 3.0e-6, 1.25e-5."""
    digits, exponent = f"{rate:.5e}".split("e")
    return f"{digits.rstrip('0')}{'0' if digits.rstrip('0').endswith('.') else ''}e{int(exponent)}"


def change_of(stage: Stage, best: float) -> tuple[str, str]:
    """Returns the line of params.yaml that gives a step its best rate, and where it is, if the key does not say it.

    In the first step it is the method's rate, in a later one the step's factor: another rate of the method would make
    the steps before run again.
    """
    factor = stage.step.learning_rate_factor
    if stage.tasks == [stage.task]:
        return f"methods.{stage.method}.learning_rate: {shown(best / factor)}", ""
    location = f", sequence, the step of {stage.task} (a factor for the rate of every method)"
    return f"learning_rate_factor: {best / present_rate(stage) * factor:.4g}", location


def show_trials(result: RateSearch, stage: Stage) -> None:
    """Prints a row for each rate, the best one marked, which rates failed, what that says of others, and the change."""
    task, best = result.task, result.best.rate
    start = result.start[task]
    rows = [("start", _accuracy(start), "", "", "")]
    for trial in result.trials:
        rate = f"{'* ' if trial is result.best else ''}{shown(trial.rate)}"
        lost = f"{result.lost(trial):+.1f}" if len(result.start) > 1 else "-"
        accuracy, gained = _accuracy(trial.scores[task]), f"{result.gained(trial):+.1f}"
        rows.append((rate, accuracy, gained, lost, duration(trial.seconds)))
    columns = ("learning rate", f"{result.metric} (95%)", "gained", "lost elsewhere", "time")
    title = f"{task}: {start.images} images of the validation part, in percent and points"
    print_table(columns, rows, title=title, bold=[1 + result.trials.index(result.best)])
    for failed, reason in result.failed.items():
        typer.echo(f"{shown(failed)} failed: {reason.partition('. ')[0]}.")
    others = ", ".join(other_task for other_task in result.start if other_task != task)
    if others:
        typer.echo(f"Lost elsewhere: the mean over {others}. The best (*) gains the most minus what it loses.")
    if result.gained(result.best) <= 0:
        typer.echo(f"No rate gains anything on {task}. Try others, or more iterations.")
    elif abs(best / present_rate(stage) - 1) < 0.01:
        typer.echo(f"params.yaml has the best rate, {shown(best)}.")
    else:
        line, location = change_of(stage, best)
        typer.echo(f"In params.yaml{location}: {line}")
    tried = sorted([*(trial.rate for trial in result.trials), *result.failed])
    if best in (tried[0], tried[-1]) and len(tried) > 1:
        end, beyond = ("lowest", best / 3) if best == tried[0] else ("highest", best * 3)
        hint(f"The best rate is the {end} one. Try further: gift search {task} --rates {beyond:.1e} {shown(best)}")


def _accuracy(score: Score) -> str:
    low, high = score.interval
    return f"{score.percent:.1f} ({low:.1f} to {high:.1f})"


def _record(result: RateSearch, stage: Stage, iterations: int) -> dict[str, Any]:
    return {
        "task": result.task,
        "method": stage.method,
        "iterations": iterations,
        "metric": result.metric,
        "validation_images": result.start[result.task].images,
        "start": {name: round(score.percent, 4) for name, score in result.start.items()},
        "trials": [
            {
                "learning_rate": trial.rate,
                "accuracy_percent": round(trial.scores[result.task].percent, 4),
                "interval_95": [round(limit, 4) for limit in trial.scores[result.task].interval],
                "gained_points": round(result.gained(trial), 4),
                "lost_points": round(result.lost(trial), 4),
                "by_task": {name: round(score.percent, 4) for name, score in trial.scores.items()},
                "seconds": trial.seconds,
            }
            for trial in result.trials
        ],
        "failed": [{"learning_rate": rate, "reason": reason} for rate, reason in result.failed.items()],
        "best": result.best.rate,
        "change": change_of(stage, result.best.rate)[0],
    }

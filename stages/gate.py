"""gate: whether the result may be shipped, as one sentence and an exit code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gift_core.errors import GiftError, UserError

from .command_line import AsJson, print_json
from .completion import complete_method
from .stage import PARAMS, ROOT, Root, require_params

NO, BAD_INPUT = 1, 2


def _points(value: float | None) -> float | None:
    return _within(value, lowest=-100)


def _percent(value: float | None) -> float | None:
    return _within(value, lowest=0)


def _within(value: float | None, *, lowest: int) -> float | None:
    if value is None or lowest <= value <= 100:  # typer's own bounds accept nan
        return value
    raise typer.BadParameter(f"{value:g} should be from {lowest} to 100.")


def _limit(text: str, metavar: str, check: Callable[[float | None], float | None]) -> Any:
    return typer.Option(metavar=metavar, help=text, callback=check)


MinLast = Annotated[
    float | None, _limit("Last has to be at least this: the mean accuracy after the last task.", "PERCENT", _percent)
]
MaxForgetting = Annotated[float | None, _limit("Forgetting may be at most this.", "POINTS", _points)]
Against = Annotated[
    str | None,
    typer.Option("--against", metavar="REVISION", help="No metric may be worse than in this branch, tag or commit."),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance",
        metavar="POINTS",
        callback=_percent,
        help="By how much a metric may be worse than in the revision.",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="METHOD",
        help="The method to ship, if run.methods has several besides references such as finetune and joint.",
        autocompletion=complete_method,
    ),
]


def gate(
    min_last: MinLast = None,
    max_forgetting: MaxForgetting = None,
    against: Against = None,
    tolerance: Tolerance = 1.0,
    method: Only = None,
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Say whether the result may be shipped, by the limits given and in comparison with another revision.

    Reads reports/metrics.json, and with --against what git has of it there: Last
    and Transfer must not be lower, Forgetting not higher, by more than --tolerance.
    If that revision learned other tasks, there is nothing to compare, which is said.
    The exit code is 0 for yes, 1 for no, and 2 if there is no answer.

    Example: gift gate --max-forgetting 5 --min-last 80 --against main
    """
    from gift_core.config.loading import load_config
    from gift_core.report.contender import contender
    from gift_core.team.gate import Limits, judge

    try:
        if min_last is None and max_forgetting is None and against is None:
            raise UserError("gift gate: no criterion. Give --min-last, --max-forgetting or --against.")
        require_params(root / PARAMS)
        config = load_config(root / PARAMS)
        limits = Limits(min_last, max_forgetting, tolerance)
        verdict = judge(root, config, contender(config, method), limits, against=against)
    except GiftError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(BAD_INPUT) from None
    if as_json:
        print_json(dataclasses.asdict(verdict))
    else:
        typer.echo(verdict.sentence)
    if not verdict.ok:
        raise typer.Exit(NO)

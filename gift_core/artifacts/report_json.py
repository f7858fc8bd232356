"""The JSON files of the report: metrics.json, zero_shot.json and summary.json in reports/.

Figures have four decimals. All tables, sentences and pages print these with one decimal (`one_decimal`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat

from gift_core.artifacts.contract import parse, read
from gift_core.protocols import Protocol

STAGE = "report"
DECIMALS = 4
METRICS = ("transfer", "avg", "last", "forgetting")
SUMMARY_METRICS = {name: f"{name}_{'points' if name == 'forgetting' else 'percent'}" for name in METRICS}
Percent = Annotated[float, Field(ge=-100, le=100)]
Number = int | FiniteFloat | None


class Probes(BaseModel, extra="forbid"):
    """What is left of a method's zero-shot ability, in percent: the mean of the probes after the last step.

    `change`: `mean` minus that of the pre-trained model, below 0 where something was lost. `by_task`: each probe after
    the last step.
    """

    mean: Percent
    change: Percent
    by_task: dict[str, Percent]


class Metrics(BaseModel, extra="forbid"):
    """The numbers of a method in metrics.json, in percent.

    Transfer and forgetting are None where they do not exist: with one task, or class-incremental.
    """

    transfer: Percent | None
    avg: Percent
    last: Percent
    forgetting: Percent | None
    probes: Probes | None = None


class ZeroShot(BaseModel):
    """zero_shot.json compares the pre-trained model's accuracies with the published ones; the verdict also in words.

    `data_sets`: {name: {"measured", "published"}} in percent, in the order of the benchmark; {} if nothing is compared.
    """

    benchmark: str | None = None
    verdict: Literal["agrees", "differs", "not compared", "no benchmark"] = "no benchmark"
    sentence: str = ""
    data_sets: dict[str, dict[str, Number]] = {}


class Summary(BaseModel):
    """summary.json, which `gift show` prints.

    `benchmark` is its name, if it is one. `note` says what the numbers of the miniature mean. `best_method` is None if
    nothing was trained. `tasks` are in the order of training. A method has the values of SUMMARY_METRICS, perhaps
    "label" and "probes", and "by_task": "before_percent" (of the model that the task's step starts from),
    "after_percent" (right after it), "end_percent" and "difference_points" (end - after). A class-incremental step has
    "classes_seen", and on all of them "zero_shot_percent", "after_percent" and "difference_points" (after - zero-shot).
    """

    experiment: str
    benchmark: str | None
    miniature_model: bool
    note: str
    protocol: Protocol
    result: Annotated[list[str], Field(min_length=1)]
    best_method: str | None
    tasks: Annotated[list[str], Field(min_length=1)]
    methods: dict[str, dict[str, Any]]


def read_metrics(path: Path, text: str | None = None) -> dict[str, dict[str, Any]]:
    """Returns {method: {metric: percent}} of metrics.json, or of its `text` as git has it.

    ContractError if the file is missing or has another content.
    """
    rows = read(dict[str, Metrics], path, STAGE) if text is None else parse(dict[str, Metrics], text, path, STAGE)
    return {method: row.model_dump(exclude_unset=True) for method, row in rows.items()}


def rounded(value: Any) -> Any:
    """The value, or those in a mapping, with the decimals that the files have."""
    if isinstance(value, Mapping):
        return {name: rounded(inner) for name, inner in value.items()}
    return round(value, DECIMALS) if isinstance(value, float) else value


def one_decimal(value: float) -> str:
    """The value as it is printed everywhere: with one decimal, rounded from the decimals that the files have.

    Two ways to compute the same mean differ in the last bits. Without the first rounding, one mean of 66.25 would be
    printed as 66.2 and another one as 66.3.
    """
    text = f"{round(value, DECIMALS):.1f}"
    return "0.0" if text == "-0.0" else text

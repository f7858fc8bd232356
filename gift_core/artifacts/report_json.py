"""The JSON files of the report: reports/metrics.json and reports/zero_shot.json.

metrics.json: {"<method>": {"transfer", "avg", "last", "forgetting"}} in percent. Transfer and forgetting are null where
they do not exist: with one task, or class-incremental.

zero_shot.json compares the pre-trained model's accuracies with the published ones: {"benchmark", "verdict": "agrees",
"differs", "not compared" or "no benchmark", "sentence", "data_sets": {"<name>": {"measured", "published"}}}. Percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import broken, read_json, require_fields, write_json

STAGE = "report"
METRICS = ("transfer", "avg", "last", "forgetting")
OPTIONAL = ("transfer", "forgetting")
VERDICTS = ("agrees", "differs", "not compared", "no benchmark")
NO_BENCHMARK: dict[str, Any] = {"benchmark": None, "verdict": "no benchmark", "sentence": "", "data_sets": {}}
_FIELDS: dict[str, type | tuple[type, ...]] = {"verdict": str, "sentence": str, "data_sets": dict}


def write_metrics(path: Path, metrics: Mapping[str, Mapping[str, float | None]]) -> None:
    """Writes the metrics, methods in the order given, in percent with two decimals. ContractError if unsound."""
    _require_metrics(path, metrics)
    rounded = {method: {name: _rounded(row[name]) for name in METRICS} for method, row in metrics.items()}
    write_json(path, rounded)


def read_metrics(path: Path) -> dict[str, dict[str, float | None]]:
    """Returns {method: {metric: percent}}. ContractError if the file is missing or breaks the contract."""
    metrics = read_json(path, STAGE)
    _require_metrics(path, metrics)
    return metrics


def write_zero_shot(path: Path, check: Mapping[str, Any]) -> None:
    """Writes the comparison, accuracies with two decimals. ContractError if unsound."""
    _require_zero_shot(path, dict(check))
    data_sets = {name: {key: round(value, 2) for key, value in row.items()} for name, row in check["data_sets"].items()}
    write_json(path, {**check, "data_sets": data_sets})


def read_zero_shot(path: Path) -> dict[str, Any]:
    """Returns the comparison. ContractError if the file is missing or breaks the contract."""
    check = read_json(path, STAGE)
    _require_zero_shot(path, check)
    return check


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _require_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    for method, row in metrics.items():
        if not isinstance(row, Mapping) or sorted(row) != sorted(METRICS):
            raise broken(path, f"{method} should have {', '.join(METRICS)}; it is {row!r}", STAGE)
        for name, value in row.items():
            if value is None and name in OPTIONAL:
                continue
            if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 100:
                raise broken(path, f"{method}.{name} should be a percentage, it is {value!r}", STAGE)


def _require_zero_shot(path: Path, check: dict[str, Any]) -> None:
    require_fields(path, check, _FIELDS, STAGE)
    if check["verdict"] not in VERDICTS:
        raise broken(path, f"verdict should be one of {', '.join(VERDICTS)}; found {check['verdict']!r}", STAGE)

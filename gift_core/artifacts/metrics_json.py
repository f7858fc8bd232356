"""reports/metrics.json: {"<method>": {"transfer", "avg", "last", "forgetting"}} in percent.

Transfer and forgetting do not exist for one task alone: null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import broken, read_json, write_json

STAGE = "report"
METRICS = ("transfer", "avg", "last", "forgetting")
OPTIONAL = ("transfer", "forgetting")


def write_metrics(path: Path, metrics: Mapping[str, Mapping[str, float | None]]) -> None:
    """Writes the metrics, methods in the order given, in percent with two decimals; ContractError if unsound."""
    _require_sound(path, metrics)
    rounded = {method: {name: _rounded(row[name]) for name in METRICS} for method, row in metrics.items()}
    write_json(path, rounded)


def read_metrics(path: Path) -> dict[str, dict[str, float | None]]:
    """Returns {method: {metric: percent}}; ContractError where the file is missing or breaks the contract."""
    metrics = read_json(path, STAGE)
    _require_sound(path, metrics)
    return metrics


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _require_sound(path: Path, metrics: Mapping[str, Any]) -> None:
    for method, row in metrics.items():
        if not isinstance(row, Mapping) or sorted(row) != sorted(METRICS):
            raise broken(path, f"{method} should have {', '.join(METRICS)}; it is {row!r}", STAGE)
        for name, value in row.items():
            if value is None and name in OPTIONAL:
                continue
            if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 100:
                raise broken(path, f"{method}.{name} should be a percentage, it is {value!r}", STAGE)

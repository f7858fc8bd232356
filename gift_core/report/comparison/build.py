"""The command compare's one library function: roots in, comparison.csv, comparison.json and index.html out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import write_atomically, write_json
from gift_core.report.comparison.figures import Comparison, Difference, Spread
from gift_core.report.comparison.measuring import measure_runs
from gift_core.report.comparison.page import render_comparison
from gift_core.report.comparison.reading import read_runs


def compare_runs(
    roots: Sequence[Path], folder: Path, *, against: str | None = None, allow_missing: bool = False
) -> Comparison:
    """Write the comparison of the runs into `folder` and return it. The same runs give the same bytes.

    UserError where the runs are not one experiment with different seeds, a method lacks a seed (unless
    `allow_missing`), or `against` is no method of theirs; ContractError for a damaged accuracy file.
    """
    comparison = measure_runs(read_runs(roots, allow_missing=allow_missing), against)
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / "comparison.csv") as temporary:
        comparison.runs.values.to_csv(temporary, index=False, lineterminator="\n")
    write_json(folder / "comparison.json", _as_json(comparison))
    with write_atomically(folder / "index.html") as temporary:
        temporary.write_bytes(render_comparison(comparison).encode())
    return comparison


def _as_json(comparison: Comparison) -> dict[str, Any]:
    """In percent, four decimals: mean and deviation over the seeds, and the difference to `against`, a method."""
    runs = comparison.runs
    methods = {
        name: {
            "group": group.title,
            "figures": {column: _spread(spread) for column, spread in comparison.spreads[name].items()},
            "difference": {c: _difference(d) for c, d in comparison.differences.get(name, {}).items()},
        }
        for group in comparison.groups
        for name in group.methods
    }
    missing = [{"seed": seed, "method": method} for seed, method in runs.missing]
    head = {"experiment": runs.experiment, "tasks": list(runs.tasks), "seeds": list(runs.seeds), "missing": missing}
    return {**head, "against": comparison.against, "methods": methods}


def _spread(spread: Spread) -> dict[str, float | int | None]:
    return {"mean": _rounded(spread.mean), "deviation": _rounded(spread.deviation), "seeds": spread.count}


def _difference(difference: Difference) -> dict[str, Any]:
    interval = None if difference.low is None else [_rounded(difference.low), _rounded(difference.high)]
    noise = {"exceeds_noise": difference.exceeds_noise} if interval else {}
    return {"mean": _rounded(difference.mean), "interval_95": interval, **noise, "seeds": difference.count}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

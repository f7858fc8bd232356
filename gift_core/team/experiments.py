"""What `dvc exp show` knows, as few rows: what differs in params.yaml, and four numbers a method."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gift_core.doctor.storage import dvc_error, run_dvc
from gift_core.errors import UserError

Metrics = Mapping[str, Mapping[str, float | None]]  # {method: {"transfer": ...}}
WORKSPACE = "workspace"
METRICS, PARAMS = "reports/metrics.json", "params.yaml"


@dataclass(frozen=True)
class Experiment:
    """A row: an experiment, the commit it started from, or the workspace.

    `changes`: what differs from that commit, as "training.iterations: 200 -> 50". `state` is empty for a finished
    experiment.
    """

    name: str
    changes: Sequence[str] = ()
    metrics: Metrics = field(default_factory=dict)
    state: str = ""


def read_experiments(root: Path, *, commits: int) -> list[Experiment]:
    """Returns the workspace, and the last `commits` commits with their experiments.

    UserError if DVC cannot list them.
    """
    shown = run_dvc(root, "exp", "show", "--json", "--num", str(commits))
    if shown.returncode != 0:
        raise UserError(f"dvc exp show: {dvc_error(shown)}. Run in the project's root, or name it with --root.")
    return list(rows_of(json.loads(shown.stdout)))


def rows_of(shown: Sequence[Mapping[str, Any]]) -> Iterator[Experiment]:
    """Yields the rows of the output of `dvc exp show --json`: each commit, and its experiments after it."""
    newest = next((_params(commit) for commit in shown if commit["rev"] != WORKSPACE), {})
    for commit in shown:
        yield _row(commit, newest if commit["rev"] == WORKSPACE else None)
        for experiment in commit["experiments"] or []:
            state = (experiment.get("executor") or {}).get("state", "")
            yield _row(experiment["revs"][0], _params(commit), "" if state == "success" else state)


def differences(before: Mapping[Any, Any], after: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Yields what changed from one params file to another: "a.b: 1 -> 2", "a.c: new", "a.d: removed".

    The entries of a list are numbered: "run.methods.1: new (gift)".
    """
    for key in [*before, *(key for key in after if key not in before)]:
        name, old, new = f"{prefix}{key}", before.get(key), after.get(key)
        if key not in after:
            yield f"{name}: removed"
        elif key not in before:
            yield f"{name}: new" if isinstance(new, Mapping | list) else f"{name}: new ({new})"
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{name}.")
        elif isinstance(old, list) and isinstance(new, list):
            yield from differences(dict(enumerate(old)), dict(enumerate(new)), f"{name}.")
        elif old != new:
            yield f"{name}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    return "empty" if value is None else "a section" if isinstance(value, Mapping) else str(value)


def _row(rev: Mapping[str, Any], baseline: Mapping[str, Any] | None, state: str = "") -> Experiment:
    name = rev["name"] or (WORKSPACE if rev["rev"] == WORKSPACE else rev["rev"][:7])
    if rev.get("error"):
        return Experiment(name, state=f"error: {rev['error']['msg']}")
    changes = [] if baseline is None else list(differences(baseline, _params(rev)))
    metrics = ((rev["data"].get("metrics") or {}).get(METRICS) or {}).get("data") or {}
    return Experiment(name, changes, metrics, state)


def _params(rev: Mapping[str, Any]) -> Mapping[str, Any]:
    data = rev.get("data") or {}
    return ((data.get("params") or {}).get(PARAMS) or {}).get("data") or {}

"""May a result be shipped? Metrics against limits, and against those of a git revision.

Metrics are compared as they are printed, with one decimal: otherwise 79.96 would be refused as "Last 80.0, below 80".
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.artifacts.report_json import METRICS as COLUMNS
from gift_core.artifacts.report_json import one_decimal, read_metrics
from gift_core.config.experiment import Config
from gift_core.errors import UserError, nearest
from gift_core.layout import Layout
from gift_core.quantities import first_names
from gift_core.untrusted import leaves, parse_yaml

METRICS, PARAMS = "reports/metrics.json", "params.yaml"
KEPT, CHANGE = "probes", "zero_shot_change"
STOPPED_MERGE = "If a git merge stopped there: git merge --abort, then see docs/team.md (Merge two branches)."
TITLES = {**{name: name.capitalize() for name in COLUMNS}, KEPT: "Zero-shot kept", CHANGE: "Zero-shot change"}
BETTER = {"last": 1, "transfer": 1, "forgetting": -1, KEPT: 1}  # 1: higher is better
LACKING = {  # what metrics may not have, why, and what to do
    "forgetting": "Forgetting: a single task, or a class-incremental run. Leave out --max-forgetting.",
    CHANGE: "probes, tasks that no step learns. Add one: gift add-task NAME --images FOLDER --probe",
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One criterion. `revision`: what the metric is compared with; empty if the limit was given as a number."""

    metric: str
    value: float
    limit: float
    ok: bool
    text: str
    revision: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer for one method, and why it is that."""

    method: str
    ok: bool
    sentence: str
    checks: tuple[Check, ...]


def judge(
    root: Path, config: Config, method: str, limits: Mapping[str, float], *, against: str | None, tolerance: float
) -> Verdict:
    """Returns the answer for the metrics of the project in `root`.

    `limits`, in percent and points, are the least "last" and "zero_shot_change", and the largest "forgetting".
    They are worse than those of the git revision `against` if Last, Transfer or the mean over the probes is lower, or
    Forgetting higher, by more than the tolerance. Metrics of different tasks or probes cannot be compared, so the
    sentence only says so. UserError or ContractError if the metrics or the revision cannot be read, or nothing is left
    to check.
    """
    metrics = read_metrics(Layout(root).reports() / "metrics.json")
    changed = changed_since(root)
    if changed:
        problem = f"is older than {PARAMS}, which has changed in {first_names(changed)}"
        raise UserError(f"{METRICS}: {problem}. Run: dvc repro")
    if method not in metrics:
        raise UserError(f"{METRICS}: has no result of {method}, only of {', '.join(metrics)}. Run: dvc repro")
    row = metrics[method]
    checks = [_check_limit(metric, limit, row, method) for metric, limit in limits.items()]
    remark = ""
    if against is not None:
        _require_revision(root, against)
        committed = _committed(root, [step.task for step in config.sequence], against)
        if not isinstance(committed, str):
            committed = committed.get(method, f"which has no result of {method}")
        if isinstance(committed, str):
            remark = f"Not compared with {against}, {committed}."
        else:
            checks += _compare(row, committed, against, tolerance)
            if _probes(committed) != _probes(row):
                remark = f"The probes are not compared with {against}, which has others."
    if not checks:
        raise UserError(f"gift gate: nothing to check. {remark} Give --min-last or --max-forgetting, too.")
    ok = all(check.ok for check in checks)
    reasons = [check.text for check in checks if not (check.revision if ok else check.ok)]
    if ok and checks[-1].revision:
        reasons.append(f"no metric that is more than {_points(tolerance)} worse than in {checks[-1].revision}")
    sentence = f"{'Yes' if ok else 'No'}: {method} has {' and '.join(reasons)}. {remark}"
    return Verdict(method, ok, sentence.strip(), tuple(checks))


def changed_since(root: Path) -> list[str]:
    """Returns the keys of params.yaml with another value than dvc.lock has for the report; nothing without a dvc.lock.

    A key has two parts: tasks.birds, training.iterations.
    These are the keys that dvc.yaml names. What else makes a stage run again is known to `gift why` alone.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        return []
    try:
        stages = parse_yaml(lock.read_bytes())["stages"]
    except ValueError as error:
        raise UserError(f"{lock}: {error}. {STOPPED_MERGE}") from error
    recorded = stages.get("report", {}).get("params", {}).get(PARAMS, {})
    before = dict(leaf for key, value in recorded.items() for leaf in leaves(value, key))
    values = dict(leaves(parse_yaml((root / PARAMS).read_bytes())))
    now = {key: value for key, value in values.items() if any(f"{key}.".startswith(f"{name}.") for name in recorded)}
    changed = [key for key in {*before, *now} if before.get(key) != now.get(key)]
    return sorted({".".join(key.split(".")[:2]) for key in changed})


def _check_limit(metric: str, limit: float, row: Row, method: str) -> Check:
    """Compares a metric with the limit that was given. UserError for a metric that the result does not have."""
    value = row.get(KEPT, {}).get("change") if metric == CHANGE else row[metric]
    if value is None:
        raise UserError(f"{METRICS}: {method} has no {LACKING[metric]}")
    points = _shown(value)
    if metric == "forgetting":
        ok, asked = points <= limit, f"at most {limit:g} is allowed"
    else:
        ok, asked = points >= limit, f"at least {limit:g} is asked"
    return Check(metric, points, limit, ok, f"{TITLES[metric]} {points} ({asked})")


def _require_revision(root: Path, against: str) -> None:
    if _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{against}^{{commit}}") is None:
        branches = _branches(root)
        known = f"{nearest(against, branches)}Branches: {first_names(branches) or 'none'}."
        problem = "git knows no such revision here. Name a branch, a tag or a commit."
        raise UserError(f"--against {against}: {problem} {known}")


def _compare(row: Row, committed: Row, against: str, tolerance: float) -> Iterator[Check]:
    """Compares each metric that both have with that of the revision."""
    for metric, value, committed_value in _both(BETTER, row, committed):
        sign = BETTER[metric]
        now, then = _shown(value), _shown(committed_value)
        worse = round(sign * (then - now), 1)
        text = f"{TITLES[metric]} {now} ({_points(worse)} worse than in {against}, {tolerance:g} is tolerated)"
        yield Check(metric, now, round(then - sign * tolerance, 4), worse <= tolerance, text, against)


def since_commit(root: Path, metrics: Mapping[str, Row], tasks: Sequence[str]) -> list[str]:
    """Returns which commit is checked out, and what differs from the metrics in it; nothing without a commit."""
    commit = _git(root, "rev-parse", "--short", "HEAD")
    if commit is None:
        return []
    changed = (_git(root, "diff", "--name-only", "--relative", "HEAD") or "").splitlines()
    edited = [file for file in changed if file not in (METRICS, "dvc.lock")]
    head = f"Commit {commit.strip()}"
    if edited:
        head += f" (changed since: {first_names(edited, 3)})"
    before = _committed(root, tasks, "HEAD")
    if isinstance(before, str):
        return [f"This result is not in git yet. {head} is the last one, {before}."]
    lines = []
    for method in {**before, **metrics}:
        changes = _changes(before.get(method), metrics.get(method))
        if changes:
            lines.append(f"  {method}: {', '.join(changes)}")
    return [f"{head}. Compared with its result:", *lines] if lines else [f"{head}, with the same result."]


def _changes(before: Row | None, now: Row | None) -> list[str]:
    """What differs in the result of a method."""
    if not now:
        return ["not in this result"]
    if not before:
        return ["new"]
    points = {name: round(_shown(new) - _shown(old), 1) for name, new, old in _both((*COLUMNS, KEPT), now, before)}
    changes = [f"{TITLES[name]} {value:+.1f}" for name, value in points.items() if value]
    if _probes(before) != _probes(now):
        changes.append("other probes")
    return changes


def _both(names: Iterable[str], now: Row, before: Row) -> Iterator[tuple[str, float, float]]:
    """The metrics that both have, KEPT among them where the probes are the same."""
    same = bool(_probes(now)) and _probes(now) == _probes(before)
    for name in names:
        if name != KEPT:
            new, old = now[name], before[name]
        elif same:
            new, old = now[KEPT]["mean"], before[KEPT]["mean"]
        else:
            continue
        if new is not None and old is not None:
            yield name, new, old


def _probes(row: Row) -> set[str]:
    """The tasks that no step learns."""
    return {*row.get(KEPT, {}).get("by_task", {})}


def _committed(root: Path, tasks: Sequence[str], revision: str) -> Mapping[str, Row] | str:
    """The metrics of all methods in the revision, or why there are none to compare with."""
    text = _git(root, "show", f"{revision}:./{METRICS}")
    params = _git(root, "show", f"{revision}:./{PARAMS}")
    if text is None:
        return "which has no result yet"
    metrics = read_metrics(Path(f"{revision}:{METRICS}"), text)
    try:
        values: Any = parse_yaml(params or "")
        learned = [str(step["task"]) for step in values["sequence"]]
    except (ValueError, TypeError, KeyError):  # params.yaml of an old revision need not be valid any more
        learned = []
    return metrics if learned == [*tasks] else f"which learned other tasks ({', '.join(learned)})"


def _branches(root: Path) -> list[str]:
    """The branches that git knows here, also those of remotes, the last changed first."""
    order, name = "--sort=-committerdate", "--format=%(refname:lstrip=2)"
    names = (_git(root, "for-each-ref", order, name, "refs/heads", "refs/remotes") or "").split()
    return [branch for branch in names if not branch.endswith("/HEAD")]


def _git(root: Path, *words: str) -> str | None:
    """What git prints, None if it fails or is not installed."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _shown(value: float) -> float:
    return float(one_decimal(value))


def _points(points: float) -> str:
    return f"{points:g} point{'' if points == 1 else 's'}"

"""why: for each stage that would run, the reason in words."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gift_core.code.versions import running_code
from gift_core.layout import CODE
from gift_core.quantities import byte_size, duration, first_names, plural
from gift_core.untrusted import leaves

from ..check import describe_edits
from ..code_files import code_files
from ..command_line import AsJson, print_json
from ..options import PARAMS, argument

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

    from ..dvc.pipeline import Changes, DvcPipeline

NEW = "it is new: dvc.lock does not have its outputs"
NEW_STEP = "sequence changed, and dvc.lock does not have its outputs"
MISSING = "its outputs are not here; dvc.lock records them"
CHANGED = "its outputs are not those that it wrote"
SHOWN_NAMES = 6


def why(
    targets: list[str] | None = argument("STAGE", "Stages, with those that they need. [default: all]", default=None),
    as_json: AsJson = False,
) -> None:
    """Say why `dvc repro` would run a stage: what changed since it ran last, and how long it takes.

    It names keys of params.yaml with their old and new values, new versions of
    the stage and what they change, edited modules, changed files and missing
    outputs. The stages that only follow from these are counted. Nothing runs.

    Example: gift why finetune@gift-step1
    """
    from gift_core.config.loading import load_config

    from ..dvc.pipeline import open_pipeline
    from ..dvc.time_left import DVC_SECONDS, expected_seconds

    config = load_config(PARAMS)
    with open_pipeline(targets or []) as pipeline:
        expected = expected_seconds(pipeline, pipeline.upstream)
        seconds = {name: time for name, time in expected.items() if time > DVC_SECONDS}  # others are not known
        groups = stale_stages(pipeline, config, seconds)
        summary = total_time(pipeline, [name for group in groups for name in group["stages"]], seconds)
        lost = [group for group in groups if {MISSING, CHANGED} & {*group["reasons"]}]
        recorded = [name for group in lost for name in group["stages"]]
        size = byte_size(pipeline.recorded_bytes(recorded))
        may_pull = bool(recorded) and pipeline.has_remote
    if as_json:
        print_json({"stale": groups, **summary})
        return
    for group in groups:
        typer.echo("\n  ".join([f"{first_names(group['stages'], SHOWN_NAMES)} would run:", *group["reasons"]]))
        if group["seconds"] is not None:
            typer.echo(f"  This takes about {duration(group['seconds'])}.")
    nothing = "Nothing is new or changed: dvc repro would run nothing."
    typer.echo(describe(summary) if groups or summary["follow"] else nothing)
    if may_pull:
        typer.echo(f"Outputs that somebody has pushed need not be made again. Pull them ({size}): make get")
    if running_code().edited:
        typer.echo(f"Note: {describe_edits()}.")


def stale_stages(pipeline: DvcPipeline, config: Config, seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Returns the stages with a reason of their own, those that come first in front, grouped by their reasons.

    A row has "stages", "reasons", and the "seconds" that they take, None where unknown.
    """
    code = code_files(config, Path())
    writers = pipeline.writers()
    report = pipeline.changes("report") if "report" in pipeline.upstream else None
    new_step = NEW_STEP if report and not report.is_new and "sequence" in report.params else NEW
    groups = dict[tuple[str, tuple[str, ...]], list[str]]()
    stale = set[str]()
    for name in pipeline.upstream:
        changes = pipeline.changes(name)
        edits = list[str]()
        for path in sorted(changes.code & code.keys()):
            edits += explain_code(path, changes.recorded(path, code[path]), code[path])
        reasons = _reasons(changes, edits, writers, stale)
        if changes.is_new:
            reasons = [new_step if name[-1].isdigit() else NEW]  # write_prompts@2, teach@gift-step2
        if reasons:
            stale.add(name)
            groups.setdefault((name.partition("@")[0], tuple(reasons)), []).append(name)
    return [
        {
            "stages": names,
            "reasons": reasons,
            "seconds": sum(seconds[name] for name in names) if seconds.keys() >= {*names} else None,
        }
        for (_, reasons), names in groups.items()
    ]


def _reasons(changes: Changes, edits: list[str], writers: Mapping[str, str], stale: Collection[str]) -> list[str]:
    """Why a stage would run: what changed itself, not what may change because a stage before it runs."""
    reasons = ["its command in dvc.yaml changed"] if changes.command else []
    reasons += [f"{key}: {_shown(old, new)}" for key, (old, new) in changes.params.items()]
    for path, status in changes.deps.items():
        above = (str(folder) for folder in (Path(path), *Path(path).parents))
        writer = next((writers[folder] for folder in above if folder in writers), None)
        inside = {name for output, name in writers.items() if output.startswith(f"{path}/")}
        if writer and status != "deleted":
            reasons.append(f"{path}, which {writer} writes, is not what it was when this stage ran")
        elif writer not in stale and inside.isdisjoint(stale):
            without = ". To do without it: dvc repro --allow-missing" if path.startswith("data/0_raw/") else ""
            reasons.append(f"{path} is missing{without}" if status == "deleted" else f"{path} changed")
    reasons += edits
    gone = [status in ("deleted", "not in cache") for status in changes.outs.values()]
    if any(gone) and not reasons:  # else it writes them anyway
        reasons.append(MISSING)
    return reasons if all(gone) else [*reasons, CHANGED]


def explain_code(path: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[str]:
    """Yields what differs between two contents of a file in data/code, in words. `old`: None where it is lost."""
    stage, *names = Path(path).relative_to(CODE).with_suffix("").parts
    if old is None:
        yield f"dvc.lock records another {path}, which is not on this machine: gift get pulls it, if it was pushed"
        return
    was, now = (dict(leaves(content.get("settings", {}), ".".join(["methods", *names]))) for content in (old, new))
    yield from (f"{key}: {_shown(was.get(key), now.get(key))}" for key in _different(was, now))
    former, version = old["version"], new["version"]
    sentences = [running_code().versions[stage][number] for number in range(former + 1, version + 1)]
    if former != version:
        older = "this installation is older than the one that ran the stage"
        yield f"version of {stage}: {former} -> {version} ({'; '.join(sentences) or older})"
    if edited := _different(old.get("edited", {}), new.get("edited", {})):
        yield f"edited since it ran: {first_names(edited, SHOWN_NAMES)}"
    for key in ("files", "own_code"):
        files, changed = old.get(key, {}), _different(old.get(key, {}), new.get(key, {}))
        yield from (f"{file} changed" for file in changed if file in files)  # else a setting names it now


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))


def _shown(*values: Any) -> str:
    """The values of a key, one after another; of two sequences in another order, the names of their tasks."""
    texts = ["nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]
    if all(isinstance(value, list) and value and "task" in value[0] for value in values):
        orders = [", ".join(step["task"] for step in steps) for steps in values]
        texts = orders if len({*orders}) > 1 else texts
    return " -> ".join(texts)


def total_time(pipeline: DvcPipeline, run: Collection[str], seconds: Mapping[str, float]) -> dict[str, Any]:
    """Returns the numbers of stages that would run, and that may follow, and their seconds, where these are known."""
    from ..dvc.run_loop import Schedule

    schedule = Schedule(pipeline.upstream, {})
    behind = {later for name in {*run} - {"check"} for later in schedule.behind(name)}  # what follows check is known
    follow = {name for name in behind if pipeline.command(name)} - {*run}
    known = [seconds[name] for name in {*run, *follow} if name in seconds]
    return {
        "run": len(run),
        "of": sum(bool(pipeline.command(name)) for name in pipeline.upstream),
        "follow": len(follow),
        "seconds": round(sum(known), 1),
        "without_time": len(run) + len(follow) - len(known),
    }


def describe(summary: Mapping[str, Any]) -> str:
    """Returns the sentences about total_time."""
    text = f"{summary['run']:,} of {summary['of']:,} stages would run."
    if summary["follow"]:
        text += f" {plural(summary['follow'], 'later stage')} may follow, where the input changes."
    unknown = summary["without_time"]
    if 2 * unknown > summary["run"] + summary["follow"]:
        return f"{text} How long they take is not known yet: `gift rehearse` measures it."
    more = f", without {plural(unknown, 'stage')} that never ran here" if unknown else ""
    return f"{text} All of these take about {duration(summary['seconds'])} one after another{more}."

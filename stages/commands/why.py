"""why: for each stage that would run, the reason in words."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gift_core.quantities import byte_size, duration, first_names, plural

from ..check import describe_edits
from ..command_line import AsJson, print_json
from ..stage import PARAMS, argument

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

    from ..dvc.pipeline import Changes, DvcPipeline

Targets = Annotated[
    list[str] | None, argument("STAGE", "Stages, with those that they need. [default: all]", show_default=False)
]
Stale = Mapping[str, Any]  # a row of stale_stages
CHECK = "check"
NEW = "it is new: dvc.lock does not have its outputs"
MISSING, CHANGED = "its outputs are not here; dvc.lock records them", "its outputs are not those that it wrote"
SHOWN_VALUE = 60  # characters
SHOWN_BEFORE = 20  # of them before the first difference
SHOWN_NAMES = 6
SHOWN_REASONS = 8  # of one kind


def why(targets: Targets = None, as_json: AsJson = False) -> None:
    """Say why `dvc repro` would run a stage: what changed since it ran last, and how long it took.

    It names keys of params.yaml with their old and new values, edited functions,
    parts of GIFT with a new revision, changed files and missing outputs. The
    stages that only follow from these are counted. Nothing runs.

    Example: gift why finetune@gift-step1
    """
    from gift_core.code.fingerprint import running_code
    from gift_core.code.revisions import code_files
    from gift_core.config.loading import load_config

    from ..dvc.pipeline import open_pipeline

    config = load_config(PARAMS)
    with open_pipeline(Path(), targets or []) as pipeline:
        found = stale_stages(pipeline, config)
        chosen = {name for name in targets or () if name in pipeline.upstream}
        summary = total_time(pipeline, [name for each in found for name in each["stages"]])
        recorded = [name for each in found if {MISSING, CHANGED} & {*each["reasons"]} for name in each["stages"]]
        size = byte_size(pipeline.recorded_bytes(recorded))
    if as_json:
        print_json({"stale": found, **summary})
        return
    for each in found:
        typer.secho(
            f"{first_names(each['stages'], SHOWN_NAMES)} would run:", bold=not chosen.isdisjoint(each["stages"])
        )
        for reason in each["reasons"]:
            typer.echo(f"  {reason}")
        took = "Such stages took" if NEW in each["reasons"] else "It took"
        times = "" if each["seconds"] is None else f"{took} {duration(each['seconds'])} the last time. "
        follow = f"{plural(each['follow'], 'more stage')} may follow from it." if each["follow"] else ""
        if times or follow:
            typer.echo(f"  {times}{follow}".rstrip())
    if found or summary["follow"]:
        typer.echo(describe(summary))
    else:
        typer.echo("Nothing is new or changed: dvc repro would run nothing.")
    if recorded:
        typer.echo(f"Outputs that somebody has pushed need not be made again. Pull them ({size}): make get")
    if running_code().edited_files:
        typer.echo(f"Note: {describe_edits(code_files(running_code(), config).values())}.")


def stale_stages(pipeline: DvcPipeline, config: Config) -> list[Stale]:
    """Returns the stages with a reason of their own, those that come first in front, grouped by their reasons.

    A row has "stages", "reasons", the "seconds" that they took last, None where unknown, and how many "follow".
    """
    from gift_core.code.fingerprint import running_code
    from gift_core.code.revisions import code_files
    from gift_core.execution.schedule import Schedule

    all_changes = {name: pipeline.changes(name) for name in pipeline.upstream}
    code = code_files(running_code(), config) if any(changes.code for changes in all_changes.values()) else {}
    writers, reasons = pipeline.writers(), dict[str, tuple[str, ...]]()
    for name, changes in all_changes.items():
        edits = [
            line
            for path in sorted(changes.code & code.keys())
            for line in explain_code(Path(path).stem, changes.recorded(path, code[path]), code[path])
        ]
        if found := _reasons(changes, edits, writers, reasons):
            reasons[name] = tuple(found)
    seconds, schedule = pipeline.expected_seconds(), Schedule(pipeline.upstream, {})
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name in schedule.order:
        if name in reasons:
            groups.setdefault((name.partition("@")[0], reasons[name]), []).append(name)
    return [
        {
            "stages": names,
            "reasons": listed,
            "seconds": sum(seconds[name] for name in names) if seconds.keys() >= {*names} else None,
            "follow": len({each for name in names for each in schedule.behind(name)} - reasons.keys())
            if names != [CHECK]
            else 0,
        }
        for (_, listed), names in groups.items()
    ]


def _reasons(changes: Changes, edits: list[str], writers: Mapping[str, str], stale: Collection[str]) -> list[str]:
    """Why a stage would run: what changed itself, not what may change because a stage before it runs."""
    if changes.is_new:
        return [NEW]
    found = ["its command in dvc.yaml changed"] if changes.command else []
    found += [f"{key}: {_shown(old, new)}" for key, (old, new) in changes.params.items()]
    for path, status in changes.deps.items():
        above = (str(each) for each in (Path(path), *Path(path).parents))
        writer = next((writers[each] for each in above if each in writers), None)
        inside = {name for output, name in writers.items() if output.startswith(f"{path}/")}
        if writer and status != "deleted":
            found.append(f"{path}, which {writer} writes, is not what it was when this stage ran")
        elif writer not in stale and inside.isdisjoint(stale):
            without = ". To do without it: dvc repro --allow-missing" if path.startswith("data/0_raw/") else ""
            found.append(f"{path} is missing{without}" if status == "deleted" else f"{path} changed")
    found += edits
    gone = [status in ("deleted", "not in cache") for status in changes.outs.values()]
    if any(gone) and not found:  # else it writes them anyway
        found.append(MISSING)
    return found if all(gone) else [*found, CHANGED]


def explain_code(name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[str]:
    """Yields what differs between two contents of a file in data/code, in words. `old`: None where it is lost.

    `name` is that of the task or method whose file it is.
    """
    from gift_core.code.fingerprint import running_code
    from gift_core.code.revisions import read_table
    from gift_core.untrusted import leaves

    if old is None:
        yield "it ran with other code, which the cache does not have"
        return
    was, now = (dict(leaves(row["settings"], f"methods.{name}") if row.get("settings") else ()) for row in (old, new))
    yield from (f"{key}: {_shown(was.get(key), now.get(key))}" for key in _different(was, now))
    for part in _different(old["revisions"], new["revisions"]):
        former, number = old["revisions"].get(part), new["revisions"].get(part)
        if former is None or number is None:
            yield f"{part} is {'used now' if former is None else 'not used any more'}"
        elif number < former:
            older = "This installation is older than the one that ran the stage"
            yield f"revision of {part}: {former} -> {number}. {older}"
        else:
            reason = read_table(running_code())[part]["reasons"].get(str(number))
            yield f"revision of {part}: {former} -> {number}{f' ({reason})' if reason else ''}"
    before, after = old.get("edited", {}), new.get("edited", {})
    edited = _different(before, after)
    for key in edited[:SHOWN_REASONS]:
        yield f"{key} {'was edited' if key in after else 'is as released again, after an edit'}"
    if len(edited) > SHOWN_REASONS:
        yield f"{len(edited) - SHOWN_REASONS} more files were edited"


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))


def _shown(old: Any, new: Any) -> str:
    """Both values. Of long ones, the part from a little before the first difference."""
    texts = ["nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in (old, new)]
    same = next((at for at, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), 0)
    start = max(0, same - SHOWN_BEFORE) if max(map(len, texts)) > SHOWN_VALUE else 0
    parts = [text[start:] for text in texts]
    parts = [part if len(part) <= SHOWN_VALUE else f"{part[: SHOWN_VALUE - 3]}..." for part in parts]
    return " -> ".join(f"...{part}" if start else part for part in parts)


def total_time(pipeline: DvcPipeline, run: Collection[str]) -> dict[str, Any]:
    """Returns the numbers of stages that would run, and that may follow, and their seconds, where these are known."""
    from gift_core.execution.schedule import Schedule

    schedule, seconds = Schedule(pipeline.upstream, {}), pipeline.expected_seconds()
    behind = {each for name in {*run} - {CHECK} for each in schedule.behind(name)}  # what follows check is known
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
    if not summary["seconds"]:
        return f"{text} How long they take is not known yet: `gift doctor --time` estimates it."
    unknown = summary["without_time"]
    more = f", without {plural(unknown, 'stage')} that never ran here" if unknown else ""
    return f"{text} By the last times all of these take {duration(summary['seconds'])} one after another{more}."

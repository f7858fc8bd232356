"""rehearse: every stage of the experiment with little work, and what the whole experiment takes according to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gift_core.errors import lookup
from gift_core.layout import Layout
from gift_core.quantities import byte_size, duration, plural

from ..command_line import PLAIN, AsJson, hint, name_guides, print_json, print_table
from ..options import PARAMS, chosen_names, option

if TYPE_CHECKING:
    from gift_core.config.experiment import Config
    from gift_core.doctor.finding import Finding
    from gift_core.doctor.measurement import Measurement, StageNeeds


def rehearse(
    preset: str | None = option("PRESET", "Rehearse this preset in place of params.yaml, without switching to it."),
    tasks: str | None = option("NAMES", "Only these steps of the sequence: dtd,eurosat. [default: all]"),
    methods: str | None = option("NAMES", "Only these: finetune,gift. [default: all of run.methods]"),
    as_json: AsJson = False,
) -> None:
    """Run every stage with little work, and say what fails and what the whole experiment takes.

    The models, the settings of precision, batches and memory, and the names of all
    classes are the real ones. Of each class there are few images, of each task one
    batch of generated images, of each training three iterations. It runs in
    .gift/rehearsal, which is removed at the end: nothing of the experiment changes.
    Exits with code 1 if a stage fails, or if the experiment does not fit the memory
    or the disk, or takes days on a CPU. `gift doctor` shows the measurement again.

    Example: gift rehearse --methods gift
    """
    from gift_core.artifacts.contract import write_json
    from gift_core.doctor.finding import Project
    from gift_core.doctor.measured_needs import check_disk, check_memory, check_time
    from gift_core.doctor.measurement import whole_needs

    from ..dvc.rehearsal import rehearse as run

    config, params = _experiment(preset, tasks, methods)
    measured = run(config, params)
    write_json(Layout(Path()).measured(), asdict(measured))
    project = Project(Path(), config, is_active=preset is None)
    needs = whole_needs(measured, project)
    findings = [*check_memory(project), *check_disk(project), *check_time(project)]
    if as_json:
        print_json(_record(measured, needs, findings))
    else:
        _print(measured, needs, findings, preset)
    if measured.failures or any(finding.mark == "fail" for finding in findings):
        raise typer.Exit(1)


def _experiment(preset: str | None, tasks: str | None, methods: str | None) -> tuple[Config, str]:
    """Returns the experiment, with these tasks and methods only, and the text of the rehearsal's params.yaml."""
    import yaml

    from gift_core.config.checks import require_task
    from gift_core.config.loading import parse_config
    from gift_core.config.presets import complete_text, find_presets
    from gift_core.doctor.measurement import reduced
    from gift_core.untrusted import parse_yaml

    file = lookup(find_presets(Path()), preset, "gift rehearse: presets") if preset else PARAMS
    text = complete_text(file)
    config = parse_config(text, file.name)
    require_task(config, file.name)
    chosen_tasks = chosen_names(tasks, [step.task for step in config.sequence], "--tasks")
    chosen_methods = chosen_names(methods, config.run.methods, "--methods")
    values = _part(parse_yaml(text), chosen_methods, chosen_tasks)
    whole, few = (yaml.safe_dump(params, sort_keys=False, allow_unicode=True) for params in (values, reduced(values)))
    return parse_config(whole, file.name), few


def _part(values: Mapping[str, Any], methods: list[str], tasks: list[str]) -> dict[str, Any]:
    """Returns the content of params.yaml with these methods and steps only."""
    from gift_core.config.checks import START

    steps = [step for step in values["sequence"] if step["task"] in tasks]
    before = [START, *(step["task"] for step in steps)]
    sequence = [{**step, "after": after} for step, after in zip(steps, before, strict=False)]
    rows = {name: row for name, row in values["tasks"].items() if name in (*tasks, *values["evaluation"]["probes"])}
    return {**values, "run": values["run"] | {"methods": methods}, "tasks": rows, "sequence": sequence}


def _failures(measured: Measurement, needs: Sequence[StageNeeds]) -> list[dict[str, Any]]:
    """Returns {"stage", "error", "after_seconds", "skipped"} of each failed stage."""
    from gift_core.doctor.measured_needs import seconds_of

    return [
        {
            "stage": failure["stage"],
            "error": failure["error"],
            "after_seconds": round(seconds_of(needs[: failure["done"]])),
            "skipped": failure["skipped"],
        }
        for failure in measured.failures
    ]


def _record(measured: Measurement, needs: Sequence[StageNeeds], findings: Sequence[Finding]) -> dict[str, Any]:
    from gift_core.doctor.measured_needs import seconds_of

    return {
        "date": measured.date,
        "device": measured.device,
        "seconds": measured.seconds,
        "failures": _failures(measured, needs),
        "stages": [asdict(stage) for stage in needs],
        "whole_seconds": round(seconds_of(needs)),
        "gpu_seconds": round(seconds_of(stage for stage in needs if stage.uses_gpu)),
        "bytes": sum(stage.bytes for stage in needs),
        "findings": [asdict(finding) for finding in findings],
    }


def _print(measured: Measurement, needs: Sequence[StageNeeds], findings: Sequence[Finding], preset: str | None) -> None:
    """Prints what failed, a row for each kind of stage, and what does not fit."""
    for failure in _failures(measured, needs):
        typer.secho(f"failed: {failure['stage']}", fg=typer.colors.RED, bold=True)
        typer.echo(f"  {failure['error']}")
        later = f" {plural(failure['skipped'], 'later stage')} could not be rehearsed." if failure["skipped"] else ""
        typer.echo(f"  The run would have stopped here after about {duration(failure['after_seconds'])}.{later}")
    _print_kinds(measured, needs)
    problems = [finding for finding in findings if finding.mark in ("warn", "fail")]
    for problem in problems:
        typer.echo(f"{problem.mark}: {problem.subject}: {name_guides(problem.sentence)}")
    if measured.failures:
        count = len(measured.failures)
        typer.secho(f"{plural(count, 'stage')} failed, so the sums are those of the others.", bold=True)
    elif not any(problem.mark == "fail" for problem in problems):
        typer.secho("Every stage ran, and the experiment fits.", bold=True)
        hint(f"Next: {f'gift use {preset} && dvc repro' if preset else 'dvc repro'}")


def _print_kinds(measured: Measurement, needs: Sequence[StageNeeds]) -> None:
    from gift_core.doctor.measured_needs import by_kind, seconds_of

    rows = []
    for kind, stages in {**by_kind(needs), "all": needs}.items():
        on_device = [stage for stage in stages if stage.uses_gpu] or stages
        peak = "" if kind == "all" else byte_size(max(stage.peak for stage in on_device))
        size = byte_size(sum(stage.bytes for stage in stages))
        rows.append((kind, f"{len(stages)}", duration(seconds_of(stages)), peak, size))
    on_gpu = seconds_of(stage for stage in needs if stage.uses_gpu)
    ran = plural(len(needs) + len(measured.failures), "stage")
    title = f"The whole experiment on {measured.device}, estimated: {ran} took {duration(measured.seconds)} to rehearse"
    print_table(("", "stages", "time", "peak memory", "disk"), rows, title=title, bold=[len(rows) - 1], left=1, **PLAIN)
    if on_gpu:
        typer.echo(f"GPU hours: {on_gpu / 3600:.1f}")

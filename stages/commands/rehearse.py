"""rehearse: every stage of the experiment with little work, and what the whole experiment takes according to that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gift_core.errors import lookup
from gift_core.layout import Layout
from gift_core.quantities import byte_size, duration, plural

from ..command_line import PLAIN, AsJson, hint, name_guides, print_json, print_table
from ..stage import PARAMS, option

if TYPE_CHECKING:
    from gift_core.config.experiment import Config
    from gift_core.doctor.finding import Finding, Project
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

    from ..dvc.rehearsal import rehearse as run

    config, params = _experiment(preset, tasks, methods)
    measured = run(config, params)
    write_json(Layout(Path()).measured(), asdict(measured))
    project = Project(Path(), config, is_active=preset is None)
    findings = [each for check in (check_memory, check_disk, check_time) for each in check(project)]
    if as_json:
        print_json(_record(measured, project, findings))
    else:
        _print(measured, project, findings, preset)
    if measured.failures or any(each.mark == "fail" for each in findings):
        raise typer.Exit(1)


def _experiment(preset: str | None, tasks: str | None, methods: str | None) -> tuple[Config, str]:
    """Returns the experiment, with these tasks and methods only, and the text of the rehearsal's params.yaml."""
    import yaml

    from gift_core.config.checks import require_task
    from gift_core.config.loading import parse_config
    from gift_core.config.presets import complete_text, find_presets
    from gift_core.doctor.measurement import reduced
    from gift_core.untrusted import parse_yaml

    from ..dvc.rehearsal import chosen

    file = lookup(find_presets(Path()), preset, "gift rehearse: presets") if preset else PARAMS
    text = complete_text(file)
    config = parse_config(text, file.name)
    require_task(config, file.name)
    steps = {step.task: step.task for step in config.sequence}
    known = {name: name for name in config.run.methods}
    named = [lookup(steps, name, "--tasks") for name in (tasks.split(",") if tasks else steps)]
    of = [lookup(known, name, "--methods") for name in (methods.split(",") if methods else known)]
    values = chosen(parse_yaml(text), of, named)
    dumped = yaml.safe_dump(reduced(values), sort_keys=False, allow_unicode=True)
    return parse_config(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), file.name), dumped


def _whole(measured: Measurement, project: Project) -> list[StageNeeds]:
    from gift_core.doctor.measurement import whole_needs

    return whole_needs(measured, project)


def _failures(measured: Measurement, needs: Sequence[StageNeeds]) -> list[dict[str, Any]]:
    """Returns {"stage", "error", "after_seconds", "skipped"} of each failed stage."""
    return [
        {
            "stage": each["stage"],
            "error": each["error"],
            "after_seconds": round(sum(need.seconds for need in needs[: each["done"]])),
            "skipped": each["skipped"],
        }
        for each in measured.failures
    ]


def _record(measured: Measurement, project: Project, findings: Sequence[Finding]) -> dict[str, Any]:
    needs = _whole(measured, project)
    return {
        "date": measured.date,
        "device": measured.device,
        "seconds": measured.seconds,
        "failures": _failures(measured, needs),
        "stages": [asdict(each) for each in needs],
        "whole_seconds": round(sum(each.seconds for each in needs)),
        "gpu_seconds": round(sum(each.seconds for each in needs if each.uses_gpu)),
        "bytes": sum(each.bytes for each in needs),
        "findings": [asdict(each) for each in findings],
    }


def _print(measured: Measurement, project: Project, findings: Sequence[Finding], preset: str | None) -> None:
    """Prints what failed, a row for each kind of stage, and what does not fit."""
    needs = _whole(measured, project)
    for failure in _failures(measured, needs):
        typer.secho(f"failed: {failure['stage']}", fg=typer.colors.RED, bold=True)
        typer.echo(f"  {failure['error']}")
        later = f" {plural(failure['skipped'], 'later stage')} could not be rehearsed." if failure["skipped"] else ""
        typer.echo(f"  The run would have stopped here after about {duration(failure['after_seconds'])}.{later}")
    _print_kinds(measured, needs)
    problems = [each for each in findings if each.mark in ("warn", "fail")]
    for each in problems:
        typer.echo(f"{each.mark}: {each.subject}: {name_guides(each.sentence)}")
    if measured.failures:
        count = len(measured.failures)
        typer.secho(f"{plural(count, 'stage')} failed, so the sums are those of the others.", bold=True)
    elif not any(each.mark == "fail" for each in problems):
        typer.secho("Every stage ran, and the experiment fits.", bold=True)
        hint(f"Next: {f'gift use {preset} && dvc repro' if preset else 'dvc repro'}")


def _print_kinds(measured: Measurement, needs: Sequence[StageNeeds]) -> None:
    from gift_core.doctor.measured_needs import by_kind

    rows = []
    for kind, stages in by_kind(needs).items():
        where = "gpu" if any(each.uses_gpu for each in stages) else "process"
        peak = max(each.peaks.get(where, 0) for each in stages)
        row = kind, f"{len(stages)}", duration(sum(each.seconds for each in stages)), byte_size(peak)
        rows.append((*row, byte_size(sum(each.bytes for each in stages))))
    on_gpu = sum(each.seconds for each in needs if each.uses_gpu)
    total = f"{len(needs)}", duration(sum(each.seconds for each in needs)), "", byte_size(sum(n.bytes for n in needs))
    rows.append(("all", *total))
    ran = plural(len(needs) + len(measured.failures), "stage")
    title = f"The whole experiment on {measured.device}, by {ran} in {duration(measured.seconds)}"
    print_table(("", "stages", "time", "peak memory", "disk"), rows, title=title, bold=[len(rows) - 1], left=1, **PLAIN)
    if on_gpu:
        typer.echo(f"GPU hours: {on_gpu / 3600:.1f}")

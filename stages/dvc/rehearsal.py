"""Runs the stages of an experiment with little work, in a project of its own, and collects what they measured."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.layout import Layout
from gift_core.process_variables import PLAN
from gift_core.quantities import duration, first_names, plural
from gift_core.untrusted import read_json_file

from ..command_line import note
from .fork_server import serving
from .own_project import write_project
from .pipeline import DvcPipeline, open_pipeline, repro, require_free

if TYPE_CHECKING:
    from gift_core.config.experiment import Config
    from gift_core.doctor.measurement import Measurement

SILENT = (
    "it was ended, or DVC did not start it: what DVC says is above. The system ends a stage if memory is insufficient."
)


def rehearse(config: Config, params: str) -> Measurement:
    """Runs the experiment `config`, whose reduced form is the text `params`, and returns what was measured.

    The project is removed afterwards, also after Ctrl-C.
    """
    from gift_core.doctor.measurement import rehearsal_seconds

    root = Layout(Path()).rehearsal()
    require_free(root)
    shutil.rmtree(root, ignore_errors=True)  # of a rehearsal that was killed
    try:
        write_project(root, params, config, shares_cache=False)
        with _inside(root):
            with open_pipeline() as pipeline:
                names = [name for name in pipeline.upstream if pipeline.command(name)]
            expected = rehearsal_seconds(config)
            note(
                f"rehearsal: {plural(len(names), 'stage')}, at least {duration(expected)}, and longer with large models"
            )
            plan = Path(".gift", "plan.json").absolute()
            plan.parent.mkdir(exist_ok=True)
            plan.write_text(json.dumps(dict.fromkeys(names, expected / len(names))), encoding="utf-8")
            started = time.monotonic()
            with serving({**os.environ, PLAN: str(plan)}) as environment:
                repro(Path(), "--keep-going", environment=environment)
            seconds = time.monotonic() - started
            with open_pipeline() as pipeline:
                stages, failures = _results(pipeline)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return _measurement(config, seconds, stages, failures)


@contextmanager
def _inside(root: Path) -> Iterator[None]:
    """Works in the folder within the block: DVC and the stages take paths from the working folder."""
    former = Path.cwd()
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(former)


def _results(pipeline: DvcPipeline) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns what each finished stage measured, in their order, and the reason of each failed one."""
    stages = list[dict[str, Any]]()
    failures = list[dict[str, Any]]()
    writers = pipeline.writers()
    lost = dict[str, dict[str, Any]]()  # the failure because of which a stage has no result
    for name, before in pipeline.upstream.items():
        file = pipeline.timing(name)
        if file is None:
            continue
        cause = next((lost[stage] for stage in before if stage in lost), None)
        if cause is not None and not file.is_file():
            lost[name] = cause
            cause["skipped"] += 1
            continue
        measured = dict(read_json_file(file)) if file.is_file() else {"error": _silent_failure(pipeline, name)}
        if "error" in measured:
            lost[name] = {"stage": name, "error": measured["error"], "done": len(stages), "skipped": 0}
            failures.append(lost[name])
        else:
            outs = [path for path, stage in writers.items() if stage == name]
            size = pipeline.recorded_bytes([name])
            stages.append({**measured, "bytes": size, "fixed_bytes": _fixed_bytes(measured), "outs": outs})
    return stages, failures


def _silent_failure(pipeline: DvcPipeline, name: str) -> str:
    """Returns why a stage has left no note: what it depends on is missing, or else what can be the case."""
    missing = pipeline.missing(name)
    return f"there is no {first_names(missing)}. `gift doctor` says how to get it." if missing else SILENT


def _fixed_bytes(measured: Mapping[str, Any]) -> int:
    """The bytes of a stage's output that do not depend on the amount of work: Fisher information is as large as the
    model."""
    from gift_core.artifacts.teacher_files import FISHER

    file = Layout(Path()).teacher(measured["method"], measured["task"]) / FISHER
    return file.stat().st_size if measured["stage"] == "teach" and file.is_file() else 0


def _measurement(
    config: Config, seconds: float, stages: list[dict[str, Any]], failures: list[dict[str, Any]]
) -> Measurement:
    from gift_core.doctor.measured_needs import memory_of
    from gift_core.doctor.measurement import Measurement, deciding
    from gift_core.execution.pool import core_count
    from gift_core.torch_devices import resolve_device

    device = resolve_device(config.run.device)
    cores = plural(core_count(), "core")
    rest = seconds - sum(stage["seconds"] for stage in stages)
    return Measurement(
        date=time.strftime("%Y-%m-%d %H:%M"),
        device=f"cpu ({cores})" if device.type == "cpu" else memory_of(device).name,
        seconds=round(seconds, 1),
        overhead=round(max(0.0, rest) / max(1, len(stages) + len(failures)), 3),
        methods=config.run.methods,
        tasks=config.used_tasks,
        settings=deciding(config, config.run.methods, config.used_tasks),
        stages=tuple(stages),
        failures=tuple(failures),
    )

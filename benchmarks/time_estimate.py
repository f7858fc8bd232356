"""The times that `gift doctor` estimates from counted operations, beside those of stages that have run.

    python -m benchmarks.time_estimate .         # this project, after make repro
    python -m benchmarks.time_estimate --smoke   # what make smoke-full has recorded in smoke_full.csv

The estimate takes nothing from the run times, and it is for a machine that does nothing else. --record appends the
table to a page.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch
import yaml

from benchmarks.smoke.experiment import GENERATOR, MODEL, TASKS, smoke_experiment
from benchmarks.smoke.sizes import FULL
from gift_core.artifacts.contract import write_json
from gift_core.artifacts.model_folder import CONFIG
from gift_core.artifacts.task import TaskInfo
from gift_core.config.loading import load_config
from gift_core.datasets.catalogue.inventory import catalogue_row
from gift_core.doctor.finding import Project
from gift_core.doctor.stage_work import count_work, type_of
from gift_core.doctor.time_estimate import measure_speed
from gift_core.layout import Layout

SMOKE = Path(__file__).parent / "smoke_full.csv"
NOT_COUNTED = ("check",)
LIBRARIES = ("torch", "open_clip", "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion")


def main() -> None:
    """Prints the table, and appends it to --record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("folder", type=Path, nargs="?", help="a project whose stages have run")
    chosen.add_argument("--smoke", action="store_true", help="the two tasks of make smoke-full")
    parser.add_argument("--record", type=Path, help="the page to append the table to")
    choices = parser.parse_args()
    if choices.smoke:
        with tempfile.TemporaryDirectory() as folder:
            lines = compared(smoke_project(Path(folder)), of_table(SMOKE))
    else:
        lines = compared(project_in(choices.folder), of_notes(choices.folder))
    print("\n".join(lines))
    if choices.record:
        machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
        when = f"{datetime.date.today()}, {machine}, load {os.getloadavg()[0]:.1f} while the device was measured."
        title = "make smoke-full" if choices.smoke else "make repro"
        with choices.record.open("a", encoding="utf-8") as page:
            page.write("\n".join([f"\n## {title}\n", *lines, "", when, ""]))


def project_in(folder: Path) -> Project:
    """Returns the project in a folder."""
    return Project(folder, load_config(folder / "params.yaml"))


def smoke_project(folder: Path) -> Project:
    """Returns the experiment of `make smoke-full`, in `folder`: the configurations of its models, and its tasks."""
    experiment = smoke_experiment(FULL)
    configs = {
        f"{MODEL}/{CONFIG}": {"model_cfg": FULL.clip},
        f"{GENERATOR}/unet/config.json": FULL.unet,
        f"{GENERATOR}/vae/config.json": FULL.autoencoder,
    }
    for task in TASKS:
        row = catalogue_row(task, "benchmark")
        names, classes = tuple(row.classes.values()), len(row.classes)  # one image of each class and split
        info = TaskInfo(task, names, row.templates, "catalogue", {"train": classes, "test": classes})
        configs[f"data/1_tasks/{task}/task.json"] = asdict(info)
    for name, content in configs.items():
        write_json(folder / name, dict(content))
    (folder / "params.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
    return project_in(folder)


def of_notes(folder: Path) -> dict[str, float]:
    """Returns {stage type: seconds} of a project's last run."""
    notes = ((file.parent.name, file) for file in Layout(folder).timings().glob("*/*.json"))
    return _summed((stage, json.loads(file.read_text(encoding="utf-8"))["seconds"]) for stage, file in notes)


def of_table(table: Path) -> dict[str, float]:
    """Returns {stage type: seconds} of a table of `make smoke-full`."""
    with table.open(encoding="utf-8") as file:
        return _summed((row["stage"].split()[0], float(row["seconds"])) for row in csv.DictReader(file))


def of_stages(table: pd.DataFrame, imports: float) -> dict[str, float]:
    """Returns {stage type: processor seconds} of the table of a smoke run that has just ended.

    Stages that took longer than `imports`, the seconds of `import_seconds`, are taken to have imported the libraries.
    Under `make repro` the fork server has done that, so the estimate does not count it.
    """
    seconds = zip(table["stage"].str.split().str[0], table["cpu_seconds"], strict=True)
    return _summed((stage, own - imports if own > imports else own) for stage, own in seconds)


def import_seconds() -> float:
    """Returns the processor seconds of importing the libraries of the stages, in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {', '.join(LIBRARIES)}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _summed(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for stage, each in times:
        if stage not in NOT_COUNTED:
            seconds[type_of(stage)] += each
    return seconds


def compared(project: Project, measured: dict[str, float], *, threads: int | None = None) -> list[str]:
    """Returns the lines of a table: stage type, estimate, run time, and their ratio.

    `threads`: how many the stages had; as many as there are cores if it is None.
    """
    speed, estimated = measure_speed(project), dict[str, float]()
    if threads is not None:
        share = threads / len(os.sched_getaffinity(0))
        speed = replace(speed, clip=share * speed.clip, pipeline=share * speed.pipeline)
    for work in count_work(project).stages:
        kind = type_of(work.stage)
        estimated[kind] = estimated.get(kind, 0.0) + speed.seconds(work)
    rows = {stage: (estimated[stage], measured[stage]) for stage in estimated}
    rows["total"] = (sum(estimated.values()), sum(measured.values()))
    head = ["| stages | estimated, s | measured, s | estimated / measured |", "|---|---|---|---|"]
    return head + [f"| {stage} | {one:.0f} | {two:.0f} | {one / two:.2f} |" for stage, (one, two) in rows.items()]


if __name__ == "__main__":
    main()

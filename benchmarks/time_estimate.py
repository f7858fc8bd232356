"""What a rehearsal said of a run, beside the run: time and peak memory of each kind of stage.

    gift rehearse && dvc repro
    python -m benchmarks.time_estimate .     # the project; --record appends the table to a page

Both are what the stages measured of themselves, without the time that DVC takes. Run both on a machine that does
nothing else, or both with GIFT_CLOCK=processor OMP_NUM_THREADS=1: then the seconds are the processor's, of one thread.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from pathlib import Path

import torch

from gift_core.config.loading import load_config
from gift_core.doctor.finding import Project
from gift_core.doctor.measured_needs import by_kind
from gift_core.doctor.measurement import read_measurement, whole_needs
from gift_core.layout import Layout
from gift_core.untrusted import read_json_file

GIB = 2**30


def main() -> None:
    """Prints the table, and appends it to --record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a project that was rehearsed, and then ran")
    parser.add_argument("--record", type=Path, help="the page to append the table to")
    choices = parser.parse_args()
    config = load_config(choices.folder / "params.yaml")
    lines = compared(Project(choices.folder, config))
    print("\n".join(lines))
    if choices.record:
        machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
        with choices.record.open("a", encoding="utf-8") as page:
            page.write(
                "\n".join([f"\n## {config.experiment}\n", *lines, "", f"{datetime.date.today()}, {machine}.", ""])
            )


def compared(project: Project) -> list[str]:
    """Returns the lines of a table: kind of stage, seconds and GiB by the rehearsal and by the run, and their ratios.

    The memory is the highest peak of a kind. Only stages that ran count.
    """
    measured, layout = read_measurement(Layout(project.root)), Layout(project.root)
    assert measured is not None, "rehearse first"
    rows: dict[str, list[float]] = {}
    for kind, stages in by_kind(whole_needs(measured, project)).items():
        for each in stages:
            file = layout.timing(each.stage, each.method, each.task)
            if not file.is_file():
                continue
            run, row = read_json_file(file), rows.setdefault(kind, [0.0] * 4)
            where = "gpu" if each.uses_gpu else "process"
            row[0] += each.seconds - measured.overhead
            row[1] += run["seconds"]
            row[2] = max(row[2], each.peaks[where] / GIB)
            row[3] = max(row[3], run["peak_bytes"][where] / GIB)
    sums = [sum(row[column] for row in rows.values()) for column in (0, 1)]
    rows["all"] = [*sums, *(max(row[column] for row in rows.values()) for column in (2, 3))]
    head = ["| stages | rehearsed, s | run, s | ratio | rehearsed, GiB | run, GiB | ratio |", f"|{'---|' * 7}"]
    lines = []
    for kind, (said, ran, held, peak) in rows.items():
        times = f"{said:.0f} | {ran:.0f} | {said / max(ran, 0.01):.2f}"
        lines.append(f"| {kind} | {times} | {held:.2f} | {peak:.2f} | {held / peak:.2f} |")
    return head + lines


if __name__ == "__main__":
    main()

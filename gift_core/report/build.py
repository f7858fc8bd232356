"""The report stage's one library function: artifacts in, reports/ out."""

from __future__ import annotations

from pathlib import Path

from gift_core.artifacts.atomic import write_atomically
from gift_core.artifacts.metrics_json import write_metrics
from gift_core.artifacts.zero_shot_json import write_zero_shot
from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.report.beside_published import as_json
from gift_core.report.dvc_plots import write_plots
from gift_core.report.gather import gather
from gift_core.report.page import render_page


def build_report(layout: Layout, config: Config, folder: Path) -> str:
    """Write metrics.json, zero_shot.json, plots/accuracy.csv, plots/losses.csv and index.html into `folder`.

    Returns the sentence of zero_shot.json, empty where the run is of no published benchmark. Reads the accuracy files
    and losses of every method in run.methods, each task's task.json, the synthetic pairs where a method replays them,
    the pre-trained model's header, and the times noted in .gift/timings. The same inputs give the same bytes.
    ContractError where an artifact is missing, incomplete or of another sequence.
    """
    record = gather(layout, config)
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(folder / "metrics.json", record.metrics)
    check = as_json(record.published)
    write_zero_shot(folder / "zero_shot.json", check)
    write_plots(folder / "plots", record)
    with write_atomically(folder / "index.html") as temporary:
        temporary.write_bytes(render_page(record).encode())
    return str(check["sentence"])

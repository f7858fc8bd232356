"""Charts against the number in which alone rows differ, in the report of a run and in a comparison."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from gift_core.report.comparison.compare import write_comparison
from gift_core.report.comparison.runs_by_seed import read_runs
from gift_core.report.sweeps import find_sweeps
from tests.imports import first_params
from tests.report import run_folder as runs

WEIGHTS = {"strength_2": 2.0, "gift": 1.0, "strength_1": 1.0, "strength_0_5": 0.5}


def write_sweep(root: Path, seed: int, shift: float) -> Any:
    """A run of finetune, of gift with three weights, and of one row that differs from gift in two numbers."""
    rows = yaml.safe_load(first_params())["methods"]
    methods = {"finetune": rows["finetune"]}
    for name, weight in WEIGHTS.items():
        losses = rows["gift"]["losses"] | {"distill": {"weight": weight, "temperature": 2.0}}
        methods[name] = rows["gift"] | {"losses": losses, "label": name}
    methods["other"] = methods["strength_2"] | {"learning_rate": 0.1}
    methods["other"]["losses"] = {"distill": {"weight": 5.0, "temperature": 2.0}}
    matrices = {name: [*runs.MATRICES["gift"][:-1], [70 + shift, 80, 90]] for name in methods}
    probes = dict.fromkeys(methods, runs.PROBES["gift"])
    return runs.write_run(root, matrices=matrices, probes=probes, seed=seed, changes={"methods": methods})


def section_of(page: str) -> str:
    return page[page.index('<section id="ablations">') :].partition("</section>")[0]


def test_rows_that_differ_in_one_number_alone_have_a_chart_of_each_metric_against_it(tmp_path: Path) -> None:
    config = write_sweep(tmp_path / "42", 42, 0)
    (sweep,) = find_sweeps(runs.read_run(runs.Layout(tmp_path / "42"), config))
    assert (sweep.key, sweep.methods) == (
        "losses.distill.weight",
        {0.5: "strength_0_5", 1.0: "gift", 2.0: "strength_2"},  # of two equal rows the first one
    )
    section = section_of((runs.build(tmp_path / "42", config) / "index.html").read_text(encoding="utf-8"))
    assert re.findall("<h3>(.*?)</h3>", section) == ["Transfer", "Avg", "Last", "Zero-shot kept"]
    assert section.count("<circle") == 3 * 4 and 'class="deviation"' not in section
    assert "Last in percent against losses.distill.weight. 0.5: 80.0, 1: 80.0, 2: 80.0." in section
    assert "The rows strength_0_5, gift, strength_2 differ in this number alone." in section


def test_a_comparison_has_them_as_a_figure_with_a_bar_of_a_deviation_over_the_seeds(tmp_path: Path) -> None:
    for seed, shift in ((42, 0), (43, 3)):
        write_sweep(tmp_path / str(seed), seed, shift)
    write_comparison(read_runs([tmp_path / "42", tmp_path / "43"]), tmp_path / "out")
    svg = (tmp_path / "out" / "figures" / "ablation_1.svg").read_text(encoding="utf-8")
    titles = ["Transfer (%)", "Avg (%)", "Last (%)", "Zero-shot kept (%)"]
    texts = re.findall("<text [^>]*>(.*?)</text>", svg)
    assert [text for text in texts if text in titles] == titles
    assert texts[-1] == "losses.distill.weight" and [text for text in texts if text in ("0.5", "1", "2")][:3]
    bars = re.findall(r'<g id="LineCollection_\d+">.*?<path d="M [\d.]+ ([\d.]+) \s*L [\d.]+ ([\d.]+)', svg, re.S)
    assert [low != high for low, high in bars] == [False, True, True, False]  # Avg and Last differ between the seeds

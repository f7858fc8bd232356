"""Hours from operations and a speed, against recorded times, and what is too long for a CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import time_estimate as benchmark
from gift_core.artifacts.contract import write_json
from gift_core.doctor import time_estimate as module
from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.stage_work import StageWork, Workload
from gift_core.doctor.time_estimate import Speed, check_time, estimate_stages
from gift_core.layout import Layout
from tests.doctor.projects import link_models, make_project

CPU, GPU = Speed("this CPU", True, 1e11, 1e11), Speed("this GPU", False, 1e11, 1e11)


@pytest.fixture(autouse=True)
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measure_speed", lambda project: CPU)


def test_a_cpu_decodes_and_computes_and_a_gpu_computes_meanwhile() -> None:
    work = StageWork("evaluate", "gift", "letters", False, start_seconds=2, images=2000, operations=5e11)
    assert (CPU.seconds(work), GPU.seconds(work)) == (2 + 3 + 5, 2 + 5)  # 1.5 ms for each image
    faster = Speed("", False, clip=1e11, pipeline=5e11)
    assert faster.seconds(StageWork("synthesize", "", "letters", False, 2, 0, 5e11)) == 2 + 1


def total(project: Project) -> Finding:
    (found,) = (finding for finding in check_time(project) if finding.subject == "time")
    return found


def test_the_full_size_is_too_long_for_a_cpu_and_the_miniature_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link_models(tmp_path)
    assert total(make_project(tmp_path, "mini")).mark == "ok"
    project = make_project(tmp_path, "mtil_order_1")
    found = {finding.subject: finding for finding in check_time(project)}
    types = ("ingest", "synthesize", "teach", "finetune", "evaluate", "other stages")
    assert list(found) == [*(f"time of {stage}" for stage in types), "time"]
    hours = 11 * (1000 * (2 * 50 * 0.803 + 2.515) / 100 + 12.6) / 3600  # 2.5 (docs/full_size.md), and loading 11 times
    assert f"{hours:.1f} hours on a GPU of 100 TFLOP/s (11 stages)" in found["time of synthesize"].found
    assert (found["time"].mark, "days on this CPU from scratch (synthesize " in found["time"].found) == ("fail", True)
    assert "gift use mini" in found["time"].remedy and "dvc repro" in found["time"].remedy
    assert [finding.mark for finding in check_time(replace(project, quick=True))] == ["fail"]
    ingested = Workload((StageWork("ingest", "", "letters", False, start_seconds=1e6),), (), "")
    monkeypatch.setattr(module, "count_work", lambda project: ingested)
    assert "ingest takes longest: lower shots or classes of the tasks." in total(project).remedy
    monkeypatch.setattr(module, "measure_speed", lambda project: GPU)
    assert total(project).mark == "ok"


def test_each_stage_has_an_estimate_and_its_recorded_time_replaces_it(tmp_path: Path) -> None:
    link_models(tmp_path)
    project, layout = make_project(tmp_path, "mini"), Layout(tmp_path)
    tasks, probes = [step.task for step in project.config.sequence], list(project.config.evaluation.probes)
    of_methods = [f"{method}-{task}" for method in project.config.run.methods for task in tasks]
    names = {stage: [stage] for stage in ("import_model", "write_vocabulary", "report")}
    names |= {"ingest": [*tasks, *probes], "write_prompts": tasks, "synthesize": tasks, "probe": probes}
    names |= dict.fromkeys(("teach", "finetune", "evaluate"), of_methods)
    files = {layout.timings() / stage / f"{name}.json" for stage, each in names.items() for name in each}
    assert set(estimate_stages(project)) == files  # as stages/stage.py names them
    for made in (layout.probe(probes[0]), layout.reports() / "index.html"):
        made.parent.mkdir(parents=True)
        made.touch()
    for stage, name in (("probe", probes[0]), ("report", "report")):
        write_json(layout.timings() / stage / f"{name}.json", {"seconds": 36000.0})
    found = {finding.subject: finding.found for finding in check_time(replace(project, is_active=True))}
    assert found["time of probe"].startswith("10 hours here") and found["time of other stages"].startswith("10 hours")


def test_the_estimate_of_the_smoke_run_is_within_1_5_of_the_recorded_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_cores = Speed("two cores", True, 0.135e12, 0.135e12)  # of the machine of benchmarks/smoke_full.md
    monkeypatch.setattr(benchmark, "measure_speed", lambda project: two_cores)
    rows = benchmark.compared(benchmark.smoke_project(tmp_path), benchmark.of_table(benchmark.SMOKE))
    ratios = {row.split(" | ")[0].strip("| "): float(row.split(" | ")[-1].strip("| ")) for row in rows[2:]}
    assert set(ratios) == {"other stages", "ingest", "synthesize", "teach", "finetune", "evaluate", "total"}
    assert 1 / 1.5 < ratios.pop("total") < 1.5 and all(0.5 < ratio < 2 for ratio in ratios.values()), ratios

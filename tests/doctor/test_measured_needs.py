"""What the doctor says of a measurement: sums by hand, what does not fit, and when it does not hold any more."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from gift_core.artifacts.contract import write_json
from gift_core.config.loading import parse_config
from gift_core.config.presets import complete_text, find_presets
from gift_core.doctor import measured_needs
from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.measured_needs import check_disk, check_memory, check_time
from gift_core.doctor.measurement import Measurement, deciding, read_measurement, reduced, stage_times, whole_needs
from gift_core.layout import Layout
from tests.doctor.projects import link_models, make_project, own_project
from tests.imports import ROOT

GIGA, HOUR = 10**9, 3600
IMAGES = {"train": 500, "test": 300, "few_train": 100, "few_test": 60, "of_bytes": 4.0}


def row(stage: str, method: str = "", seconds: float = 2.0, **more: Any) -> dict[str, Any]:
    """A stage of the task letters. `more` may have its loop (what it counts, how many, seconds of one more)."""
    loops = [dict(zip(("of", "count", "unit_seconds"), more.pop("loop"), strict=True))] if "loop" in more else []
    fixed = {"bytes": 1000, "fixed_bytes": 0, "peak_bytes": {"process": GIGA}, "loops": loops}
    named = {"stage": stage, "method": method, "task": "letters", "outs": [f"data/{stage}"]}
    return named | {"seconds": seconds} | fixed | more


ROWS = (
    row("ingest", images=IMAGES, loop=("ingest letters: training images", 160, 0.01)),
    row("synthesize", loop=("generating images", 64, 0.5)),
    row("teach", "gift", loop=("images", 64, 0.1), fixed_bytes=400),
    row("finetune", "gift", loop=("iterations", 3, 1.0)),
    row("evaluate", "gift", loop=("letters images", 120, 0.1)),  # two models on 60 images
)


def measured(project: Project, *rows: dict[str, Any], **changes: Any) -> Project:
    """Writes what a rehearsal of letters and gift would have written, and returns the project as the active one."""
    methods, tasks = ("gift",), ("letters",)
    settings = deciding(project.config, methods, tasks)
    stages = (ROWS[0], *rows) if rows else ROWS
    found = Measurement("2026-12-01 12:00", "cpu (2 cores)", 30.0, 0.5, methods, tasks, settings, stages, ())
    write_json(Layout(project.root).measured(), asdict(replace(found, **changes)))
    return replace(project, is_active=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    link_models(tmp_path)
    return make_project(tmp_path, "mini_quick", run__device="cpu", generator__batch_size=64)


def test_a_stage_takes_its_measured_time_and_that_of_the_units_that_were_left_out(project: Project) -> None:
    project = measured(project)
    found = read_measurement(Layout(project.root))
    pairs, iterations = project.config.prompts.images_per_task, project.config.training.iterations
    seconds = {each.stage: each.seconds - 2.5 for each in whole_needs(found, project)}  # start, and DVC
    assert seconds == pytest.approx(
        {
            "ingest": (800 - 160) * 0.01,
            "synthesize": (pairs - 64) * 0.5,
            "teach": (pairs - 64) * 0.1,
            "finetune": iterations - 3,
            "evaluate": (600 - 120) * 0.1,
        }
    )
    sizes = {each.stage: each.bytes for each in whole_needs(found, project)}
    taught = int(400 + 600 * pairs / 64)
    expected = {"ingest": 4000, "synthesize": int(1000 * pairs / 64), "teach": taught, "finetune": 1000}
    assert sizes == pytest.approx(expected | {"evaluate": 1000}, abs=1)
    times = stage_times(project)
    assert times[Layout(project.root).timings() / "finetune" / "gift-letters.json"] == 2.5 + iterations - 3


def only(findings: Any, subject: str) -> Finding:
    (found,) = (each for each in findings if each.subject == subject)
    return found  # type: ignore[no-any-return]


def test_a_peak_that_the_device_does_not_have_is_a_fail_with_the_settings_that_save_memory(project: Project) -> None:
    project = measured(project, row("finetune", "gift", peak_bytes={"process": 10**15}))
    found = only(check_memory(project), "memory of finetune")
    assert (found.mark, "up to 1000000.0 GB (finetune gift letters)" in found.found) == ("fail", True)
    assert "training.micro_batch_size: 16" in found.remedy and "measured 2026-12-01 12:00" in found.found


def test_a_disk_too_small_fails_and_a_tenth_must_be_to_spare(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project, marks = measured(project, row("finetune", "gift", bytes=1000)), []
    for free in (9999, 10_500, 11_001):  # 1000 and 4000, in the project and the cache
        monkeypatch.setattr(measured_needs.shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        info, finding = check_disk(project)
        marks.append(finding.mark)
    assert marks == ["fail", "warn", "ok"] and "models 0.0 MB" in info.found


def test_days_on_a_cpu_are_a_fail_and_what_has_its_output_does_not_count(project: Project) -> None:
    long = measured(project, row("finetune", "gift", seconds=25 * HOUR))
    (found,) = check_time(replace(long, quick=True))
    assert (found.mark, "finetune takes longest: lower training.iterations" in found.remedy) == ("fail", True)
    assert only(check_time(measured(project, row("finetune", "gift", seconds=13 * HOUR))), "time").mark == "warn"
    gpu = row("finetune", "gift", seconds=25 * HOUR, peak_bytes={"gpu": GIGA, "process": GIGA})
    assert only(check_time(measured(project, gpu)), "time").mark == "ok"
    for stage in ("ingest", "finetune"):
        (project.root / "data" / stage).mkdir(parents=True)
    found = only(check_time(measured(project, row("finetune", "gift", seconds=25 * HOUR))), "time")
    assert found.found.startswith("about 25 hours on cpu (2 cores) from scratch; every stage has its output")


def test_a_measurement_holds_until_what_decides_it_changes_and_says_what_it_lacks(tmp_path: Path) -> None:
    link_models(tmp_path)
    project = measured(make_project(tmp_path, "mini_quick"))
    assert "measured 2026-12-01 12:00, without finetune, " in only(check_time(project), "time").found
    others = {"training__iterations": 9000, "training__warmup_iterations": 2, "prompts__images_per_task": 999}
    amounts = replace(make_project(tmp_path, "mini_quick", **others), is_active=True)
    assert "measured 2026-12-01" in only(check_time(amounts), "time").found
    changed = replace(make_project(tmp_path, "mini_quick", methods__gift__learning_rate=0.1), is_active=True)
    said = only(check_time(changed), "time")
    assert said.mark == "info" and said.found.startswith("not measured since methods.gift changed in params.yaml (2026")
    Layout(tmp_path).measured().write_text("{}", encoding="utf-8")  # of another version
    assert only(check_time(changed), "time").found.startswith("not measured: gift rehearse (at least ")


def test_published_presets_have_the_numbers_of_the_docs_without_a_measurement(tmp_path: Path) -> None:
    found = only(check_time(make_project(tmp_path, "mtil_order_1", run__device="cpu")), "time")
    assert found.found.startswith("not measured: gift rehearse --preset mtil_order_1 (at least ")
    assert "27.5 GB of GPU memory, 161 GB of disk" in found.remedy


def test_a_rehearsal_changes_amounts_of_work_alone(tmp_path: Path) -> None:
    project = own_project(tmp_path, generator__batch_size=1, training__iterations=1, training__warmup_iterations=0)
    whole = project.config.model_dump(mode="json")
    few = reduced(whole)
    assert (few["prompts"]["images_per_task"], few["training"]["iterations"]) == (2, 1)
    changed = {
        f"{name}.{key}" for name in ("training", "prompts") for key in whole[name] if few[name][key] != whole[name][key]
    }
    assert changed <= {"training.iterations", "training.warmup_iterations", "prompts.images_per_task"}
    rest = {name: value for name, value in few.items() if name not in ("training", "prompts", "rehearsal")}
    assert rest == {name: whole[name] for name in rest}


@pytest.mark.parametrize("preset", sorted(find_presets(ROOT)))
def test_the_settings_of_a_rehearsal_are_valid_for_every_preset(preset: str) -> None:
    params = yaml.safe_load(complete_text(ROOT / "presets" / f"{preset}.yaml"))
    config = parse_config(yaml.safe_dump(reduced(params), sort_keys=False), preset)
    assert config.rehearsal is not None and config.training.iterations <= 3

"""`gift doctor`: its lines, exit codes and JSON; `gift clean`: what interrupted stages left is shown and removed."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import Result

from gift_core.layout import Layout
from gift_core.work.folder import work_folder
from tests.doctor.projects import link_models, make_project
from tests.imports import ROOT
from tests.stages.experiment import invoke
from tests.work.test_kept_work import owned


def doctor(root: Path, *words: str) -> Result:
    return invoke("doctor", *words, "--root", root)


def test_without_problems_the_quick_check_prints_nothing_and_time_says_how_to_measure(tmp_path: Path) -> None:
    link_models(tmp_path)
    make_project(tmp_path)
    result = doctor(tmp_path, "--quick")
    assert (result.exit_code, result.output) == (0, "")
    title, line = doctor(tmp_path, "--time").stdout.splitlines()
    assert (title, line.split("(")[0]) == ("Time", "  info  time: not measured: gift rehearse ")


def test_missing_data_sets_are_a_line_each_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # as in a project of the wheel, without docs/
    make_project(tmp_path, "mtil_order_1", run__device="cpu")
    result = doctor(tmp_path, "--quick")
    title, *lines, device_title, device, count, first = result.stdout.splitlines()
    assert (result.exit_code, title, len(lines), device_title) == (1, "Data", 11, "Device")
    assert device.startswith("  warn  device: generator.dtype is float16, which is very slow on a CPU")
    assert lines[3].startswith(f"  fail  data dtd: there is no {tmp_path / 'data/0_raw/dtd'}. Run: gift data fetch dtd")
    assert count == "11 problems, 1 warning, 1 ok" and first.startswith("first: data aircraft: there is no ")


def test_a_preset_is_checked_without_switching_to_it(tmp_path: Path) -> None:
    make_project(tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    before = (tmp_path / "params.yaml").read_bytes()
    link_models(tmp_path)
    assert doctor(tmp_path, "--quick").exit_code == 0
    result = doctor(tmp_path, "--quick", "--preset", "mtil_few_shot")
    assert (result.exit_code, result.stdout.count("  fail  data ")) == (1, 11)
    rows = json.loads(doctor(tmp_path, "--quick", "--preset", "mtil_few_shot", "--json").stdout)
    assert set(rows[0]) == {"group", "subject", "mark", "found", "remedy"}
    assert rows[0]["subject"] == "preset mtil_few_shot"
    assert rows[0]["found"] == "mtil_few_shot: 11 tasks, 2 methods"
    assert (tmp_path / "params.yaml").read_bytes() == before


def clean(root: Path, *options: str, answer: str = "") -> Result:
    return invoke("clean", "--root", root, *options, input=answer)


def interrupted(root: Path, stage: str, name: str) -> Path:
    folder = Layout(root).work(stage, name)
    with suppress(RuntimeError), work_folder(folder, {"seed": 1}) as work:
        (work / "training.safetensors").write_bytes(bytes(2_000_000))
        raise RuntimeError("interrupted")
    return folder


def test_work_is_shown_and_a_no_keeps_it_and_a_yes_removes_it_and_nothing_else(tmp_path: Path) -> None:
    folders = [interrupted(tmp_path, "finetune", "gift-birds"), interrupted(tmp_path, "release", "gift")]
    others = [interrupted(tmp_path, name, "birds") for name in ("timings", "compare")]
    output = clean(tmp_path, answer="n\n").output
    assert all(text in output for text in ("finetune@gift-birds", "2.0 MB", " 0 s ", "nothing was removed"))
    assert all(folder.exists() for folder in folders)
    assert "removed 4.0 MB" in clean(tmp_path, answer="y\n").output
    assert not any(folder.exists() for folder in folders)
    assert all(other.exists() for other in others)


def test_the_work_of_a_running_process_stays_and_its_owner_is_named(tmp_path: Path) -> None:
    gone, kept = interrupted(tmp_path, "finetune", "gift-birds"), Layout(tmp_path).work("teach", "gift-birds")
    with owned(kept) as process:
        result = clean(tmp_path, "--yes")
        assert result.exit_code == 1  # make clean must stop here
        assert f"process {process.pid} " in result.output
        assert "1 stages are running, so their work stays" in result.output
        assert kept.exists()
        assert not gone.exists()
    assert clean(tmp_path, "--yes").exit_code == 0
    assert not kept.exists()

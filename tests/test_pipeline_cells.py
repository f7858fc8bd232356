"""The cells that real DVC reads from dvc.yaml with each preset, in their order: no data, no models are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.overlays import complete_text
from tests.imports import ROOT

SHARED = {"import_model": 1, "write_vocabulary": 1, "report": 1}
PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
# Prints {cell: {deps, outs, params}} of the pipeline in the working folder, as DVC resolves it.
GRAPH = """
import json
from dvc.repo import Repo
cells = {
    stage.addressing: {"deps": [str(dep) for dep in stage.deps], "outs": [str(out) for out in stage.outs]}
    for stage in Repo(".").index.stages
}
print(json.dumps(cells))
"""


def in_project(preset: str, folder: Path, command: list[str]) -> str:
    """Runs Python in a DVC repository that holds dvc.yaml and the preset alone; returns what it prints."""
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(complete_text(ROOT / "presets" / f"{preset}.yaml"), encoding="utf-8")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def planned(preset: str, folder: Path) -> list[str]:
    """Returns the cells that `dvc repro` would run from nothing, in its order; --force: without their data."""
    printed = in_project(preset, folder, ["-m", "dvc", "repro", "--dry", "--force"])
    return re.findall(r"^Running stage '(.*)':$", printed, re.MULTILINE)


@cache
def read(preset: str) -> dict[str, Any]:
    return yaml.safe_load(complete_text(ROOT / "presets" / f"{preset}.yaml"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("preset", PRESETS)
def test_methods_share_all_but_teach_finetune_and_evaluate(preset: str, tmp_path: Path) -> None:
    params = read(preset)
    steps, run = len(params["sequence"]), params["run"]
    cells = planned(preset, tmp_path)
    synthetic, real, none = (len(run[f"replay_{kind}"]) for kind in ("synthetic", "real", "none"))
    own = {
        "teach": synthetic, "finetune": synthetic, "teach_real": real, "finetune_real": real, "finetune_plain": none,
        "evaluate": len(run["methods"]),
    }  # fmt: skip
    expected = Counter(SHARED | {"ingest": len(params["tasks"]), "write_prompts": steps, "synthesize": steps})
    expected += Counter({stage: methods * steps for stage, methods in own.items()})
    assert Counter(cell.split("@")[0] for cell in cells) == expected
    assert len(set(cells)) == len(cells)
    assert cells[-1] == "report"
    for method in run["methods"]:
        chain = [cell for cell in cells if re.fullmatch(rf"finetune\w*@{method}-step\d+", cell)]
        assert [int(cell.rpartition("step")[2]) for cell in chain] == list(range(steps)), method


@pytest.fixture(scope="module")
def order_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """{cell: {deps, outs}} of mtil_order_1."""
    folder = tmp_path_factory.mktemp("order_1")
    return json.loads(in_project("mtil_order_1", folder, ["-c", GRAPH]))  # type: ignore[no-any-return]


def tasks(preset: str = "mtil_order_1") -> list[str]:
    return [step["task"] for step in read(preset)["sequence"]]


def test_mtil_has_91_cells_for_two_methods_and_eleven_tasks(order_1: dict[str, Any]) -> None:
    assert len(tasks()) == 11
    # import_model, write_vocabulary, report; ingest, write_prompts, synthesize, teach, 2 finetune, 2 evaluate a task
    assert len(order_1) == 3 + 11 * 8


@pytest.mark.parametrize(("stage", "method"), [("finetune", "gift"), ("finetune_plain", "finetune")])
def test_each_task_is_learned_by_the_model_of_the_task_before(stage: str, method: str, order_1: dict[str, Any]) -> None:
    before = "data/5_models/pretrained"
    for place, task in enumerate(tasks()):
        cell = order_1[f"{stage}@{method}-step{place}"]
        models = [dep for dep in cell["deps"] if dep.startswith("data/5_models")]
        assert [os.path.normpath(dep) for dep in models] == [before]
        assert f"data/1_tasks/{task}" in cell["deps"]
        before = f"data/5_models/{method}/{task}"
        assert cell["outs"] == [before]


def test_gift_replays_what_its_teacher_said_of_the_tasks_own_images(order_1: dict[str, Any]) -> None:
    for place, task in enumerate(tasks()):
        deps = order_1[f"finetune@gift-step{place}"]["deps"]
        assert {f"data/3_shards/{task}", f"data/4_teachers/gift/{task}"} <= set(deps)
        assert order_1[f"teach@gift-step{place}"]["outs"] == [f"data/4_teachers/gift/{task}"]
        assert order_1[f"synthesize@{place}"]["outs"] == [f"data/3_shards/{task}"]


def test_prompts_and_accuracies_grow_from_task_to_task(order_1: dict[str, Any]) -> None:
    for place, (before, task) in enumerate(pairwise(tasks()), start=1):
        assert f"data/2_prompts/pools/{before}.json" in order_1[f"write_prompts@{place}"]["deps"]
        for method in ("finetune", "gift"):
            cell = order_1[f"evaluate@{method}-step{place}"]
            assert f"data/6_accuracy/{method}/{before}.parquet" in cell["deps"]
            assert cell["outs"] == [f"data/6_accuracy/{method}/{task}.parquet"]


def test_the_comparison_is_one_pipeline_of_all_methods() -> None:
    params = read("mini_compare")
    assert params["run"]["methods"] == list(params["methods"])
    assert len(params["methods"]) == 23

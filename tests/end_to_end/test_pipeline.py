"""One real `dvc repro` of a cut miniature (three tasks, few steps, real models), and what each change then runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.imports import ROOT

pytestmark = pytest.mark.end_to_end
TASKS = ["digits", "games", "arrows"]


class Clone:
    """A clone of the project in a folder of its own, with the environment that runs these tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "", "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1",
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org",
        }  # fmt: skip

    def run(self, *command: str, expect: int = 0) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert done.returncode == expect, f"{' '.join(command)} -> {done.returncode}\n{output[-6000:]}"
        return output

    def repro(self) -> list[str]:
        """Runs `dvc repro` and returns the cells that ran."""
        return re.findall(r"Running stage '([^']+)'", self.run("dvc", "repro"))

    @property
    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def write_params(self, params: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def metrics(self) -> dict[str, dict[str, float]]:
        return json.loads((self.folder / "reports" / "metrics.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def cut(params: dict[str, Any]) -> dict[str, Any]:
    """Three tasks, few steps, few images."""
    row = {"source": "mini", "path": "gift_core/mini/symbols.csv", "train_images": 200, "test_images": 100}
    params["tasks"] = {task: dict(row) for task in TASKS}
    after = ["../pretrained", *TASKS]
    params["sequence"] = [
        {"task": task, "after": after[i], "learning_rate_factor": 1.0} for i, task in enumerate(TASKS)
    ]
    params["training"] |= {"iterations": 12, "warmup_iterations": 2, "batch_size": 16, "replay_batch_size": 16}
    params["prompts"] |= {"images_per_task": 48}
    params["generator"] |= {"images_per_shard": 32, "steps": 4, "batch_size": 16}
    return params


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the cut pipeline has run once."""
    folder = tmp_path_factory.mktemp("clone") / "gift"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name not in ("dvc.lock", "reports/metrics.json"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    clone = Clone(folder)
    clone.write_params(cut(clone.params))
    clone.run("git", "init", "--quiet")
    clone.ran = clone.repro()  # type: ignore[attr-defined]
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", "the first result")
    return clone


def cells(stages: list[str], method: str, steps: range) -> set[str]:
    return {f"{stage}@{method}-step{step}" for stage in stages for step in steps}


def test_a_bare_clone_runs_every_cell_once(clone: Clone) -> None:
    expected = {"import_model", "write_vocabulary", "report", *(f"ingest@{task}" for task in TASKS)}
    expected |= {f"{stage}@{step}" for stage in ("write_prompts", "synthesize") for step in range(3)}
    expected |= cells(["teach", "finetune", "evaluate"], "gift", range(3))
    expected |= cells(["finetune_plain", "evaluate"], "finetune", range(3))
    ran: list[str] = clone.ran  # type: ignore[attr-defined]
    assert set(ran) == expected
    assert len(ran) == len(expected)


def test_metrics_name_every_method_and_the_zero_shot_model(clone: Clone) -> None:
    metrics = clone.metrics()
    assert set(metrics) == {"zero_shot", "finetune", "gift"}
    for row in metrics.values():
        assert set(row) == {"transfer", "avg", "last", "forgetting"}
        assert all(0 <= row[name] <= 100 for name in ("transfer", "avg", "last"))


def test_a_second_repro_runs_nothing(clone: Clone) -> None:
    assert clone.repro() == []


def test_dvc_shows_the_metrics_and_the_plots(clone: Clone) -> None:
    assert "gift" in clone.run("dvc", "metrics", "show")
    clone.run("dvc", "plots", "show", "--out", "dvc_plots")
    page = (clone.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert "vega" in page.lower()


def test_a_second_clone_that_pulls_has_nothing_to_run_and_the_same_report(clone: Clone, tmp_path: Path) -> None:
    clone.run("dvc", "remote", "add", "--local", "--force", "store", str(tmp_path / "store"))
    clone.run("dvc", "push", "--remote", "store")
    clone.run("git", "clone", "--quiet", str(clone.folder), str(tmp_path / "second"))
    second = Clone(tmp_path / "second")
    second.run("dvc", "remote", "add", "--local", "store", str(tmp_path / "store"))
    second.run("dvc", "pull", "--remote", "store")
    assert second.repro() == []
    for name in ("reports/index.html", "reports/metrics.json"):
        assert (second.folder / name).read_bytes() == (clone.folder / name).read_bytes()


def test_a_changed_weight_of_gift_runs_only_its_cells_and_the_report(clone: Clone) -> None:
    params = clone.params
    params["methods"]["gift"]["consolidation"]["weight"] = 0.5
    clone.write_params(params)
    ran = set(clone.repro())
    allowed = cells(["teach", "finetune", "evaluate"], "gift", range(3)) | {"report"}
    assert ran <= allowed
    assert ran >= cells(["finetune", "evaluate"], "gift", range(3)) | {"report"}


def test_an_appended_task_runs_only_its_own_cells(clone: Clone) -> None:
    params = clone.params
    params["tasks"]["faces"] = dict(params["tasks"]["games"])
    params["sequence"].append({"task": "faces", "after": TASKS[-1], "learning_rate_factor": 1.0})
    clone.write_params(params)
    expected = {"ingest@faces", "write_prompts@3", "synthesize@3", "finetune_plain@finetune-step3", "report"}
    expected |= cells(["teach", "finetune", "evaluate"], "gift", range(3, 4)) | {"evaluate@finetune-step3"}
    assert set(clone.repro()) == expected


def test_a_changed_generator_seed_runs_synthesize_and_what_follows(clone: Clone) -> None:
    params = clone.params
    params["generator"]["seed"] += 1
    clone.write_params(params)
    ran = set(clone.repro())
    assert {f"synthesize@{step}" for step in range(4)} <= ran
    assert cells(["teach", "finetune", "evaluate"], "gift", range(4)) <= ran
    assert not any(
        "finetune_plain" in cell or "@finetune-" in cell or cell.startswith(("ingest", "write_")) for cell in ran
    )


def test_added_methods_run_only_their_own_cells(clone: Clone) -> None:
    params = clone.params
    params["run"]["methods"] += ["icarl", "individual"]
    clone.write_params(params)
    expected = cells(["teach_real", "finetune_real", "evaluate"], "icarl", range(4))
    expected |= cells(["finetune_plain", "evaluate"], "individual", range(4)) | {"report"}
    assert set(clone.repro()) == expected
    assert set(clone.metrics()) == {"zero_shot", "finetune", "gift", "icarl", "individual"}

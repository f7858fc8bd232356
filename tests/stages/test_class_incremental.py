"""The class-incremental protocol through the real commands: two miniature tasks, fine-tuned, tested and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.layout import Layout
from stages.app import app

TASKS = ("games", "arrows")
RUNNER = CliRunner()


@pytest.fixture
def params(mini_params: dict[str, Any], project: Path) -> dict[str, Any]:
    row = {"source": "mini", "path": "data/mini", "train_images": 40, "test_images": 35}
    mini_params["tasks"] = {task: dict(row) for task in TASKS}
    after = dict(zip(TASKS, ("../pretrained", "games"), strict=True))
    mini_params["sequence"] = [{"task": t, "after": after[t], "learning_rate_factor": 1.0} for t in TASKS]
    mini_params["training"] |= {"iterations": 2, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
    mini_params["model"] |= {"name": f"local-dir:{project / 'data/mini/clip'}"}
    mini_params["evaluation"] |= {"protocol": "class_incremental", "batch_size": 16}
    return mini_params


def use(root: Path, params: dict[str, Any], *methods: str) -> None:
    params["run"] |= {"methods": list(methods)}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def run(root: Path, *command: str) -> Result:
    return RUNNER.invoke(app, [*command, "--params", str(root / "params.yaml"), "--root", str(root)])


def succeed(root: Path, *command: str) -> str:
    result = run(root, *command)
    assert result.exit_code == 0, f"{command}: {result.output}\n{result.exception!r}"
    return result.output


def test_a_class_incremental_run_from_the_images_to_the_table(tmp_path: Path, params: dict[str, Any]) -> None:
    use(tmp_path, params, "finetune")
    succeed(tmp_path, "import_model")
    said = []
    for task in TASKS:
        succeed(tmp_path, "ingest", task)
        succeed(tmp_path, "finetune", "finetune", task)
        said.append(succeed(tmp_path, "evaluate", "finetune", task))
    assert "on 35 test images of all classes so far" in said[0] and "on 70 test images" in said[1]
    rows, _ = read_accuracy(Layout(tmp_path).accuracy("finetune", "arrows"))
    assert set(rows.protocol) == {"class_incremental"}
    assert rows[["step", "eval_task", "n"]].to_records(index=False).tolist() == [(-1, "arrows", 70), (1, "arrows", 70)]
    succeed(tmp_path, "report")
    shown = RUNNER.invoke(app, ["show", "--root", str(tmp_path)]).output
    assert "Avg" in shown and "Transfer" not in shown and "lower is better" not in shown
    computed = RUNNER.invoke(app, ["metrics", "--json", str(tmp_path / "data/6_accuracy/finetune")])
    stored = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert {m: round(row["last"], 2) for m, row in json.loads(computed.stdout).items()} == {
        m: row["last"] for m, row in stored.items()
    }
    assert list(stored) == ["zero_shot", "finetune"]


def test_a_model_a_task_is_refused_before_anything_runs(tmp_path: Path, params: dict[str, Any]) -> None:
    use(tmp_path, params, "individual")
    result = run(tmp_path, "import_model")
    assert result.exit_code == 1
    message = " ".join(result.output.split())
    assert "run.methods: individual has one model per task" in message
    assert "evaluation.protocol: task_incremental" in message
    assert not Layout(tmp_path).pretrained().exists()

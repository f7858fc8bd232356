"""The protocols with one model for the classes of all tasks, through the real commands and two miniature tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gift_core.artifacts.accuracy import read_accuracy
from stages.app import app
from tests.stages.experiment import RUNNER, TASKS, Experiment, tiny


def test_a_class_incremental_run_from_the_images_to_the_table(tmp_path: Path, mini_params: dict[str, Any]) -> None:
    """What does not fit the protocol: test_pair_tasks.py."""
    mini_params["run"] |= {"methods": ["finetune"]}
    mini_params["evaluation"] |= {"protocol": "class_incremental"}
    experiment = Experiment(tmp_path, tiny(mini_params))
    experiment.succeed("import_model")
    for task in TASKS:
        experiment.succeed("ingest", task)
        experiment.succeed("finetune", "finetune", task)
        experiment.succeed("evaluate", "finetune", task)
    rows, _ = read_accuracy(experiment.layout.accuracy("finetune", "arrows"))
    assert set(rows.protocol) == {"class_incremental"}
    assert rows[["step", "eval_task", "n"]].to_records(index=False).tolist() == [(-1, "arrows", 70), (1, "arrows", 70)]
    experiment.succeed("report")
    shown = RUNNER.invoke(app, ["show", "--root", str(tmp_path)]).output
    assert "Avg" in shown and "Transfer" not in shown and "lower is better" not in shown
    assert list(json.loads((tmp_path / "reports/metrics.json").read_text())) == ["zero_shot", "finetune"]

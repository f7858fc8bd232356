"""What ran: methods as phrases, and notes on the data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.loading import load_config
from gift_core.config.method_options import MethodConfig
from gift_core.layout import Layout
from gift_core.report.facts import DataNote, summarize_method
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from tests.report.run_folder import TASKS, write_run, write_task_json

PLAIN = {"learning_rate": 1e-4, "replay": {"images": "none"}, "losses": {}, "consolidation": {"kind": "none"}}
BEFORE = "(teacher: the model before the task)"
SYNTHETIC = {"images": "synthetic", "teacher": "previous"}
INCOMPLETE = "incomplete: 3,000 of 3,334 training images"
CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "learning rate 0.0001"),
    ({"learning_rate": None, "learns": "nothing"}, "the pre-trained model, never trained"),
    ({"start": "pretrained"}, "learning rate 0.0001, every step starts from the pre-trained model"),
    (
        {"start": "pretrained", "learns": "seen"},
        "learning rate 0.0001, every step starts from the pre-trained model, trained on all tasks seen so far",
    ),
    ({"merge": {"kind": "interpolate", "alpha": 0.8}}, "learning rate 0.0001, merges 0.8 new + 0.2 old weights"),
    (
        {"average": {"kind": "running_mean", "every": 100}},
        "learning rate 0.0001, averages the weights every 100 iterations",
    ),
    ({"consolidation": {"kind": "uniform", "weight": 2.0}}, "learning rate 0.0001, consolidation uniform (weight 2)"),
    (
        {"replay": {"images": "task", "teacher": "previous", "texts": {"kind": "classes"}}},
        f"learning rate 0.0001, replays the images of the task with its class prompts {BEFORE}",
    ),
    (
        {
            "replay": {
                "images": "task",
                "teacher": "previous",
                "texts": {"kind": "random_tokens", "count": 1000, "length": 10},
            }
        },
        f"learning rate 0.0001, replays the images of the task with 1,000 random texts of 10 tokens {BEFORE}",
    ),
    (
        {"replay": {"images": "exemplars", "teacher": "previous", "memory": 2000}},
        f"learning rate 0.0001, replays 2,000 exemplars {BEFORE}",
    ),
    (
        {"replay": {"images": "reference", "teacher": "initial", "folder": "data/0_raw/reference/captions"}},
        "learning rate 0.0001, replays pairs of data/0_raw/reference/captions (teacher: the pre-trained model)",
    ),
    (
        {"replay": {"images": "synthetic", "teacher": "mix", "teacher_alpha": 0.5}},
        "learning rate 0.0001, replays synthetic pairs (teacher: a mix with 0.5 of the model before the task)",
    ),
    (
        {
            "replay": SYNTHETIC | {"fisher": {"estimator": "per_sample", "accumulate": True}},
            "losses": {"distill": {"weight": 1.0, "temperature": 2.0}},
            "consolidation": {"kind": "static_fisher", "weight": 1.0, "scale": "model"},
        },
        f"learning rate 0.0001, replays synthetic pairs {BEFORE}, Fisher information per sample, "
        "accumulated over the steps, distill loss (weight 1), consolidation static_fisher (weight 1, scale: model)",
    ),
]


@pytest.mark.parametrize(("slots", "phrase"), CASES, ids=[phrase for _, phrase in CASES])
def test_a_method_is_summarized_slot_by_slot(slots: dict[str, Any], phrase: str) -> None:
    assert summarize_method(MethodConfig.model_validate_json(json.dumps(PLAIN | slots))) == phrase


def test_notes_skipped_images_and_few_shots_are_collected_over_the_tasks(tmp_path: Path) -> None:
    write_run(tmp_path)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    row = {"source": "folder", "path": "data/0_raw/x", "templates": ["a {}."], "test_fraction": 0.2}
    params["tasks"] = {task: {**row, "on_bad_image": "skip", "shots": 5} for task in TASKS}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    write_task_json(Layout(tmp_path), "letters", notes=[INCOMPLETE])
    write_task_json(Layout(tmp_path), "zodiac", skipped=[("a.jpg", "cut short"), ("b.jpg", "no image")])
    record = read_run(Layout(tmp_path), load_config(tmp_path / "params.yaml"))
    assert record.notes == (
        DataNote("few-shot: 5 training images per class", TASKS),
        DataNote(INCOMPLETE, ("letters",)),
        DataNote("2 unreadable images skipped", ("zodiac",)),
    )


def test_notes_are_in_a_warning_above_the_table_and_in_what_ran(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    write_task_json(Layout(tmp_path), "letters", notes=[INCOMPLETE])
    html = render_page(read_run(Layout(tmp_path), config))
    warning = html[html.index('class="note warning"') : html.index('<table class="result">')]
    assert f"<li>{INCOMPLETE} (letters)</li>" in warning
    assert re.search(rf"<th scope=\"row\">Data</th><td>{INCOMPLETE} \(letters\)</td>", html)


def test_complete_data_sets_have_no_warning(tmp_path: Path) -> None:
    html = render_page(read_run(Layout(tmp_path), write_run(tmp_path)))
    assert 'class="note warning"' not in html and '<th scope="row">Data</th>' not in html

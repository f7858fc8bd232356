"""What ran: methods as phrases, notes on the data, own data, and results of different environments."""

from __future__ import annotations

import html
import json
from pathlib import Path

from gift_core.artifacts.accuracy import computed_with
from gift_core.artifacts.contract import write_json
from gift_core.artifacts.model_folder import write_provenance
from gift_core.artifacts.teacher_source import write_source
from gift_core.layout import Layout
from gift_core.report.facts import data_notes, differences
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from tests.report.run_folder import ENVIRONMENT, TASKS, change_accuracies, write_run, write_task_json
from tests.stages.experiment import invoke

INCOMPLETE = "incomplete: 3,000 of 3,334 training images"
OWN = {
    "source": "folder", "path": "data/0_raw/garments", "templates": ["a photo of a {}."], "test_fraction": 0.2,
    "on_bad_image": "refuse",
}  # fmt: skip


def test_notes_skipped_images_and_few_shots_are_collected_and_in_a_warning_above_the_table(tmp_path: Path) -> None:
    config = write_run(tmp_path, changes={"tasks": dict.fromkeys(TASKS, OWN | {"on_bad_image": "skip", "shots": 5})})
    write_task_json(Layout(tmp_path), "letters", notes=[INCOMPLETE])
    write_task_json(Layout(tmp_path), "zodiac", skipped=[("a.jpg", "cut short"), ("b.jpg", "no image")])
    record = read_run(Layout(tmp_path), config)
    assert data_notes(record) == [
        "few-shot: 5 training images per class (all 3 tasks)",
        f"{INCOMPLETE} (letters)",
        "2 unreadable images skipped (zodiac)",
    ]
    page = render_page(record)
    assert f"<li>{INCOMPLETE} (letters)</li>" in page[: page.index('<table class="result">')]
    assert f"{INCOMPLETE} (letters)" in page[page.index('<th scope="row">Data</th><td>') :]


def test_results_of_another_environment_are_named_by_the_page_and_the_stage(tmp_path: Path) -> None:
    config, layout, other = write_run(tmp_path), Layout(tmp_path), ENVIRONMENT | {"threads": 2}
    write_provenance(layout.model("gift", "zodiac"), {"environment": other | {"device": "<script>x"}})
    write_source(layout.teacher("gift", "zodiac"), replay="synthetic", read={}, environment=other)
    change_accuracies(tmp_path, "gift", "zodiac", **computed_with(other))
    manifest = layout.shards("zodiac") / "manifest.json"
    write_json(manifest, json.loads(manifest.read_text()) | {"environment": other})
    record = read_run(layout, config)
    results = 3 + 3 + 2 * 3 + 2 * 3  # synthesize; teach of gift; finetune and evaluate of both methods
    named = ", ".join(f"{stage}@gift-zodiac" for stage in ("teach", "finetune", "evaluate"))
    expected = f"1 ({results - 4} results), 2 (synthesize@zodiac, {named})"
    assert differences(record)["threads"] == expected
    page = render_page(record)
    assert "Results of different environments" in page and f"<li>threads: {expected}</li>" in page
    assert "torch 2.9.0<" in page  # what all have in common
    assert "<script>x" not in page and html.escape("<script>x") in page
    printed = invoke("report", "--params", tmp_path / "params.yaml", "--root", tmp_path)
    assert "report: note: results of different environments: " in printed.output

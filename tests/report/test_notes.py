"""What a reader should know of the data stands beside the result and in What ran."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from gift_core.config.loading import load_config
from gift_core.layout import Layout
from gift_core.report.gather import gather
from gift_core.report.page import render_page
from gift_core.report.record import DataNote
from tests.report.run_folder import TASKS, write_run, write_task_json

INCOMPLETE = "incomplete: 3,000 of 3,334 training images"


def test_notes_skipped_images_and_few_shots_are_gathered_over_the_tasks(tmp_path: Path) -> None:
    write_run(tmp_path)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    row = {"source": "folder", "path": "data/0_raw/x", "templates": ["a {}."], "test_fraction": 0.2}
    params["tasks"] = {task: {**row, "on_bad_image": "skip", "shots": 5} for task in TASKS}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    write_task_json(Layout(tmp_path), "letters", notes=[INCOMPLETE])
    write_task_json(Layout(tmp_path), "zodiac", skipped=[("a.jpg", "cut short"), ("b.jpg", "no image")])
    record = gather(Layout(tmp_path), load_config(tmp_path / "params.yaml"))
    assert record.notes == (
        DataNote("few-shot: 5 training images a class", TASKS),
        DataNote(INCOMPLETE, ("letters",)),
        DataNote("2 unreadable images skipped", ("zodiac",)),
    )


def test_notes_stand_in_a_warning_before_the_table_and_in_what_ran(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    write_task_json(Layout(tmp_path), "letters", notes=[INCOMPLETE])
    html = render_page(gather(Layout(tmp_path), config))
    warning = html[html.index('class="note warning"') : html.index('<table class="result">')]
    assert f"<li>{INCOMPLETE} (letters)</li>" in warning
    assert re.search(rf"<th scope=\"row\">Data</th><td>{INCOMPLETE} \(letters\)</td>", html)


def test_whole_data_sets_have_no_warning(tmp_path: Path) -> None:
    html = render_page(gather(Layout(tmp_path), write_run(tmp_path)))
    assert 'class="note warning"' not in html and '<th scope="row">Data</th>' not in html

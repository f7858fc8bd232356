"""The report names the miniature benchmark where a run is one, and warns where only its model or its tasks are used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gift_core.layout import Layout
from gift_core.mini.miniature import MEANING, Miniature, miniature_of
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from tests.report.run_folder import OPENAI, TASKS, write_params, write_run, write_seen_run

OWN = {
    "source": "folder", "path": "data/0_raw/garments", "templates": ["a photo of a {}."], "test_fraction": 0.2,
    "on_bad_image": "refuse",
}  # fmt: skip
MINI = {"source": "mini", "path": "data/mini", "train_images": 10, "test_images": 10}


def page_text(root: Path, changes: dict[str, Any]) -> str:
    config = write_run(root, changes=changes)
    return re.sub(r"\s+", " ", render_page(read_run(Layout(root), config)))


def test_a_run_of_miniature_model_and_tasks_is_named_in_headline_table_and_one_sentence(tmp_path: Path) -> None:
    page = page_text(tmp_path, {})
    assert "<h1>After 3 tasks of the miniature benchmark, GIFT has" in page
    assert "<caption>Top-1 accuracy in percent over 3 tasks of the miniature benchmark." in page
    assert page.count("Miniature benchmark.</b>") == 1 and page.count("It says nothing about photos") == 1


def test_own_data_on_a_real_clip_says_nothing_about_the_miniature(tmp_path: Path) -> None:
    page = page_text(tmp_path, {"model": OPENAI, "tasks": dict.fromkeys(TASKS, OWN)})
    shown = page[page.index("<body>") : page.index('id="ran"')]
    assert "<h1>After 3 tasks, GIFT has" in shown
    assert "iniature" not in shown and "glyphs" not in shown


def test_own_data_on_the_miniature_model_are_warned_about(tmp_path: Path) -> None:
    page = page_text(tmp_path, {"tasks": {**dict.fromkeys(TASKS, MINI), TASKS[1]: OWN}})
    assert "<h1>After 3 tasks, GIFT has" in page
    assert "<b>Miniature model.</b> The miniature CLIP was pre-trained on drawn symbols (glyphs) only." in page
    assert f"its accuracies on {TASKS[1]} mean little" in page and "gift use bring_your_own" in page


def test_a_class_incremental_run_is_named_too(tmp_path: Path) -> None:
    config = write_seen_run(tmp_path, tasks=("a", "b"), zero_shot=(50, 40), seen={"gift": (75, 70)})
    page = render_page(read_run(Layout(tmp_path), config))
    assert "After 2 steps of the miniature benchmark, GIFT has 70.0% accuracy" in page


@pytest.mark.parametrize(
    ("model", "is_miniature"),
    [
        ("local-dir:data/mini/clip", True),
        ("local-dir:/somewhere/else/mini/clip", True),
        ("local-dir:data/0_raw/models/clip", False),
        ("ViT-B-16", False),
    ],
)
def test_the_model_is_recognized_by_its_folder(tmp_path: Path, model: str, is_miniature: bool) -> None:
    config = write_params(tmp_path, TASKS, ("gift",), changes={"model": {**OPENAI, "pretrained": None, "name": model}})
    assert miniature_of(config) == Miniature(is_miniature, TASKS, ())


def test_the_note_names_the_tasks_that_are_drawn(tmp_path: Path) -> None:
    assert Miniature(True, ("a", "b"), ()).note == MEANING
    assert Miniature(False, ("a",), ("b",)).note.startswith("Drawn symbols (glyphs) of the miniature benchmark: a. ")
    assert Miniature(False, (), ("b",)).note == ""

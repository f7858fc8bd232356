"""A task or a method is removed from params.yaml, and nothing else changes but the link to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from gift_core.config.editing import (
    activate_method,
    append_method,
    append_task,
    remove_method,
    remove_task,
)
from gift_core.config.overlays import complete_text
from gift_core.errors import UserError
from gift_core.presets import find_presets
from tests.imports import ROOT

ROW: dict[str, Any] = {"source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}."]}
PRESETS = sorted(path.name for path in find_presets(ROOT).values())
SMALL = """\
tasks:   # the data
  # glyphs
  letters:
    path: x   # watched
    # commented out: 5
  birds: {path: y}

  # others
  '12':
    path: z
sequence:
  - task: letters
    after: ../pretrained
  # then
  - {task: birds, after: letters}   # in one line
  - task: '12'
    after: birds   # the step before
run:
  methods: [a, b]
  device: auto
methods:
  a: {x: 1}
  b:
    x: 2
"""


@pytest.mark.parametrize("preset", PRESETS)
def test_removing_is_the_reverse_of_adding_in_every_preset(preset: str) -> None:
    text = complete_text(ROOT / "presets" / preset)
    assert remove_task(append_task(text, "birds", ROW, learning_rate_factor=1.0), "birds") == text
    assert remove_method(append_method(text, "strong", "gift", {"losses.distill.weight": 2.0}, {}), "strong") == text


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_task_goes_with_its_comments_and_the_next_step_follows_the_one_before(ends: str) -> None:
    expected = (
        SMALL.replace("  birds: {path: y}\n", "")
        .replace("  - {task: birds, after: letters}   # in one line\n", "")
        .replace("after: birds   # the step", "after: letters # the step")
    )
    assert remove_task(SMALL.replace("\n", ends), "birds") == expected.replace("\n", ends)
    removed = remove_task(SMALL, "letters")
    assert removed.startswith("tasks:   # the data\n  # glyphs\n    # commented out: 5\n  birds: {path: y}\n")
    assert "sequence:\n  # then\n  - {task: birds, after: ../pretrained} # in one line\n" in removed
    more = append_task(SMALL, "more", ROW, learning_rate_factor=1.0)
    without_step = more[: more.index("  - task: more")] + more[more.index("run:") :]
    assert remove_task(without_step, "more") == SMALL


def test_the_last_task_of_all_leaves_the_empty_sections_of_bring_your_own() -> None:
    text = SMALL
    for name in ("12", "letters", "birds"):
        text = remove_task(text, name)
    assert yaml.safe_load(text) | {"tasks": {}, "sequence": []} == yaml.safe_load(text)
    assert "tasks: {} # the data\n" in text and "\nsequence: []\n" in text
    again = yaml.safe_load(append_task(text, "birds", ROW, learning_rate_factor=1.0))
    assert (list(again["tasks"]), again["sequence"][0]["after"]) == (["birds"], "../pretrained")


def test_a_method_goes_with_its_name_in_brackets_or_on_a_line() -> None:
    assert remove_method(SMALL, "a") == SMALL.replace("[a, b]", "[b]").replace("  a: {x: 1}\n", "")
    assert remove_method(SMALL.rstrip("\n"), "b").endswith("  methods: [a]\n  device: auto\nmethods:\n  a: {x: 1}\n")
    on_lines = SMALL.replace(" [a, b]", "\n    - a   # first\n    - b")
    assert "  methods:\n    - b\n  device: auto\n" in remove_method(on_lines, "a")
    assert "  methods:\n    - a   # first\n  device: auto\n" in remove_method(on_lines, "b")
    idle = append_method(SMALL, "c", "a", {}, {}).replace("[a, b, c]", "[a, b]")
    assert remove_method(activate_method(idle, "c"), "c") == remove_method(idle, "c") == SMALL


@pytest.mark.parametrize(
    ("remove", "text", "name", "expected"),
    [
        (remove_task, SMALL, "bird", r"params.yaml: tasks: unknown name 'bird'\. Did you mean 'birds'\? Known: 12, "),
        (remove_task, "tasks: {}\nsequence: []\n", "bird", r"params.yaml: tasks: unknown name 'bird'\. Known: none\."),
        (remove_method, SMALL, "c", r"params.yaml: methods: unknown name 'c'\. Known: a, b\."),
        (remove_method, remove_method(SMALL, "b"), "a", "a is the only method that runs. Add another one first"),
    ],
)
def test_what_cannot_be_removed_is_explained(
    remove: Callable[[str, str], str], text: str, name: str, expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        remove(text, name)

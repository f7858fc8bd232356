"""A task or a method is added to params.yaml or removed from it, and nothing else changes but the link to it."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
import yaml

from gift_core.config.editing import (
    append_method,
    append_task,
    remove_method,
    remove_task,
)
from gift_core.config.presets import complete_text, find_presets
from gift_core.errors import UserError
from tests.imports import ROOT

ROW: dict[str, Any] = {
    "source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}.", 'a "{}": bird'],
    "test_fraction": 0.2, "on_bad_image": "refuse",
}  # fmt: skip
SMALL = """\
# the experiment
tasks:
  letters:   # glyphs
    source: mini
    # commented out: 5
    path: x   # watched

# The order.

sequence:
- task: letters
  after: ../pretrained
  learning_rate_factor: 1.0   # as it is

# at the end
seed: 42
"""


def only_inserts(before: str, after: str) -> bool:
    matcher = difflib.SequenceMatcher(None, before.split("\n"), after.split("\n"), False)
    return {tag for tag, *_ in matcher.get_opcodes()} == {"equal", "insert"}


def add(text: str, name: str = "birds", *, factor: float = 1.0, **row: Any) -> str:
    """Adds the task, and checks that lines were inserted only, and which values the file then holds."""
    added = append_task(text, name, {**ROW, **row}, learning_rate_factor=factor)
    empty = text.replace("\ntasks: {}\n", "\ntasks:\n").replace("\nsequence: []\n", "\nsequence:\n")
    assert only_inserts(empty, added) or "{a:" in text
    before, after = yaml.safe_load(text), yaml.safe_load(added)
    assert after["tasks"].pop(name) == {**ROW, **row}
    last = before["sequence"][-1]["task"] if before["sequence"] else "../pretrained"
    assert after["sequence"].pop() == {"task": name, "after": last, "learning_rate_factor": factor}
    assert after == before
    return added


def test_the_new_lines_stand_before_the_comments_of_the_next_section() -> None:
    assert append_task(f"{SMALL}...\n", "birds", ROW, learning_rate_factor=1.0) == add(SMALL)  # the end of a document
    assert add(SMALL) == SMALL.replace(
        "    path: x   # watched\n",
        "    path: x   # watched\n"
        "  birds:\n"
        "    source: folder\n"
        "    path: data/0_raw/birds\n"
        "    templates:\n"
        "    - a photo of a {}.\n"
        "    - 'a \"{}\": bird'\n"
        "    test_fraction: 0.2\n"
        "    on_bad_image: refuse\n",
    ).replace(
        "factor: 1.0   # as it is\n",
        "factor: 1.0   # as it is\n- task: birds\n  after: letters\n  learning_rate_factor: 1.0\n",
    )


METHODS = """\
run:
  methods:   # which run
  - gift   # the paper
  device: auto

methods:
  # References.
  base:
    learning_rate: 5.0e-4   # tuned
    losses: {}
  gift:         # pairs
    learning_rate: 5.0e-4
    losses:
      distill: {weight: 1.0, temperature: 2.0}   # both towers

  # Ablations.
  other:
    losses: {}

# at the end
seed: 42
"""


def add_method(text: str, name: str, base: str, settings: list[str]) -> str:
    """Adds the method, and checks that lines were inserted only."""
    added = append_method(text, name, base, settings, {})
    assert only_inserts(text, added)
    return added


def test_a_method_is_copied_with_its_comments_and_one_of_its_own() -> None:
    assert add_method(METHODS, "strong", "gift", ["losses.distill.weight=2.5"]) == METHODS.replace(
        "  - gift   # the paper\n", "  - gift   # the paper\n  - strong\n"
    ).replace(
        "  other:\n    losses: {}\n",
        "  other:\n    losses: {}\n"
        "  strong:       # gift with losses.distill.weight=2.5\n"
        "    learning_rate: 5.0e-4\n"
        "    losses:\n"
        "      distill: {weight: 2.5, temperature: 2.0}   # both towers\n",
    )


def test_sections_in_brackets_are_written_on_lines_and_a_name_that_exists_is_refused() -> None:
    add("tasks: {a: {path: x}}\nsequence: [{task: a}]\n")
    assert append_method("run: {methods: [a]}\nmethods: {a: {}}\n", "x", "a", [], {}).startswith(
        "run: {methods: [a, x]}\nmethods:\n  a: {}\n  x: {}"
    )
    with pytest.raises(UserError, match=r"params.yaml: tasks.birds: already exists \(path: x\). Choose"):
        append_task(SMALL.replace("letters", "birds"), "birds", ROW, learning_rate_factor=1.0)


SHORT_ROW: dict[str, Any] = {"source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}."]}
PRESETS = sorted(path.name for path in find_presets(ROOT).values())
PARAMS = """\
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
    assert remove_task(append_task(text, "birds", SHORT_ROW, learning_rate_factor=1.0), "birds") == text
    assert remove_method(append_method(text, "strong", "gift", ["losses.distill.weight=2.0"], {}), "strong") == text


def test_a_task_goes_with_its_comments_and_the_next_step_follows_the_one_before() -> None:
    expected = (
        PARAMS.replace("  birds: {path: y}\n", "")
        .replace("- {task: birds, after: letters}   # in one line\n", "")
        .replace("after: birds   # the step", "after: letters # the step")
    )
    assert remove_task(PARAMS.replace("\n", "\r\n"), "birds") == expected
    removed = remove_task(PARAMS, "letters")
    assert removed.startswith("tasks:   # the data\n  # glyphs\n    # commented out: 5\n  birds: {path: y}\n")
    assert "sequence:\n# then\n- {task: birds, after: ../pretrained} # in one line\n" in removed
    more = append_task(PARAMS, "more", SHORT_ROW, learning_rate_factor=1.0)
    without_step = more[: more.index("- task: more")] + more[more.index("run:") :]
    assert remove_task(without_step, "more") == PARAMS


def test_the_last_task_of_all_leaves_the_empty_sections_of_bring_your_own() -> None:
    text = PARAMS
    for name in ("12", "letters", "birds"):
        text = remove_task(text, name)
    assert yaml.safe_load(text) | {"tasks": {}, "sequence": []} == yaml.safe_load(text)
    assert "tasks: {} # the data\n" in text and "\nsequence: []\n" in text
    again = yaml.safe_load(append_task(text, "birds", SHORT_ROW, learning_rate_factor=1.0))
    assert (list(again["tasks"]), again["sequence"][0]["after"]) == (["birds"], "../pretrained")


def test_a_method_goes_with_its_name_in_brackets_or_on_a_line() -> None:
    assert remove_method(PARAMS, "a") == PARAMS.replace("[a, b]", "[b]").replace("  a: {x: 1}\n", "")
    assert remove_method(PARAMS.rstrip("\n"), "b").endswith("  methods: [a]\n  device: auto\nmethods:\n  a: {x: 1}\n")
    on_lines = PARAMS.replace(" [a, b]", "\n  - a   # first\n  - b")
    assert "  methods:\n  - b\n  device: auto\n" in remove_method(on_lines, "a")
    assert "  methods:\n  - a   # first\n  device: auto\n" in remove_method(on_lines, "b")
    idle = append_method(PARAMS, "c", "a", [], {}).replace("[a, b, c]", "[a, b]")
    assert remove_method(append_method(idle, "c", None, [], {}), "c") == remove_method(idle, "c") == PARAMS


def test_the_only_method_that_runs_stays() -> None:
    with pytest.raises(UserError, match="a is the only method that runs. Add another one first"):
        remove_method(remove_method(PARAMS, "b"), "a")

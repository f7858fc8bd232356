"""A task or a method is added to params.yaml or removed from it, and nothing else changes but the link to it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gift_core.config.editing import append_method, append_task, remove_method, remove_task, set_order
from gift_core.config.presets import complete_text
from gift_core.errors import UserError
from tests.config.test_loading import FOLDER_TASK
from tests.imports import ROOT

ROW: dict[str, Any] = FOLDER_TASK | {"templates": ["a photo of a {}.", 'a "{}": bird']}
PARAMS = """\
# the experiment
tasks:   # the data
  # glyphs
  letters:
    path: x   # watched
    # commented out: 5
  birds: {path: y}

  # others
  '12':
    path: z   # as it is

# The order.

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
  # References.
  a: {x: 1}
  b:         # pairs
    losses:
      distill: {weight: 1.0, temperature: 2.0}   # both towers

# at the end
seed: 42
"""


def add(text: str, name: str) -> str:
    """Adds the task, and checks which values the file then holds."""
    added = append_task(text, name, ROW, learning_rate_factor=1.0)
    before, after = yaml.safe_load(text), yaml.safe_load(added)
    assert after["tasks"].pop(name) == ROW
    last = before["sequence"][-1]["task"]
    assert after["sequence"].pop() == {"task": name, "after": last, "learning_rate_factor": 1.0}
    assert after == before
    return added


def test_the_new_lines_stand_before_the_comments_of_the_next_section() -> None:
    assert add(f"{PARAMS}...\n", "new") == f"{add(PARAMS, 'new')}...\n"  # the end of a document
    assert add(PARAMS, "new") == PARAMS.replace(
        "    path: z   # as it is\n",
        "    path: z   # as it is\n"
        "  new:\n"
        "    source: folder\n"
        "    path: data/0_raw/birds\n"
        "    templates:\n"
        "    - a photo of a {}.\n"
        "    - 'a \"{}\": bird'\n"
        "    test_fraction: 0.2\n"
        "    on_bad_image: refuse\n",
    ).replace("# the step before\n", "# the step before\n- task: new\n  after: '12'\n  learning_rate_factor: 1.0\n")


def test_a_method_is_copied_with_one_comment_of_its_own_and_those_of_the_base_that_stay_true() -> None:
    on_lines = PARAMS.replace(" [a, b]", "   # which run\n  - b   # the paper\n  - a")
    added = append_method(on_lines, "strong", "b", ["losses.distill.weight=2.5"], {})
    assert added == on_lines.replace("  - a\n", "  - a\n  - strong\n").replace(
        "# both towers\n",
        "# both towers\n"
        "  strong:    # b with losses.distill.weight=2.5\n"
        "    losses:\n"
        "      distill: {weight: 2.5, temperature: 2.0}\n",
    )
    params = (
        "run: {methods: [a]}\nmethods:\n  a:\n    rate: 1.0   # searched\n    # in the paper\n    slot:   # 1.0\n"
        "      kind: x   # of x\n      # of x, too\n      rows:\n      - 1   # a\n"
    )
    added = append_method(params, "b", "a", ["slot.weight=2", "slot.kind=y"], {})
    assert added == params.replace("[a]", "[a, b]") + (
        "  b:                         # a with slot.weight=2, slot.kind=y\n"
        "    rate: 1.0   # searched\n    slot:\n      kind: y\n      rows: [1]\n      weight: 2\n"
    )


def test_sections_in_brackets_stay_in_brackets() -> None:
    add("tasks: {a: {path: x}}\nsequence: [{task: a}]\n", "birds")
    text = "run: {methods: [a]}   # one\nmethods: {a: {y: 1}}\n"
    added = append_method(text, "x", "a", [], {})
    assert added == "run: {methods: [a, x]}   # one\nmethods: {a: {y: 1}, x: {y: 1}}\n"
    assert remove_method(added, "x") == text


@pytest.mark.parametrize("preset", ["mini", "bring_your_own", "cil_cifar100_10", "laptop", "mtil_few_shot"])
def test_removing_is_the_reverse_of_adding(preset: str) -> None:
    text = complete_text(ROOT / "presets" / f"{preset}.yaml")
    assert remove_task(append_task(text, "birds", ROW, learning_rate_factor=1.0), "birds") == text
    assert remove_method(append_method(text, "strong", "gift", ["losses.distill.weight=2.0"], {}), "strong") == text


def test_a_task_goes_with_its_comments_and_the_next_step_follows_the_one_before() -> None:
    expected = (
        PARAMS.replace("  birds: {path: y}\n", "")
        .replace("- {task: birds, after: letters}   # in one line\n", "")
        .replace("after: birds   # the step", "after: letters # the step")
    )
    assert remove_task(PARAMS.replace("\n", "\r\n"), "birds") == expected
    removed = remove_task(PARAMS, "letters")
    assert "tasks:   # the data\n  # glyphs\n    # commented out: 5\n  birds: {path: y}\n" in removed
    assert "sequence:\n# then\n- {task: birds, after: ../pretrained}   # in one line\n" in removed
    more = append_task(PARAMS, "more", ROW, learning_rate_factor=1.0)
    without_step = more[: more.index("- task: more")] + more[more.index("run:") :]
    assert remove_task(without_step, "more") == PARAMS


def test_in_another_order_a_step_keeps_its_comments_and_follows_the_one_before() -> None:
    assert set_order(PARAMS, ["letters", "birds", "12"]).split() == PARAMS.split()
    ordered = set_order(PARAMS, ["birds", "12", "letters"])
    assert ordered[: ordered.index("sequence:")] == PARAMS[: PARAMS.index("sequence:")]
    assert ordered[ordered.index("run:") :] == PARAMS[PARAMS.index("run:") :]
    assert [
        " ".join(line.split()) for line in ordered[ordered.index("sequence:") : ordered.index("run:")].splitlines()
    ] == [
        "sequence:",
        "# then",
        "- {task: birds, after: ../pretrained} # in one line",
        "- task: '12'",
        "after: birds # the step before",
        "- task: letters",
        "after: '12'",
    ]


def test_the_last_task_of_all_leaves_the_empty_sections_of_bring_your_own() -> None:
    text = PARAMS
    for name in ("12", "letters", "birds"):
        text = remove_task(text, name)
    assert yaml.safe_load(text) | {"tasks": {}, "sequence": []} == yaml.safe_load(text)
    assert "tasks: {}   # the data\n" in text and "\nsequence: []\n" in text
    again = yaml.safe_load(append_task(text, "birds", ROW, learning_rate_factor=1.0))
    assert (list(again["tasks"]), again["sequence"][0]["after"]) == (["birds"], "../pretrained")


def test_a_method_goes_with_its_name_in_brackets_or_on_a_line_and_the_only_one_that_runs_stays() -> None:
    assert remove_method(PARAMS, "a") == PARAMS.replace("[a, b]", "[b]").replace("  a: {x: 1}\n", "")
    without_b = PARAMS[: PARAMS.index("  b:")].replace("[a, b]", "[a]")
    assert remove_method(PARAMS[: PARAMS.index("\n\n# at")], "b") == without_b
    on_lines = PARAMS.replace(" [a, b]", "\n  - a   # first\n  - b")
    assert "  methods:\n  - b\n  device: auto\n" in remove_method(on_lines, "a")
    assert "  methods:\n  - a   # first\n  device: auto\n" in remove_method(on_lines, "b")
    idle = append_method(PARAMS, "c", "a", [], {}).replace("[a, b, c]", "[a, b]")
    assert remove_method(append_method(idle, "c", None, [], {}), "c") == remove_method(idle, "c") == PARAMS
    with pytest.raises(UserError, match="a is the only method that runs. Add another one first"):
        remove_method(remove_method(PARAMS, "b"), "a")

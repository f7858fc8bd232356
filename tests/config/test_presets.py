"""Presets: one that changes another one, what they say of themselves, and the way to params.yaml and back."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gift_core.config.loading import load_config
from gift_core.config.presets import complete_text, find_presets, load_preset, needs_of, plan_switch
from gift_core.errors import UserError
from tests.imports import ROOT, first_params

BASE = """\
# The base.
# What it is for.
#
# How to write numbers.

experiment: base   # a name

# All methods.
methods:   # rows
  # References.
  finetune:        # plain
    rate: 1.0e-4
    losses: {}

  # Ours.
  gift:            # ours
    rate: 5.0e-4   # faster
    losses:
      distill: {weight: 1.0}
      align: {weight: 0.25}

# At the end.
order:
- a
- b   # last
size: 32           # pixels
"""
Complete = Callable[[str], str]


@pytest.fixture
def complete(tmp_path: Path) -> Complete:
    """Writes the base and an overlay of it, and returns the complete text."""

    def write(changes: str) -> str:
        (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
        (tmp_path / "mine.yaml").write_text(changes, encoding="utf-8")
        return complete_text(tmp_path / "mine.yaml")

    return write


def test_an_empty_overlay_is_its_base_under_its_title_and_no_params_file(complete: Complete, tmp_path: Path) -> None:
    assert complete("# Mine.\nbase: base\n") == BASE.replace("# The base.\n# What it is for.", "# Mine.")
    windows = BASE.replace("\n", "\r\n")
    (tmp_path / "base.yaml").write_bytes(windows.encode())
    assert complete_text(tmp_path / "base.yaml") == windows
    with pytest.raises(UserError, match=r"changes the preset base\. Write the complete params.yaml: gift use mine"):
        load_config(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        ("size: 64   # more pixels", "size: 32           # pixels", "size: 64           # more pixels"),
        ("order:\n  - c", "- a\n- b   # last\n", "  - c\n"),
        ("methods:\n  gift:\n    rate: 1.0", "    rate: 5.0e-4   # faster", "    rate: 1.0      # faster"),
        ("methods:\n  gift:\n    losses: {}", "losses:\n      distill: {weight: 1.0}\n      align: {weight: 0.25}\n", "losses: {}\n"),
        ("methods:\n  gift:\n    losses: !replace\n      align: {weight: 1.0}", "      distill: {weight: 1.0}\n      align: {weight: 0.25}\n", "      align: {weight: 1.0}\n"),
        ("methods:\n  gift:\n    losses:\n      align: !delete", "      align: {weight: 0.25}\n", ""),
        ("methods:\n  finetune: !delete", "  # References.\n  finetune:        # plain\n    rate: 1.0e-4\n    losses: {}\n", ""),
        ("methods:\n  new:\n    rate: 1.0\n  newer:\n    rate: 2.0", "      align: {weight: 0.25}\n", "      align: {weight: 0.25}\n  new:\n    rate: 1.0\n  newer:\n    rate: 2.0\n"),
        ("methods: !replace\n  new:\n    rate: 1.0", BASE[BASE.index("methods:") : BASE.index("\n# At")], "methods:   # rows\n  new:\n    rate: 1.0\n"),
        ("# New.\nseed: 1   # a number", "# pixels\n", "# pixels\n\n# New.\nseed: 1   # a number\n"),
    ],
)  # fmt: skip
def test_the_lines_that_an_overlay_changes(complete: Complete, changes: str, before: str, after: str) -> None:
    assert BASE.count(before) == 1
    expected = BASE.replace(before, after).replace("# The base.\n# What it is for.\n", "# Mine.\n")
    assert complete(f"# Mine.\nbase: base\n\n{changes}\n") == expected


def test_class_slices_become_tasks_and_a_sequence(complete: Complete) -> None:
    slices = "class_slices:\n  dataset: birds\n  base_classes: {}\n  classes_per_step: 5\n  steps: 2\n"
    params = yaml.safe_load(complete(f"base: base\n\n# Slices.\n{slices.format(20)}"))
    names, ranges = ["birds_00", "birds_01", "birds_02"], [(0, 20), (20, 5), (25, 5)]
    classes = [{"order": "benchmark", "first": first, "count": count} for first, count in ranges]
    assert {name: row["classes"] for name, row in params["tasks"].items()} == dict(zip(names, classes, strict=True))
    assert [step["task"] for step in params["sequence"]] == names
    assert [step["after"] for step in params["sequence"]] == ["../pretrained", *names[:-1]]
    equal = yaml.safe_load(complete(f"base: base\n{slices.format(0)}"))["tasks"]
    assert [row["classes"]["first"] for row in equal.values()] == [0, 5]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ("base: bass", "mine.yaml: base: unknown preset 'bass'. Did you mean 'base'? Known: base."),
        ("base: mine", "mine.yaml: base: mine has a base itself. Name a complete preset."),
        ("base: base\nsise: !delete", "mine.yaml: sise: the base has no such key to delete. Did you mean 'size'?"),
        ("base: [", "mine.yaml: is not valid YAML"),
        ("base: base\nclass_slices: {dataset: x, steps: many}", "mine.yaml: class_slices.base_classes: missing. Every key is required."),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_refused(complete: Complete, changes: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        complete(f"{changes}\n")
    assert str(caught.value).startswith(expected)


def test_a_preset_is_named_as_its_file_and_the_guide_has_a_row_of_it_with_its_number_of_tasks() -> None:
    rows = [line.split("|")[1:3] for line in (ROOT / "docs" / "presets.md").read_text(encoding="utf-8").splitlines()
            if line.startswith("| `")]  # fmt: skip
    told = {
        name.strip(" `"): int(number)
        for names, numbers in rows
        for name, number in zip(names.split(","), (numbers.split(",") * 3)[: names.count(",") + 1], strict=True)
    }
    presets = {path.stem: load_preset(path) for path in find_presets(ROOT).values()}
    assert told == {name: len(config.sequence) for name, config in presets.items()}
    assert [name for name, config in presets.items() if config.experiment != name] == []


@pytest.mark.parametrize(("pretrained", "needs"), [("openai", ("hub",)), ("models/mine.pt", ())])
def test_a_model_of_open_clip_is_on_the_hub_unless_its_weights_are_a_file(pretrained: str, needs: tuple[str]) -> None:
    mini = load_preset(ROOT / "presets" / "mini.yaml")
    model = mini.model.model_copy(update={"name": "ViT-B-16", "pretrained": pretrained})
    assert needs_of(mini.model_copy(update={"model": model})) == needs


def test_the_overlay_of_the_guide_can_be_used(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    example = page[page.index("    # MTIL in order I with our own") : page.index("- A section on several lines")]
    (tmp_path / "my_experiment.yaml").write_text(textwrap.dedent(example), encoding="utf-8")
    shutil.copy(ROOT / "presets" / "mtil_order_1.yaml", tmp_path)
    config, base = load_preset(tmp_path / "my_experiment.yaml"), load_preset(tmp_path / "mtil_order_1.yaml")
    assert (config.training.iterations, config.training.batch_size) == (500, base.training.batch_size)
    assert [name for name, _ in config.methods["gift"].losses.items()] == ["distill"]
    assert set(base.methods) - set(config.methods) == {"ewc"}


def test_a_preset_of_the_project_comes_before_the_one_that_is_shipped(tmp_path: Path) -> None:
    shipped = find_presets(ROOT)
    assert find_presets(tmp_path) == shipped
    assert set(shipped) == {path.stem for path in (ROOT / "presets").glob("*.yaml")} - {"methods"}  # the catalogue
    (tmp_path / "presets").mkdir()
    own = {name: tmp_path / "presets" / f"{name}.yaml" for name in ("mini", "mine_10", "mine_9")}
    for file in own.values():
        file.write_text("base: mini_full")
    assert find_presets(tmp_path) == shipped | own
    assert list(find_presets(tmp_path)) == sorted({*shipped, *own})


def test_every_changed_params_yaml_is_kept_under_a_name_of_its_own(mini_project: Path) -> None:
    params = mini_project / "params.yaml"
    text = params.read_bytes()
    changed = (b"experiment: mine\n", text + b"# the run of Tuesday\n", text.replace(b"\n", b"\r\n"))
    for number, mine in enumerate(changed, start=1):
        params.write_bytes(mine)
        switch = plan_switch(mini_project, "mini")
        assert params.read_bytes() == mine and switch.backup == mini_project / f"params.backup-{number}.yaml"
        switch.carry_out()
        assert switch.backup.read_bytes() == mine
    assert plan_switch(mini_project, "mtil_order_1").backup is None  # an unchanged preset needs none


def test_the_overlay_mini_quick_is_written_whole_also_without_the_preset_that_it_changes(mini_project: Path) -> None:
    for name in ("params.yaml", "presets/mini.yaml"):
        (mini_project / name).unlink()
    switch = plan_switch(mini_project, "mini_quick")
    assert switch.before == "" and all(line.startswith(("+", "-", "@")) for line in switch.difference())
    switch.carry_out()
    assert (mini_project / "params.yaml").read_text(encoding="utf-8") == first_params()
    assert [path.name for path in mini_project.iterdir() if path.is_file()] == ["params.yaml"]

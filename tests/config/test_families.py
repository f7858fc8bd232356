"""What the presets say of themselves; from a preset to params.yaml, nothing is lost."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest

from gift_core.config.presets import complete_text, find_presets, load_preset, plan_switch
from tests.config.test_paper_numbers import FULL_SIZE, read
from tests.imports import ROOT


def text_of(preset: str) -> str:
    return complete_text(ROOT / "presets" / f"{preset}.yaml")


def test_the_guide_has_a_row_of_every_preset_with_its_number_of_tasks() -> None:
    rows = [line.split("|")[1:3] for line in (ROOT / "docs" / "presets.md").read_text(encoding="utf-8").splitlines()
            if line.startswith("| `")]  # fmt: skip
    told = {
        name.strip(" `"): int(number)
        for names, numbers in rows
        for name, number in zip(names.split(","), (numbers.split(",") * 3)[: names.count(",") + 1], strict=True)
    }
    assert told == {path.stem: len(read(path.stem)["sequence"]) for path in find_presets(ROOT).values()}


@pytest.mark.parametrize("preset", FULL_SIZE)
def test_a_preset_is_named_as_its_file_and_says_what_it_is_and_what_to_check_first(preset: str) -> None:
    assert load_preset(ROOT / "presets" / f"{preset}.yaml").experiment == preset
    comment = text_of(preset).split("\n\n")[0]
    assert all(line.startswith("#") for line in comment.splitlines())
    assert "gift doctor" in comment


def test_the_overlay_of_the_guide_can_be_used(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    example = page[page.index("    # MTIL in order I with our own") : page.index("- A section on several lines")]
    (tmp_path / "my_experiment.yaml").write_text(textwrap.dedent(example), encoding="utf-8")
    shutil.copy(ROOT / "presets" / "mtil_order_1.yaml", tmp_path)
    config, base = load_preset(tmp_path / "my_experiment.yaml"), load_preset(tmp_path / "mtil_order_1.yaml")
    assert (config.training.iterations, config.training.batch_size) == (500, base.training.batch_size)
    assert [name for name, _ in config.methods["gift"].losses.items()] == ["distill"]
    assert set(base.methods) - set(config.methods) == {"ewc"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A root with the presets, and mini as its params.yaml."""
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    shutil.copy(ROOT / "presets" / "mini.yaml", tmp_path / "params.yaml")
    return tmp_path


def test_a_preset_of_the_project_comes_before_the_one_that_is_shipped(tmp_path: Path) -> None:
    shipped = find_presets(ROOT)
    assert find_presets(tmp_path) == shipped
    assert set(shipped) == {path.stem for path in (ROOT / "presets").glob("*.yaml")} - {"methods"}  # the catalogue
    (tmp_path / "presets").mkdir()
    own = [tmp_path / "presets" / name for name in ("mini.yaml", "mine_10.yaml", "mine_9.yaml")]
    for file in own:
        shutil.copy(ROOT / "presets" / "mini.yaml", file)
    found = find_presets(tmp_path)
    assert [path for path in found.values() if path.is_relative_to(tmp_path)] == [own[1], own[2], own[0]]
    assert found["mini_quick"] == ROOT / "presets" / "mini_quick.yaml"


def test_every_changed_params_yaml_is_kept_under_a_name_of_its_own(project: Path) -> None:
    params = project / "params.yaml"
    text = params.read_bytes()
    changed = (b"experiment: mine\n", text + b"# the run of Tuesday\n", text.replace(b"\n", b"\r\n"))
    for number, mine in enumerate(changed, start=1):
        params.write_bytes(mine)
        switch = plan_switch(project, "mini")
        assert params.read_bytes() == mine and switch.backup == project / f"params.backup-{number}.yaml"
        switch.carry_out()
        assert switch.backup.read_bytes() == mine


def test_the_overlay_mini_quick_is_written_whole_also_without_the_preset_that_it_changes(project: Path) -> None:
    for name in ("params.yaml", "presets/mini.yaml"):
        (project / name).unlink()
    switch = plan_switch(project, "mini_quick")
    assert switch.before == ""
    assert all(line.startswith(("+", "-", "@")) for line in switch.difference())
    switch.carry_out()
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
    switch = plan_switch(project, "mtil_order_1")
    assert switch.changes and switch.backup is None  # an unchanged preset needs none
    switch.carry_out()
    assert (project / "params.yaml").read_text() == complete_text(project / "presets" / "mtil_order_1.yaml")
    assert [path.name for path in project.iterdir() if path.is_file()] == ["params.yaml"]

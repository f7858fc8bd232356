"""`gift use` and `gift presets` as people meet them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from gift_core.config.overlays import complete_text
from stages.app import app
from tests.imports import ROOT

RUNNER = CliRunner()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A root with the presets, and mini as its params.yaml."""
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    shutil.copy(ROOT / "presets" / "mini.yaml", tmp_path / "params.yaml")
    return tmp_path


def gift(project: Path, *words: str) -> Result:
    return RUNNER.invoke(app, [*words, "--root", str(project)])


def test_an_unknown_preset_is_met_with_the_nearest_name(project: Path) -> None:
    result = gift(project, "use", "mtil_order1")
    assert result.exit_code == 1
    assert "unknown name 'mtil_order1'. Did you mean 'mtil_order_1'?" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "preset", ["mtil_order_1", "mtil_order_2", "mtil_few_shot", "cil_cifar100_50", "bring_your_own"]
)
def test_a_preset_becomes_params_yaml_and_diff_shows_the_difference(project: Path, preset: str) -> None:
    result = gift(project, "use", preset, "--diff")
    assert result.exit_code == 0, result.output
    assert (project / "params.yaml").read_text(encoding="utf-8") == complete_text(
        project / "presets" / f"{preset}.yaml"
    )
    assert f"+experiment: {preset}" in result.stdout
    assert "-experiment: mini" in result.stdout


@pytest.mark.parametrize(
    ("preset", "commands"),
    [("mtil_order_1", ["gift doctor", "gift data status", "dvc repro"]), ("mini_full", ["dvc repro"])],
)
def test_what_comes_next_is_what_the_preset_needs(project: Path, preset: str, commands: list[str]) -> None:
    _, _, following = gift(project, "use", preset).stdout.partition("Next:\n")
    assert [line.split("#")[0].strip() for line in following.splitlines()] == commands


def test_a_dry_run_shows_the_difference_and_writes_nothing(project: Path) -> None:
    (project / "params.yaml").write_text("experiment: mine\n", encoding="utf-8")
    result = gift(project, "use", "mtil_order_1", "--dry-run", "--diff")
    assert result.exit_code == 0
    assert "-experiment: mine" in result.stdout
    assert "nothing was written" in result.stdout
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "presets"]
    assert (project / "params.yaml").read_text(encoding="utf-8") == "experiment: mine\n"


def test_without_diff_it_prints_ten_lines_with_the_number_of_changes_by_section(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    lines = gift(project, "use", "mtil_order_1").stdout.splitlines()
    assert len(lines) == 9  # with a backup, and with all that can come next
    assert lines[0].startswith(
        "params.yaml is now the preset mtil_order_1: MTIL in order I, the paper's main benchmark"
    )
    assert lines[1] == "  11 tasks x 1000 iterations; finetune, gift; needs hub, GPU, data"
    before, after = (
        yaml.safe_load(complete_text(ROOT / "presets" / f"{name}.yaml")) for name in ("mini", "mtil_order_1")
    )
    training = sum(before["training"][key] != after["training"][key] for key in after["training"])
    assert lines[2].startswith("  Time: ")
    assert " from scratch (" in lines[2]
    assert " on a GPU of 100 TFLOP/s" in lines[2]
    assert f", {training} in training, " in lines[3]
    assert "Changed keys: 1 in experiment, 2 in model, " in lines[3]
    assert ", 11 in sequence. --diff prints them." in lines[3]


def test_a_comment_is_no_changed_key(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    assert "  Only comments and the layout change. --diff prints them." in gift(project, "use", "mini").stdout


def test_a_params_yaml_that_cannot_be_read_as_yaml_is_replaced_and_kept(project: Path) -> None:
    (project / "params.yaml").write_text("tasks: [", encoding="utf-8")
    result = gift(project, "use", "mini")
    assert "It replaces all of params.yaml." in result.stdout
    assert (project / "params.backup-1.yaml").read_text(encoding="utf-8") == "tasks: ["


def test_a_changed_params_yaml_is_kept_and_named(project: Path) -> None:
    (project / "params.yaml").write_text("experiment: mine\n", encoding="utf-8")
    result = gift(project, "use", "mini")
    assert f"kept as {project / 'params.backup-1.yaml'}" in result.stdout
    assert (project / "params.backup-1.yaml").read_text(encoding="utf-8") == "experiment: mine\n"


def test_the_active_preset_again_changes_nothing(project: Path) -> None:
    result = gift(project, "use", "mini")
    assert (result.exit_code, "already" in result.stdout) == (0, True)
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "presets"]


def test_presets_lists_each_with_what_it_is_and_needs_and_marks_the_active_one(project: Path) -> None:
    lines = gift(project, "presets").stdout.splitlines()
    heads = {line.split()[0]: line for line in lines if " iterations; " in line}
    assert set(heads) == {path.stem for path in (ROOT / "presets").glob("*.yaml")}
    assert [name for name, line in heads.items() if line.split()[1] == "*"] == ["mini"]
    assert heads["mini"].endswith("6 tasks x 200 iterations; finetune, gift; needs nothing else")
    assert heads["mini_compare"].endswith("5 tasks x 100 iterations; 24 methods; needs nothing else")
    assert heads["mtil_order_1"].endswith("11 tasks x 1000 iterations; finetune, gift; needs hub, GPU, data")
    assert heads["bring_your_own"].endswith("no task yet, 1000 iterations; finetune, gift; needs hub, GPU, data")
    title = lines[lines.index(heads["mtil_order_1"]) + 1]
    assert title.strip().startswith("MTIL in order I, the paper's main benchmark")


def head_of(project: Path, preset: str) -> str:
    return next(line for line in gift(project, "presets").stdout.splitlines() if line.startswith(f"{preset} "))


def test_presets_says_how_many_keys_of_the_active_one_are_changed(project: Path) -> None:
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("iterations: 200 ", "iterations: 201 "), encoding="utf-8")
    assert head_of(project, "mini").startswith("mini *, changed: 1 key ")
    params.write_text(text.replace("iterations: 200 ", "iterations: 201 ").replace("seed: 42", "seed: 43"), "utf-8")
    assert head_of(project, "mini").startswith("mini *, changed: 2 keys ")
    params.write_text(f"{text}# mine\n", encoding="utf-8")
    assert head_of(project, "mini").startswith("mini *, changed: only comments or the layout ")


def test_presets_names_the_nearest_one_of_an_experiment_of_your_own(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("experiment: mini ", "experiment: mine "), "utf-8")
    shown = gift(project, "presets").stdout
    assert "*" not in shown
    assert "an experiment of your own: the nearest preset is mini, from which 1 key differs." in shown


@pytest.mark.parametrize("text", [None, "tasks: [", "- 1\n"])
def test_presets_are_listed_without_a_readable_params_yaml(text: str | None, project: Path) -> None:
    params = project / "params.yaml"
    params.unlink()
    if text is not None:
        params.write_text(text)
    result = gift(project, "presets")
    assert (result.exit_code, "params.yaml is missing, or it cannot be read." in result.stdout) == (0, True)


def test_outside_of_a_project_presets_lists_and_use_says_where_to_run(tmp_path: Path) -> None:
    assert gift(tmp_path, "presets").exit_code == 0
    result = gift(tmp_path, "use", "mini")
    assert (result.exit_code, "Run in a project's root" in result.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []

"""`gift use` and `gift presets` as people meet them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from gift_core.config.overlays import complete_text
from tests.imports import ROOT
from tests.stages.experiment import invoke


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A root with the presets, and mini as its params.yaml."""
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    shutil.copy(ROOT / "presets" / "mini.yaml", tmp_path / "params.yaml")
    return tmp_path


def gift(project: Path, *words: str) -> Result:
    return invoke(*words, "--root", project)


def test_a_dry_run_shows_the_difference_and_writes_nothing(project: Path) -> None:
    (project / "params.yaml").write_text("experiment: mine\n", encoding="utf-8")
    result = gift(project, "use", "mtil_order_1", "--dry-run", "--diff")
    assert result.exit_code == 0
    assert "-experiment: mine" in result.stdout
    assert "nothing was written" in result.stdout
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "presets"]
    assert (project / "params.yaml").read_text(encoding="utf-8") == "experiment: mine\n"


def test_without_diff_it_prints_ten_lines_with_the_number_of_changes_and_what_comes_next(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    lines = gift(project, "use", "mtil_order_1").stdout.splitlines()
    assert len(lines) == 9  # with a backup, and with all that can come next
    assert lines[0].startswith("params.yaml is now the preset mtil_order_1: MTIL in order I, the paper's main")
    assert lines[1] == "  11 tasks x 1000 iterations; finetune, gift; needs hub, GPU, data"
    assert lines[2].startswith("  Time: ") and " from scratch (" in lines[2] and " on a GPU of 100 TFLOP/s" in lines[2]
    texts = (complete_text(ROOT / "presets" / f"{name}.yaml") for name in ("mini", "mtil_order_1"))
    before, after = (yaml.safe_load(text)["training"] for text in texts)
    assert f", {sum(before[key] != after[key] for key in after)} in training, " in lines[3]
    assert "Changed keys: 1 in experiment, 2 in model, " in lines[3]
    assert ", 11 in sequence. --diff prints them." in lines[3]
    assert [line.split("#")[0].strip() for line in lines[-3:]] == ["gift doctor", "gift data status", "dvc repro"]


def test_presets_lists_each_with_what_it_is_and_needs_and_marks_the_active_one(project: Path) -> None:
    lines = gift(project, "presets").stdout.splitlines()
    heads = {line.split()[0]: line for line in lines if " iterations; " in line}
    assert set(heads) == {path.stem for path in (ROOT / "presets").glob("*.yaml")}
    assert [name for name, line in heads.items() if line.split()[1] == "*"] == ["mini"]
    assert heads["mini"].endswith("6 tasks x 200 iterations; finetune, gift; needs nothing else")
    assert heads["mini_compare"].endswith("5 tasks x 100 iterations; 27 methods; needs nothing else")
    assert heads["mtil_order_1"].endswith("11 tasks x 1000 iterations; finetune, gift; needs hub, GPU, data")
    assert heads["bring_your_own"].endswith("no task yet, 1000 iterations; finetune, gift; needs hub, GPU, data")
    title = lines[lines.index(heads["mtil_order_1"]) + 1]
    assert title.strip().startswith("MTIL in order I, the paper's main benchmark")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("iterations: 200 ", "iterations: 201 "), ("seed: 42", "seed: 43")], "mini *, changed: 2 keys "),
        ([("seed: 42", "# mine\nseed: 42")], "mini *, changed: only comments or the layout "),
        ([("experiment: mini ", "experiment: mine ")], "the nearest preset is mini, from which 1 key differs."),
    ],
)
def test_presets_says_how_much_is_changed(project: Path, changes: list[tuple[str, str]], expected: str) -> None:
    params = project / "params.yaml"
    for old, new in changes:
        params.write_text(params.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert expected in gift(project, "presets").stdout


def test_without_a_readable_params_yaml_presets_are_listed_and_use_keeps_the_file(project: Path) -> None:
    (project / "params.yaml").write_text("tasks: [")
    listed = gift(project, "presets")
    assert (listed.exit_code, "params.yaml is missing, or it cannot be read." in listed.stdout) == (0, True)
    shown = gift(project, "use", "mini").stdout
    assert "It replaces all of params.yaml." in shown
    assert f"kept as {project / 'params.backup-1.yaml'}" in shown
    assert (project / "params.backup-1.yaml").read_text(encoding="utf-8") == "tasks: ["


def test_outside_of_a_project_presets_lists_and_use_says_where_to_run(tmp_path: Path) -> None:
    assert gift(tmp_path, "presets").exit_code == 0
    result = gift(tmp_path, "use", "mini")
    assert (result.exit_code, "Run in a project's root" in result.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []

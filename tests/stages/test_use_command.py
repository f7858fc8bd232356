"""`gift use` and `gift presets` as people meet them."""

from __future__ import annotations

from pathlib import Path

from typer.testing import Result

from tests.stages.experiment import invoke


def gift(mini_project: Path, *words: str) -> Result:
    return invoke(*words, "--root", mini_project)


def test_a_dry_run_shows_the_difference_and_writes_nothing(mini_project: Path) -> None:
    (mini_project / "params.yaml").write_text("experiment: mine\n", encoding="utf-8")
    result = gift(mini_project, "use", "mtil_order_1", "--dry-run", "--diff")
    assert result.exit_code == 0
    assert "-experiment: mine" in result.stdout
    assert "nothing was written" in result.stdout
    assert sorted(path.name for path in mini_project.iterdir()) == ["params.yaml", "presets"]
    assert (mini_project / "params.yaml").read_text(encoding="utf-8") == "experiment: mine\n"


def test_it_prints_what_the_preset_needs_and_what_comes_next(mini_project: Path) -> None:
    lines = gift(mini_project, "use", "mtil_order_1").stdout.splitlines()
    assert lines[0].startswith("params.yaml is now the preset mtil_order_1: MTIL in order I, the paper's main")
    assert lines[1] == "  11 tasks x 1000 iterations; finetune, gift; needs hub, GPU, data"
    assert lines[-1] == "Next: gift doctor, then gift data status, then dvc repro"


def test_without_a_readable_params_yaml_presets_are_listed_and_use_keeps_the_file(mini_project: Path) -> None:
    (mini_project / "params.yaml").write_text("tasks: [")
    listed = gift(mini_project, "presets")
    assert (listed.exit_code, "params.yaml is missing, or it cannot be read." in listed.stdout) == (0, True)
    assert f"kept as {mini_project / 'params.backup-1.yaml'}" in gift(mini_project, "use", "mini").stdout
    assert (mini_project / "params.backup-1.yaml").read_text(encoding="utf-8") == "tasks: ["

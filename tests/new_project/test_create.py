"""`gift init`: what a project has, what is kept of a folder, and that a refusal changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gift_core.layout import WATCHED, pipeline_root, shipped_files, shipped_root
from gift_core.new_project.create import project_pipeline
from tests.clone import Clone, commit, stages_in
from tests.datasets.folders import picture
from tests.imports import ROOT, first_params
from tests.stages.experiment import gift


@pytest.fixture(autouse=True, scope="module")
def plain_git() -> Iterator[None]:
    """git without the settings of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        yield


def git(folder: Path, *words: str) -> str:
    return Clone(folder).run("git", *words).strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a new folder below a new folder."""
    folder = tmp_path_factory.mktemp("projects") / "new" / "birds"
    assert f"cd {folder}" in gift("init", folder).output.replace("\n", "")
    return folder


def test_a_project_has_the_presets_the_models_and_the_skeleton_of_the_data(project: Path) -> None:
    for name in shipped_files():
        if name != "dvc.yaml":
            assert (project / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert {"presets/mini.yaml", "presets/mtil_order_1.yaml"} < set(shipped_files())
    assert (project / "params.yaml").read_text(encoding="utf-8") == first_params()
    assert (project / "requirements.txt").read_text(encoding="utf-8").startswith("gift-pipeline==")
    assert not (project / "gift_core").exists() and not (project / "stages").exists()
    assert (shipped_root(), pipeline_root(project), pipeline_root(project.parent)) == (ROOT, project, ROOT)


def test_it_is_a_repository_of_git_and_dvc_that_merges_dvc_lock(project: Path) -> None:
    assert git(project, "rev-parse", "--show-toplevel") == str(project.resolve())
    assert git(project, "branch", "--show-current") == "main"  # to which the workflow listens
    assert (project / ".dvc" / "plots" / "page.html").is_file()
    assert git(project, "config", "merge.dvc-lock.driver").endswith("merge-lock %O %A %B")
    assert git(project, "config", "merge.ours.driver") == "true"
    assert "merge: dvc-lock" in git(project, "check-attr", "merge", "dvc.lock")
    git(project, "add", "--all")
    staged = git(project, "diff", "--cached", "--name-only").splitlines()
    assert {"params.yaml", "dvc.yaml", "data/mini/clip/open_clip_model.safetensors", ".dvc/config"} <= set(staged)


def test_git_add_all_takes_no_weights_but_the_two_small_models(project: Path) -> None:
    """Wherever a command writes them. The .gitignore is the repository's."""
    mini = project / "data" / "mini" / "clip"
    gift("merge", mini, mini, "--alpha", "0.5", "--out", project / "merged")
    gift("export", mini, "--to", "safetensors", "--out", project / "mine")
    for name in ("image.onnx", "image.onnx.data"):
        (project / "mine" / name).touch()
    git(project, "add", "--all")
    staged = git(project, "ls-files").splitlines()
    assert "merged/open_clip_config.json" in staged
    weights = [name for name in staged if (project / name).stat().st_size > 1e6 or "onnx" in name]
    assert len(weights) > 1 and all(name.startswith("data/mini/") for name in weights)


def test_an_empty_project_has_the_settings_of_the_preset_and_its_next_steps_work_as_printed(tmp_path: Path) -> None:
    """Up to `dvc repro`, whose plan has the stages of one's own task alone."""
    for number in range(8):
        picture(tmp_path / "photos" / "garments" / ("hat", "shoe")[number % 2] / f"{number}.png", (number, 0, 0))
    output = gift("init", tmp_path / "birds: great", "--empty").output
    steps = "\n".join(line for line in output.splitlines() if line.startswith("  "))
    assert "add-task" in steps and steps.count("dvc repro && gift show") == 1
    steps = steps.replace("dvc repro && gift show", "dvc repro --dry --force")
    said = Clone(tmp_path).run("bash", "-ec", steps, HOME=str(tmp_path), PYTHONPATH=str(ROOT))
    learned = [name for name in stages_in(said) if name.startswith(("ingest", "probe", "finetune"))]
    assert learned == ["ingest@garments", "finetune@finetune-step0", "finetune@gift-step0"]
    params = yaml.safe_load((tmp_path / "birds: great" / "params.yaml").read_text(encoding="utf-8"))
    preset = yaml.safe_load(first_params())
    assert (params["experiment"], [*params["tasks"]], params["evaluation"]["probes"]) == (
        "birds: great",
        ["garments"],
        [],
    )
    assert all(params[key] == preset[key] for key in preset.keys() - {"experiment", "tasks", "sequence", "evaluation"})


def test_its_makefile_has_the_targets_that_messages_and_its_readme_name(project: Path) -> None:
    text = (project / "README.md").read_text(encoding="utf-8")
    targets = {line.split()[1] for line in Clone(project).run("make", "help").splitlines()}
    named_by_messages = {"setup", "repro", "plan", "show", "remote", "get", "share"}
    assert named_by_messages | set(re.findall(r"make ([a-z]+)`", text)) <= targets


def test_dvc_yaml_differs_from_the_repositorys_in_the_commands_and_in_check_alone() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    ours, theirs = yaml.safe_load(text), yaml.safe_load(project_pipeline(text))
    assert theirs["stages"]["check"].pop("always_changed") is True
    assert theirs["stages"]["check"].pop("deps") == ["params.yaml", *WATCHED]
    assert ours["stages"]["check"].pop("deps") == ["params.yaml", "gift_core", "stages", *WATCHED]
    for name, block in ours["stages"].items():
        body = block.get("do", block)
        assert body["cmd"].startswith(f"python -m stages {name}")
        body["cmd"] = body["cmd"].replace("python -m stages", "gift")
    assert theirs == ours


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit, a merge driver of its own, and files that a project would have, too."""
    folder = tmp_path / "repository"
    (folder / "team").mkdir(parents=True)
    git(folder, "init", "--quiet")
    git(folder, "config", "merge.ours.driver", "their-own")
    (folder / "team" / "README.md").write_text("Ours\n", encoding="utf-8")
    (folder / "team" / ".gitignore").write_text("*.secret", encoding="utf-8")
    commit(Clone(folder), "first")
    return folder


def test_a_folder_of_a_repository_becomes_a_project_and_keeps_its_files(repository: Path) -> None:
    said = gift("init", repository / "team").output
    assert "README.md is yours and stays as it is" in " ".join(said.split())
    assert not (repository / "team" / ".git").exists()
    assert (repository / "team" / "README.md").read_text(encoding="utf-8") == "Ours\n"
    ignored = (repository / "team" / ".gitignore").read_text(encoding="utf-8")
    assert ignored.startswith("*.secret\n") and "/data/5_models/" in ignored
    assert git(repository, "config", "merge.ours.driver") == "their-own"
    assert Clone(repository / "team").run("dvc", "root") == ".\n"


@pytest.mark.parametrize(
    ("folder", "options", "expected"),
    [
        (".", ["--preset", "mini_quik"], "--preset: unknown name 'mini_quik'. Did you mean 'mini_quick'?"),
        (".", ["--preset", "methods"], "--preset: unknown name 'methods'."),  # the catalogue
        ("notes.txt", [], "notes.txt: is a file. Name a new folder."),
        ("{a}", [], "DVC fails in a path with { or }"),
    ],
)
def test_a_wrong_call_writes_nothing(tmp_path: Path, folder: str, options: list[str], expected: str) -> None:
    (tmp_path / "notes.txt").touch()
    assert expected in " ".join(gift("init", tmp_path / folder, *options, expect=1).output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

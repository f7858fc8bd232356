"""`gift verify` on a small run under real DVC, with a clone and a folder as the remote; and what the stages refuse."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from typer.testing import CliRunner, Result

from gift_core.config.loading import load_config
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.verification import artifacts_of, problem_of
from stages.app import app
from stages.dvc_store import DvcStore, is_below, listed_files
from stages.replay_source import replay_of
from stages.stage import Stage
from tests.artifacts.damage import flip
from tests.imports import ROOT
from tests.stages.test_stages import TASKS, tiny

ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "GIT_CONFIG_GLOBAL": os.devnull,
    "DVC_NO_ANALYTICS": "1", "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org", "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.org",
}  # fmt: skip
WEIGHTS = "open_clip_model.safetensors"
OUTPUTS = ("data/1_tasks", "data/2_prompts", "data/3_shards", "data/4_teachers", "data/5_models", "data/6_accuracy",
           "data/6_predictions")  # fmt: skip


class Project:
    """A copy of the project's pipeline in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    def shell(self, *command: str, expect: int = 0) -> str:
        done = subprocess.run(command, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        assert done.returncode == expect, f"{' '.join(command)} -> {done.returncode}\n{output[-4000:]}"
        return output

    def gift(self, *command: str) -> Result:
        options = ["--params", str(self / "params.yaml"), "--root", str(self.folder)]
        return CliRunner().invoke(app, [*command, *options])

    def succeed(self, *command: str) -> str:
        done = self.gift(*command)
        assert done.exit_code == 0, f"{command}: {done.output}\n{done.exception!r}"
        return done.output

    def fail(self, *command: str) -> str:
        done = self.gift(*command)
        assert done.exit_code == 1, f"{command}: {done.output}\n{done.exception!r}"
        assert "Traceback" not in done.output
        return done.output

    def contents(self) -> dict[str, bytes]:
        """The bytes of every output."""
        files = [file for name in OUTPUTS for file in sorted((self / name).rglob("*")) if file.is_file()]
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}


def pipeline(folder: Path, params: dict[str, Any]) -> None:
    """The files of the repository that dvc.yaml names, with params.yaml of a tiny experiment."""
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "gift_core", "stages", "data/mini"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    for name in ("models", "generators", "prompts", "reference"):
        (folder / "data/0_raw" / name).mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any]) -> Project:
    """Every stage has run, DVC has recorded the outputs, and they are pushed to the folder `remote` beside it."""
    params = tiny(yaml.safe_load(yaml.safe_dump(_mini_params)), ROOT)
    project = Project(tmp_path_factory.mktemp("verify") / "gift")
    pipeline(project.folder, params)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        project.shell(*command)
    for stage in ("check", "import_model", "write_vocabulary"):
        project.succeed(stage)
    for task in TASKS:
        for command in (["ingest"], ["write_prompts"], ["synthesize"]):
            project.succeed(*command, task)
        for method in ("finetune", "gift"):
            for stage in ("teach", "finetune", "evaluate"):
                project.succeed(stage, method, task)
    project.succeed("report")
    project.shell("dvc", "commit", "--force", "--quiet")
    project.shell("dvc", "remote", "add", "--quiet", "--default", "store", str(project.folder.parent / "remote"))
    project.shell("dvc", "remote", "modify", "store", "verify", "true")
    project.shell("git", "add", "--all")
    project.shell("git", "commit", "--quiet", "--message", "the first result")
    project.shell("dvc", "push", "--quiet")
    return project


@pytest.fixture(autouse=True)
def unchanged(project: Project) -> Iterator[None]:
    """Every test leaves the outputs as it found them."""
    before = project.contents()
    yield
    assert project.contents() == before


def object_of(root: Path, project: Project, file: str) -> Path:
    """The object of an output's file in a cache or remote."""
    digest = hashlib.md5((project / file).read_bytes()).hexdigest()
    return root / "files" / "md5" / digest[:2] / digest[2:]


def test_a_whole_store_gives_one_line_and_verbose_one_for_each_artifact(project: Project) -> None:
    (line,) = project.gift("verify").stdout.splitlines()
    output = project.succeed("verify", "-v")
    assert output.splitlines()[-1] == line
    listed = {
        os.path.relpath(line.split()[1], project.folder) for line in output.splitlines() if line.startswith("ok ")
    }
    for task in TASKS:
        assert {f"data/1_tasks/{task}", f"data/2_prompts/{task}.parquet", f"data/3_shards/{task}"} <= listed
        for method in ("finetune", "gift"):
            assert {f"data/{kind}/{method}/{task}" for kind in ("4_teachers", "5_models")} <= listed
            assert {f"data/6_{kind}/{method}/{task}.parquet" for kind in ("accuracy", "predictions")} <= listed
    assert {"data/5_models/pretrained", "reports/metrics.json", "reports/index.html", "data/code/teach"} <= listed
    assert "0 missing, 0 broken" in output


FILES = [
    "data/1_tasks/games/train-00000.tar",
    "data/1_tasks/games/task.json",
    "data/2_prompts/arrows.parquet",
    "data/2_prompts/vocabularies/games.json",
    "data/3_shards/arrows/00000.tar",
    "data/3_shards/arrows/00001.parquet",
    "data/3_shards/arrows/00001_stats.json",
    "data/4_teachers/gift/arrows/features.parquet",
    f"data/5_models/gift/games/{WEIGHTS}",
    "data/5_models/gift/games/losses.jsonl",
    f"data/5_models/pretrained/{WEIGHTS}",
    "data/6_accuracy/gift/arrows.parquet",
    "data/6_predictions/gift/arrows.parquet",
]


def test_a_flipped_bit_in_any_file_is_found_and_healed(project: Project) -> None:
    """The files keep size and time, so that DVC itself says that nothing has changed."""
    for file in FILES:
        flip(project / file, (project / file).stat().st_size // 2)
    output = project.fail("verify")
    for file in FILES:
        assert f"{Path(file).name} is not the file that dvc.lock records" in output, file
    assert "restore them with gift verify --heal" in output
    assert "0 missing, 0 broken" in project.succeed("verify", "--heal")


def test_a_broken_object_in_the_cache_is_restored_from_the_workspace(project: Project) -> None:
    file = f"data/5_models/gift/arrows/{WEIGHTS}"
    stored = object_of(project / ".dvc/cache", project, file)
    flip(stored, 1000)
    assert f"the cache has other bytes under {stored.parent.name}{stored.name}" in project.fail("verify")
    project.succeed("verify", "--heal")
    assert stored.read_bytes() == (project / file).read_bytes()


def test_a_broken_listing_in_the_cache_is_restored(project: Project) -> None:
    folder = project / "data/5_models/gift/arrows"
    store = DvcStore(project.folder)
    (listing,) = (output.listing for output in store.outputs() if output.path == folder)
    stored = project / f".dvc/cache/files/md5/{listing[:2]}/{listing[2:]}"
    good = stored.read_bytes()
    for has_remote in (True, False):
        with patch.object(DvcStore, "has_remote", has_remote):
            flip(stored, 10)
            assert f"the cache has other bytes under {listing}" in project.fail("verify")
            project.succeed("verify", "--heal")
            assert stored.read_bytes() == good


def test_where_no_copy_is_whole_dvc_finds_the_output_missing(project: Project) -> None:
    file = "data/3_shards/games/00000.tar"
    stored, good = object_of(project / ".dvc/cache", project, file), (project / file).read_bytes()
    flip(project / file, 1000)
    flip(stored, 1000)
    assert project.shell("dvc", "status", "synthesize@0").strip() == "Data and pipelines are up to date."
    with patch.object(DvcStore, "has_remote", False):
        assert "dvc repro --force --single-item synthesize@0" in project.fail("verify", "--heal")
    assert not (project / file).exists()
    assert not stored.exists()
    assert "changed outs" in project.shell("dvc", "status", "synthesize@0")
    (project / file).write_bytes(good)
    stored.write_bytes(good)
    project.succeed("verify")


def test_where_workspace_and_cache_are_broken_the_remote_helps(project: Project) -> None:
    file = "data/3_shards/games/00000.tar"
    stored, good = object_of(project / ".dvc/cache", project, file), (project / file).read_bytes()
    flip(project / file, 1000)
    flip(stored, 1000)
    project.fail("verify")
    project.succeed("verify", "--heal")
    assert stored.read_bytes() == good


def swap(project: Project, first: str, second: str) -> None:
    aside = project / "aside"
    (project / first).rename(aside)
    (project / second).rename(project / first)
    aside.rename(project / second)


ACCURACY = "data/6_accuracy/{}/games.parquet"
PREDICTIONS = "data/6_predictions/{}/games.parquet"
SWAPS = [
    ("data/1_tasks/games", "data/1_tasks/arrows", ["finetune", "gift", "games"], "it should be of task 'games'"),
    ("data/2_prompts/games.parquet", "data/2_prompts/arrows.parquet", ["synthesize", "games"], "of task 'games'"),
    ("data/3_shards/games", "data/3_shards/arrows", ["finetune", "gift", "games"], "shards should have sha256"),
    ("data/4_teachers/gift/games", "data/4_teachers/gift/arrows", ["finetune", "gift", "games"], "of another model"),
    ("data/4_teachers/gift/games", "data/4_teachers/finetune/games", ["finetune", "gift", "games"], "be for replay"),
    ("data/5_models/gift/games", "data/5_models/finetune/games", ["finetune", "gift", "arrows"], "of method 'gift'"),
    ("data/5_models/gift/games", "data/5_models/gift/arrows", ["evaluate", "gift", "games"], "after task 'games'"),
    (ACCURACY.format("gift"), ACCURACY.format("finetune"), ["evaluate", "gift", "arrows"], "games by gift"),
    (PREDICTIONS.format("gift"), PREDICTIONS.format("finetune"), ["report"], "games by gift"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "stage", "expected"), SWAPS, ids=[f"{a} {b}" for a, b, _, _ in SWAPS])
def test_swapped_artifacts_are_refused_by_name(
    project: Project, first: str, second: str, stage: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They say themselves what they are, also where dvc.lock does not know of them."""
    monkeypatch.setattr("stages.recorded.require_recorded", lambda *names: None)
    swap(project, first, second)
    try:
        output = project.fail(*stage)
        assert expected in output
        assert "Recreate it with: dvc repro" in output
    finally:
        swap(project, first, second)


def test_verify_knows_what_belongs_together_without_dvc(project: Project) -> None:
    """Each artifact by itself is whole, and so says DVC after `dvc commit`."""
    stage = Stage("verify", "", load_config(project / "params.yaml"), Layout(project.folder))
    artifacts = {
        artifact.path.relative_to(project.folder).as_posix(): artifact
        for artifact in artifacts_of(stage.layout, stage.config, lambda *names: replay_of(stage, *names))
    }
    assert [path for path, artifact in artifacts.items() if artifact.missing or problem_of(artifact)] == []
    for first, second, _, _ in SWAPS:
        swap(project, first, second)
        found = [problem_of(artifacts[path]) for path in (first, second)]
        swap(project, first, second)
        assert all(found), (first, second, found)
    metrics = project / "reports/metrics.json"
    text = metrics.read_text()
    metrics.write_text(re.sub(r'"avg": [0-9.]+', '"avg": 1.0', text, count=1))
    found = problem_of(artifacts["reports/metrics.json"])
    metrics.write_text(text)
    assert "the accuracies give other numbers for" in found


@pytest.mark.parametrize(
    ("stage", "model"),
    [
        (["finetune", "gift", "arrows"], "gift/games"),
        (["teach", "gift", "arrows"], "gift/games"),
        (["evaluate", "gift", "arrows"], "gift/arrows"),
        (["evaluate", "gift", "arrows"], "pretrained"),
    ],
)
def test_a_flipped_bit_of_a_weight_is_refused_by_every_stage(project: Project, stage: list[str], model: str) -> None:
    file = project / f"data/5_models/{model}/{WEIGHTS}"
    flip(file)
    try:
        output = project.fail(*stage)
        assert f"{file}: its sha256 should be" in output
    finally:
        flip(file)


def test_a_healed_remote_gives_another_clone_the_good_bytes(project: Project, tmp_path: Path) -> None:
    remote, file = project.folder.parent / "remote", f"data/5_models/gift/games/{WEIGHTS}"
    stored = object_of(remote, project, file)
    flip(stored, 1000)
    stored.chmod(0o444)
    subprocess.run(["git", "clone", "-q", str(project.folder), str(tmp_path / "clone")], check=True, env=ENVIRONMENT)
    clone = Project(tmp_path / "clone")
    clone.shell("dvc", "pull", "--quiet", expect=1)
    assert not (clone / file).exists()
    assert project.shell("dvc", "push").strip() == "Everything is up to date."
    assert f"on the remote: {stored.parent.name}{stored.name}" in clone.fail("verify", "--remote")
    assert "Next, here: dvc push" in project.succeed("verify", "--remote", "--heal")
    assert not stored.exists()
    project.shell("dvc", "push", "--quiet")
    clone.shell("dvc", "pull", "--quiet")
    assert clone.contents() == project.contents()
    assert "0 broken" in clone.succeed("verify", "--remote")


def test_a_clone_without_data_has_nothing_broken(project: Project, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(project.folder), str(tmp_path / "clone")], check=True, env=ENVIRONMENT)
    output = Project(tmp_path / "clone").succeed("verify")
    assert "0 broken" in output
    assert "missing: get them with dvc pull" in output


MD5 = hashlib.md5(b"evil").hexdigest()


def hostile_entry(name: object, md5: str = MD5) -> dict[str, object]:
    return {"relpath": name, "md5": md5}


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ([hostile_entry("../victim.txt")], "'../victim.txt' is no path of a file in this folder"),
        ([hostile_entry("/tmp/victim.txt")], "'/tmp/victim.txt' is no path"),
        ([hostile_entry("")], "'' is no path"),
        ([hostile_entry("a/./b")], "'a/./b' is no path"),
        ([hostile_entry(7)], "7 is no path"),
        ({"a": 1}, "None is no path"),
        ([hostile_entry("a"), hostile_entry("a")], "it has 'a' twice"),
        ([hostile_entry("a", "../victim.txt")], "'a' has the hash '../victim.txt', which is no MD5"),
    ],
)
def test_a_listing_that_dvc_did_not_write_is_refused(tmp_path: Path, listing: object, expected: str) -> None:
    (tmp_path / "a.dir").write_text(json.dumps(listing))
    with pytest.raises(UserError, match=f"a.dir: this is DVC's listing of folder, but {re.escape(expected)}"):
        listed_files(Path("folder"), tmp_path / "a.dir")


@pytest.mark.parametrize("name", ["..\\victim.txt", "C:victim.txt"])
def test_a_listing_has_no_paths_of_windows_there(name: str) -> None:
    assert not is_below(name, windows=True)
    assert is_below(name, windows=False)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "'../../victim.txt' is no path of a file in this folder"),
        ({"md5": "../../../../../victim.txt"}, "its recorded hash '../../../../../victim.txt' is no MD5"),
        ({"path": "../victim.txt", "md5": MD5}, "folder.dvc is outside the project"),
    ],
)
def test_heal_touches_nothing_outside_the_project(tmp_path: Path, changed: dict[str, str], expected: str) -> None:
    own, victim = Project(tmp_path / "own"), tmp_path / "victim.txt"
    own.folder.mkdir()
    shutil.copy(ROOT / "presets" / "mini.yaml", own / "params.yaml")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        own.shell(*command)
    victim.write_text("precious")
    listing = json.dumps([hostile_entry("../../victim.txt")]).encode()
    for content, suffix in ((b"evil", ""), (listing, ".dir")):
        oid = hashlib.md5(content).hexdigest() + suffix
        stored = own / f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(content)
    (own / "folder").mkdir()
    out = {"md5": oid, "hash": "md5", "path": "folder", **changed}
    (own / "folder.dvc").write_text(yaml.safe_dump({"outs": [out]}))
    assert expected in own.fail("verify", "--heal")
    assert victim.read_text() == "precious"

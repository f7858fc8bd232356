"""`gift verify` on a small run under real DVC, with a clone and a folder as the remote; and what the stages refuse."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.artifacts.damage import flip
from tests.clone import TASKS, Clone, copy_of
from tests.imports import ROOT
from tests.stages.experiment import Commands

pytestmark = pytest.mark.end_to_end
FIRST, SECOND = TASKS
WEIGHTS = "open_clip_model.safetensors"


class Project(Commands, Clone):
    """A clone of the project, and the commands of gift on it in this process."""

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    def contents(self) -> dict[str, bytes]:
        return {name: (self / name).read_bytes() for name in self.outputs()}


@pytest.fixture(scope="module")
def project(first_result: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished small experiment, whose outputs are pushed to the folder `remote` beside it."""
    project = Project(copy_of(first_result / "gift", tmp_path_factory.mktemp("verify") / "gift").folder)
    shutil.rmtree(project / ".dvc/cache/files")
    project.run("dvc", "commit", "--force", "--quiet")  # DVC notes the times of the copied files and of the cache's
    project.run("dvc", "remote", "add", "--quiet", "--default", "store", str(project.folder.parent / "remote"))
    project.run("dvc", "remote", "modify", "store", "verify", "true")
    project.run("git", "commit", "--quiet", "--all", "--message", "a remote")
    project.run("dvc", "push", "--quiet")
    return project


@pytest.fixture(autouse=True)
def unchanged(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test leaves the outputs as it found them. DVC reads params.yaml of the working folder, too."""
    monkeypatch.chdir(project.folder)
    before = project.contents()
    yield
    assert project.contents() == before


def object_of(root: Path, project: Project, file: str) -> Path:
    """The object of an output's file in a cache or remote."""
    digest = hashlib.md5((project / file).read_bytes()).hexdigest()
    return root / "files" / "md5" / digest[:2] / digest[2:]


def test_a_whole_store_gives_one_line_and_verbose_one_for_each_artifact(project: Project) -> None:
    (line,) = project.gift("verify").stdout.splitlines()
    lines = [each.split() for each in project.succeed("verify", "-v").splitlines() if each.startswith("ok ")]
    listed = {os.path.relpath(path, project.folder) for _, path, *_ in lines}
    for task in TASKS:
        assert {f"data/1_tasks/{task}", f"data/2_prompts/{task}.parquet", f"data/3_shards/{task}"} <= listed
        for method in ("finetune", "gift"):
            assert {f"data/{kind}/{method}/{task}" for kind in ("4_teachers", "5_models", "6_released")} <= listed
            assert {f"data/6_{kind}/{method}/{task}.parquet" for kind in ("accuracy", "predictions")} <= listed
    assert {"data/5_models/pretrained", "reports/metrics.json", "reports/index.html", "data/code/teach"} <= listed
    assert "0 missing, 0 broken" in line
    remote, away = (project.folder.with_name(name) for name in ("remote", "away"))
    remote.rename(away)
    assert f"nothing was read. The remote: store: there is nothing at {remote}" in project.fail("verify", "--remote")
    away.rename(remote)


FILES = [
    f"data/1_tasks/{FIRST}/train-00000.tar", f"data/1_tasks/{FIRST}/task.json", f"data/2_prompts/{SECOND}.parquet",
    f"data/2_prompts/vocabularies/{FIRST}.json", f"data/3_shards/{SECOND}/00000.tar",
    f"data/3_shards/{SECOND}/00001_stats.json", f"data/4_teachers/gift/{SECOND}/features.parquet",
    f"data/5_models/gift/{FIRST}/{WEIGHTS}", f"data/5_models/gift/{FIRST}/losses.jsonl",
    f"data/5_models/pretrained/{WEIGHTS}", f"data/6_accuracy/gift/{SECOND}.parquet",
    f"data/6_predictions/gift/{SECOND}.parquet", f"data/6_released/gift/{FIRST}/{WEIGHTS}",
]  # fmt: skip


def test_a_flipped_bit_in_any_file_is_found_and_healed(project: Project) -> None:
    """The files keep size and time, so that DVC itself says that nothing has changed."""
    for file in FILES:
        flip(project / file, (project / file).stat().st_size // 2)
    output = project.fail("verify")
    for file in FILES:
        assert f"{Path(file).name} is not the file that dvc.lock records" in output, file
    assert "restore them with gift verify --heal" in output
    assert "0 missing, 0 broken" in project.succeed("verify", "--heal")


def test_a_broken_object_in_the_cache_is_restored_from_the_workspace_or_the_remote(project: Project) -> None:
    file = f"data/5_models/gift/{SECOND}/{WEIGHTS}"
    stored, good = object_of(project / ".dvc/cache", project, file), (project / file).read_bytes()
    for broken in ([stored], [stored, project / file]):
        for each in broken:
            flip(each, 1000)
        assert f"the cache has other bytes under {stored.parent.name}{stored.name}" in project.fail("verify")
        project.succeed("verify", "--heal")
        assert stored.read_bytes() == (project / file).read_bytes() == good


def test_where_no_copy_is_whole_dvc_finds_the_output_missing(project: Project) -> None:
    file = f"data/3_shards/{FIRST}/00000.tar"
    stored, good = object_of(project / ".dvc/cache", project, file), (project / file).read_bytes()
    flip(project / file, 1000)
    flip(stored, 1000)
    assert project.run("dvc", "status", "synthesize@0").strip() == "Data and pipelines are up to date."
    remote, away = (project.folder.with_name(name) for name in ("remote", "away"))
    remote.rename(away)
    output = project.fail("verify", "--heal")
    assert f"no copy is whole. The remote was not read: store: there is nothing at {remote}" in output
    assert "Make them again: dvc repro --force --single-item synthesize@0" in output
    away.rename(remote)
    assert not (project / file).exists() and not stored.exists()
    assert "changed outs" in project.run("dvc", "status", "synthesize@0")
    (project / file).write_bytes(good)
    stored.write_bytes(good)
    project.succeed("verify")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "'../../victim.txt' is no path of a file in this folder"),
        ({"md5": "../../../../../victim.txt"}, "its recorded hash '../../../../../victim.txt' is no MD5"),
        ({"path": "../victim.txt", "md5": hashlib.md5(b"evil").hexdigest()}, "folder.dvc is outside the project"),
    ],
)
def test_heal_touches_nothing_outside_the_project(tmp_path: Path, changed: dict[str, str], expected: str) -> None:
    own, victim = Project(tmp_path / "own"), tmp_path / "victim.txt"
    own.folder.mkdir()
    shutil.copy(ROOT / "presets" / "mini.yaml", own / "params.yaml")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        own.run(*command)
    victim.write_text("precious")
    listing = json.dumps([{"relpath": "../../victim.txt", "md5": hashlib.md5(b"evil").hexdigest()}]).encode()
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

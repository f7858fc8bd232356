"""Each private part of DVC is what stages/dvc/private_dvc.py says: a test that fails here names what DVC changed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from dvc.exceptions import UploadError
from dvc.repo import Repo, lock_repo

from stages.dvc import private_dvc
from tests.imports import ROOT, imported_modules

NOT_PRIVATE = {"dvc.config.Config", "dvc.exceptions.DvcException", "dvc.repo.Repo", "dvc.repo.lock_repo"}
STAGES = {
    "first": {"cmd": ["echo its > a", "echo > b"], "params": ["seed"], "outs": ["a", "b"]},
    "last": {"cmd": "cat a > c", "deps": ["a"], "outs": ["c"]},
}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project with two stages, and a folder as its remote."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}), encoding="utf-8")
    Path("params.yaml").write_text("seed: 3\n", encoding="utf-8")
    with Repo.init(no_scm=True).config.edit() as config:
        config["core"]["remote"] = "store"
        config["remote"]["store"] = {"url": str(tmp_path / "store")}
    with Repo() as project:
        yield project


def reproduced(repo: Any) -> Any:
    repo.reproduce()
    return Repo()


def test_no_other_module_imports_a_private_part_of_dvc() -> None:
    allowed = NOT_PRIVATE | {name.rpartition(".")[0] for name in NOT_PRIVATE}
    files = [file for package in ("gift_core", "stages") for file in (ROOT / package).rglob("*.py")]
    imports = [(file.name, module) for file in files for module in imported_modules(file) - allowed]
    libraries = ("dvc", "dvc_data", "dvc_objects", "fsspec")
    assert {name for name, module in imports if module.partition(".")[0] in libraries} == {"private_dvc.py"}


@pytest.mark.parametrize("targets", [[], ["last"]])
def test_the_plan_has_all_stages_behind_those_that_they_need(repo: Any, targets: list[str]) -> None:
    plan = private_dvc.planned(repo, targets)
    assert {stage.name: [each.name for each in before] for stage, before in plan.items()} == {
        "first": [],
        "last": ["first"],
    }


def test_a_stage_runs_its_lines_in_the_shell_of_the_user(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")
    (stage,) = repo.stage.collect("last")
    shell = ("/bin/bash", "--noprofile", "--norc", "-c")
    variables = {"DVC_ROOT": repo.root_dir, "DVC_STAGE": "last"}
    assert private_dvc.processes_of(stage) == (((*shell, "cat a > c"),), repo.root_dir, variables)
    assert len(private_dvc.processes_of(repo.stage.collect("first")[0])[0]) == 2


def test_a_stage_is_restored_from_a_former_run_alone(repo: Any) -> None:
    (stage,) = repo.stage.collect("last")
    Path("a").write_text("by hand\n", encoding="utf-8")
    assert not private_dvc.restored(stage)
    Path("a").unlink()
    done = reproduced(repo)
    for file in ("c", "dvc.lock"):
        Path(file).unlink()
    with lock_repo(done):
        assert private_dvc.restored(done.stage.collect("last")[0])
    assert Path("c").read_text(encoding="utf-8") == "its\n"


def test_entries_are_those_that_dvc_writes(repo: Any) -> None:
    done = reproduced(repo)
    stages, lock = [*private_dvc.planned(done, [])], Path("dvc.lock").read_bytes()
    Path("dvc.lock").unlink()
    private_dvc.write_entries(Path("dvc.lock"), stages[::-1], ["last"])
    assert Path("dvc.lock").read_bytes() == lock


def test_params_are_told_from_files_and_read_with_their_types(repo: Any) -> None:
    first, last = private_dvc.planned(repo, [])
    (dep,) = private_dvc.params_of(first)
    assert (private_dvc.read_params(dep), private_dvc.params_of(last)) == ({"seed": 3}, [])


def test_a_running_stage_is_in_the_list_of_dvc(repo: Any) -> None:
    stages = {"slow": {"cmd": "cp .dvc/tmp/rwlock seen", "outs": ["seen"]}}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    reproduced(repo)
    ((process, command),) = private_dvc.running_stages(Path("seen"))
    assert process == os.getpid() and command
    assert private_dvc.running_stages(Path("none")) == []


def runs_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder, "runs").rglob("*") if path.is_file())


def test_the_run_cache_is_copied_both_ways(repo: Any) -> None:
    done = reproduced(repo)
    runs = runs_in(".dvc/cache")
    private_dvc.copy_run_cache(done, from_remote=False, jobs=2)
    shutil.rmtree(".dvc/cache/runs")
    private_dvc.copy_run_cache(done, from_remote=True, jobs=2)
    assert len(runs) == 2 and runs_in("store") == runs_in(".dvc/cache") == runs


def test_a_transfer_that_fails_is_logged_with_its_error(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done, refused = reproduced(repo), OSError("refused")
    monkeypatch.setattr(type(done.cloud.get_remote_odb().fs), "put_file", Mock(side_effect=refused))
    with private_dvc.logged_failures() as failures, suppress(UploadError):
        done.push()
    assert set(failures) == {refused}

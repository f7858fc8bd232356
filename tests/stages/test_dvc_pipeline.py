"""When `gift run` writes dvc.lock, with a real DVC project."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from gift_core.errors import UserError
from stages.dvc.pipeline import DvcPipeline, Verdict, open_pipeline, require_free

NAMES = ("first", "second", "third")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    stages = {
        name: {"cmd": f"echo {name} > {name}.txt", "params": ["values"], "outs": [f"{name}.txt"]} for name in NAMES
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (tmp_path / "params.yaml").write_text("values: [1, 2]\n")
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
    return tmp_path


def run(pipeline: DvcPipeline, name: str) -> None:
    assert pipeline.begin(name, force=False) is Verdict.RUN
    subprocess.run(pipeline.command(name), shell=True, check=True)
    pipeline.record(name)


def test_an_error_while_writing_leaves_dvc_lock_as_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_written(path: Path, content: object, **options: object) -> None:
        path.write_text("sche")
        raise KeyboardInterrupt

    with open_pipeline(project, []) as pipeline:
        run(pipeline, "first")
        pipeline.write_lock(now=True)
        before = Path("dvc.lock").read_bytes()
        run(pipeline, "second")
        with monkeypatch.context() as failing, pytest.raises(KeyboardInterrupt):
            failing.setattr("dvc.utils.serialize._common._dump_data", half_written)
            pipeline.write_lock(now=True)
    assert Path("dvc.lock").read_bytes() == before
    assert not list(project.glob(".dvc.lock.*"))


def test_a_later_process_with_the_number_of_a_killed_one_does_not_block(project: Path) -> None:
    left_over = project / ".dvc" / "tmp" / "rwlock"
    left_over.write_text(json.dumps({"write": {"first.txt": {"pid": os.getpid(), "cmd": "dvc repro"}}}))
    with pytest.raises(
        UserError, match=rf"another process works on this project: `dvc repro` \(process {os.getpid()}\)"
    ):
        require_free(project)
    os.utime(left_over, (0, 0))
    require_free(project)


@pytest.mark.parametrize("content", ["", '{"write": {"fir'])
def test_a_list_of_running_stages_that_ctrl_c_damaged_is_removed(
    project: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    damaged = project / ".dvc" / "tmp" / "rwlock"
    damaged.write_text(content)
    assert subprocess.run(["dvc", "repro", "--quiet"]).returncode != 0
    require_free(project)
    assert "DVC's list of running stages, .dvc/tmp/rwlock, was damaged" in capsys.readouterr().err
    subprocess.run(["dvc", "repro", "--quiet"], check=True)

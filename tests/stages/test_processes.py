"""The stage finetune with training.processes as a real command: the processes end with the stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gift_core.artifacts.model_folder import read_provenance
from stages.teach import teach
from tests.imports import ROOT
from tests.stages.toy_pipeline import wait
from tests.tiny_world import TinyExperiment, make_world

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs the signals of Linux and macOS")
SECONDS = 180  # for a busy machine
FOREVER = 1_000_000  # iterations


def project(folder: Path, params: dict[str, Any], iterations: int = 4) -> TinyExperiment:
    """A step of gift that is ready to be trained in two processes."""
    params["training"] |= {"processes": 2}
    folder.mkdir()
    row = params["methods"]["gift"] | {"release": {"kind": "interpolate", "alpha": 0.7}}
    experiment = TinyExperiment(make_world(folder), params, "gift", row, iterations=iterations)
    teach("gift", "digits", params=experiment.params, root=folder)
    return experiment


def command(experiment: TinyExperiment, *options: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """The stage as DVC runs it, in a process group of its own, as a terminal starts it."""
    root = experiment.layout.root
    return subprocess.Popen(
        [*before, sys.executable, "-m", "stages", "finetune", "gift", "digits", *options,
         "--params", str(experiment.params), "--root", str(root)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def processes_of(stage: subprocess.Popen[str], folder: Path) -> list[psutil.Process]:
    """The processes of the training, as soon as one has loaded everything."""
    wait(lambda: stage.poll() is not None or list(folder.glob("gift-*/store")), "a process")
    children = psutil.Process(stage.pid).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


@pytest.mark.parametrize(("end", "code", "said"), [("Ctrl-C", 130, "interrupted. Run it again.\n"), ("kill", -9, "")])
def test_whatever_ends_the_stage_ends_its_processes(
    tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch, end: str, code: int, said: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    stage = command(project(tmp_path / "project", mini_params, iterations=FOREVER))
    others = processes_of(stage, tmp_path)
    assert len(others) == 2
    time.sleep(2)  # they train
    if end == "Ctrl-C":
        os.killpg(stage.pid, signal.SIGINT)
    else:
        stage.kill()
    printed, _ = stage.communicate(timeout=SECONDS)
    assert (stage.returncode, printed) == (code, said)
    assert not psutil.wait_procs(others, timeout=SECONDS)[1]
    assert not (tmp_path / "project" / "data" / "5_models" / "gift" / "digits").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux only")
def test_a_stage_in_the_fork_server_starts_its_processes(tmp_path: Path, mini_params: dict[str, Any]) -> None:
    experiment = project(tmp_path / "project", mini_params)
    stage = command(experiment, before=(sys.executable, "-m", "stages.dvc.fork_server"))
    printed, _ = stage.communicate(timeout=SECONDS)
    assert stage.returncode == 0, printed
    assert printed.startswith("finetune@gift-digits: 2 classes, 4 iterations; losses: task ")
    assert printed.count("\n") == 1
    made = read_provenance(experiment.layout.model("gift", "digits"))
    assert made["environment"]["processes"] == 2
    assert "release" not in {*made, *made["settings"]}  # what is trained does not depend on it

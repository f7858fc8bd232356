"""The stages teach and finetune with every setting that saves memory, and with training.processes as real commands.

The other processes of a training end with the stage.
"""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from gift_core.artifacts.model_folder import read_losses, read_provenance
from gift_core.clip.model import Clip
from stages.teach import teach
from tests.imports import ROOT
from tests.tiny_world import TinyExperiment, make_world

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs the signals of Linux and macOS")
SECONDS = 180  # for a busy machine
FOREVER = 1_000_000  # iterations


def project(folder: Path, params: dict[str, Any], **training: Any) -> TinyExperiment:
    """A step of gift that is ready to be trained in two processes."""
    params["training"] |= {"processes": 2}
    folder.mkdir()
    experiment = TinyExperiment(make_world(folder), params, "gift", params["methods"]["gift"], iterations=4)
    written = yaml.safe_load(experiment.params.read_text())
    written["training"] |= training
    experiment.params.write_text(yaml.safe_dump(written, sort_keys=False))
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


def other_process(stage: subprocess.Popen[str]) -> psutil.Process:
    """The other process of the training, as soon as it is ready for signals: its output goes to a file."""
    started = time.monotonic()
    while time.monotonic() - started < SECONDS and stage.poll() is None:
        for child in psutil.Process(stage.pid).children():
            if any(file.path.endswith("1.log") for file in child.open_files()):
                return child
        time.sleep(0.1)
    raise AssertionError(f"no other process was started: {stage.communicate()[0]}")


def to_all(stage: subprocess.Popen[str]) -> None:
    os.killpg(stage.pid, signal.SIGINT)


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (to_all, 130, "interrupted. Run it again.\n"),
        pytest.param(
            lambda stage: stage.send_signal(signal.SIGTERM),
            143,
            "stopped by SIGTERM. Run it again.\n",
            marks=pytest.mark.slow,
        ),
        (lambda stage: stage.kill(), -9, ""),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_whatever_ends_the_stage_ends_its_other_process(
    tmp_path: Path, mini_params: dict[str, Any], end: Callable[[Any], None], code: int, said: str
) -> None:
    stage = command(project(tmp_path / "project", mini_params, iterations=FOREVER))
    other = other_process(stage)
    time.sleep(2)  # it loads, or trains
    end(stage)
    printed, _ = stage.communicate(timeout=SECONDS)
    assert (stage.returncode, printed) == (code, said)
    assert not psutil.wait_procs([other], timeout=SECONDS)[1]
    assert not (tmp_path / "project" / "data" / "5_models" / "gift" / "digits").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux only")
def test_a_stage_in_the_fork_server_starts_its_processes(tmp_path: Path, mini_params: dict[str, Any]) -> None:
    experiment = project(tmp_path / "project", mini_params)
    stage = command(experiment, before=(sys.executable, "-m", "stages.fork_server"))
    printed, _ = stage.communicate(timeout=SECONDS)
    assert stage.returncode == 0, printed
    assert printed.startswith("finetune@gift-digits: 2 classes, 4 iterations, task loss ")
    assert printed.count("\n") == 1
    assert read_provenance(experiment.layout.model("gift", "digits"))["environment"]["processes"] == 2


ITERATIONS = 4
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "both": {"micro_batch_size": 3, "gradient_checkpointing": True},
    "processes": {"processes": 2, "micro_batch_size": 1},
}


def learned(
    folder: Path, params: dict[str, Any], *, method: str = "gift", precision: str = "fp32", **training: Any
) -> Clip:
    """The model after the second task, from an experiment of its own."""
    params["training"] |= training
    params["model"] |= {"precision": precision}
    folder.mkdir()
    experiment = TinyExperiment(make_world(folder), params, method, params["methods"][method], iterations=ITERATIONS)
    return experiment.run("digits")


SLOW = pytest.mark.slow


@pytest.mark.parametrize("method", ["gift", pytest.param("lwf", marks=SLOW), pytest.param("zscl", marks=SLOW)])
def test_less_memory_gives_the_same_model(tmp_path: Path, mini_params: dict[str, Any], method: str) -> None:
    mini_params["methods"]["zscl"]["average"]["every"] = 2  # there are few steps
    plain, *savings = (
        learned(tmp_path / name, copy.deepcopy(mini_params), method=method, **settings).trainable()
        for name, settings in SETTINGS.items()
    )
    rate = mini_params["methods"][method]["learning_rate"]
    for key, value in plain.items():
        # Adam makes full steps of rounding noise where the true gradient is 0, as for the bias of the keys
        atol = 2 * ITERATIONS * rate if key.endswith("in_proj_bias") else 0.05 * rate
        for saving in savings:
            torch.testing.assert_close(saving[key].detach(), value.detach(), rtol=0, atol=atol, msg=key)
    provenance = read_provenance(tmp_path / "processes" / "data" / "5_models" / method / "digits")
    assert (provenance["training"]["processes"], provenance["environment"]["processes"]) == (2, 2)


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
def test_every_precision_goes_with_both(
    tmp_path: Path, mini_params: dict[str, Any], precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = learned(tmp_path / "run", mini_params, precision=precision, **SETTINGS["both"])
    assert {value.dtype for value in clip.model.parameters()} == {torch.float32}
    folder = tmp_path / "run" / "data" / "5_models" / "gift" / "digits"
    rows = read_losses(folder / "losses.jsonl")
    assert ("skipped" in rows[0]) == (precision == "amp_fp16")
    assert read_provenance(folder)["training"]["micro_batch_size"] == 3
    skipped = int(sum(row.get("skipped", 0) for row in rows))
    said = capsys.readouterr().out
    assert (f"{skipped} skipped because" in said) == bool(skipped)

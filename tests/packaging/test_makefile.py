"""`make setup` takes the build of PyTorch that fits the machine, and the help lists every target."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from recipes import environment
from tests.imports import ROOT

Setup = Callable[..., tuple[list[str], str, str]]


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Setup:
    """Runs recipes/environment.py on a Linux machine without a GPU that has some programs, none of which does anything.

    Returns the lines it printed, the command that installs, and its UV_TORCH_BACKEND.
    """
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    monkeypatch.setattr(environment, "DRIVER", str(tmp_path / "driver"))
    monkeypatch.setattr(urllib.request, "urlopen", lambda page, timeout: io.BytesIO())
    monkeypatch.setattr(
        "os.execve",
        lambda file, words, variables: calls.append((" ".join(words), variables.get("UV_TORCH_BACKEND", ""))),
    )

    def run(*options: str, programs: str = "") -> tuple[list[str], str, str]:
        done = subprocess.CompletedProcess([], 0, stdout=b"--torch-backend <TORCH_BACKEND>")
        monkeypatch.setattr(subprocess, "run", lambda words, **_: done)
        monkeypatch.setattr(shutil, "which", lambda name: name if name == programs else None)
        monkeypatch.setattr(sys, "argv", ["setup", str(tmp_path / "venv"), *options])
        environment.main()
        return (capsys.readouterr().out.splitlines(), *calls[-1])

    return run


def test_without_an_nvidia_gpu_pip_takes_the_builds_without_cuda_and_says_how_much_it_downloads(setup: Setup) -> None:
    (said, faster), call, _ = setup("--extras=s3,t5")
    assert f"--no-compile --extra-index-url {environment.CPU_BUILDS} --quiet" in call
    assert call.endswith("--editable .[s3,t5]") and "without CUDA" in said and "0.4 GB to download" in said
    assert faster.startswith("uv would take two thirds of the time")
    assert "--extra-index-url" not in setup("--torch=cuda")[1]


def test_where_pytorchs_index_cannot_be_reached_the_usual_one_is_asked_and_a_terminal_shows_the_progress(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", Mock(side_effect=OSError("no route")))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    (said, _), call, _ = setup()
    assert "3.2 GB to download" in said and f"cannot be reached ({environment.CPU_BUILDS}: no route)" in said
    assert "--extra-index-url" not in call and "--quiet" not in call and setup(programs="uv")[2] == ""


@pytest.mark.parametrize("seen_by", ["nvidia-smi", "driver"])
def test_with_an_nvidia_gpu_pip_takes_what_the_package_index_has(setup: Setup, seen_by: str, tmp_path: Path) -> None:
    if seen_by == "driver":
        (tmp_path / "driver").mkdir()
    (said, _), call, _ = setup(programs=seen_by)
    assert "--extra-index-url" not in call and "with CUDA" in said and "3.2 GB to download" in said
    assert environment.CPU_BUILDS in setup("--torch=cpu", programs=seen_by)[1]


def test_uv_chooses_the_build_unless_the_machine_or_torch_does(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    said, call, backend = setup(programs="uv")
    assert len(said) == 1 and "0.4 GB to download" in said[0]
    assert call.endswith("--quiet --constraint constraints.txt --editable .") and backend == "auto"
    assert [setup(f"--torch={torch}", programs="uv")[2] for torch in ("cpu", "cuda")] == ["cpu", ""]
    monkeypatch.setenv("UV_TORCH_BACKEND", "cu128")
    assert setup(programs="uv")[2] == "cu128"


def test_make_setup_passes_on_the_extras_and_the_build_of_pytorch() -> None:
    printed = make("--dry-run", "setup", "EXTRAS=s3,t5", "TORCH=cpu", "PYTHON=python")
    assert "python recipes/environment.py .venv --extras=s3,t5 --torch=cpu" in printed
    assert "pip install --disable" in make("--dry-run", "--file", "gift_core/new_project/template/Makefile", "setup")


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_help_and_help_dev_have_every_target() -> None:
    users, others = (re.findall(r"^  make (\S+)", make(target), re.MULTILINE) for target in ("help", "help-dev"))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(["help", *users, *others]) == sorted(phony.split())

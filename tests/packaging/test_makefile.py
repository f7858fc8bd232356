"""`make setup` takes the build of PyTorch that fits the machine, and the help lists every target."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.environment import CPU_BUILDS, chosen_torch, commands, sees_nvidia_gpu, why_no_cpu_builds
from tests.clone import write_program
from tests.imports import ROOT


@pytest.mark.parametrize(
    ("choice", "gpu", "missing", "backend", "download"),
    [
        ("", False, "", "auto", "0.4 GB"),
        ("", True, "", "", "3.2 GB"),
        ("cpu", True, "", "cpu", "0.4 GB"),
        ("cuda", False, "", "", "3.2 GB"),
        ("", False, "it cannot be reached", "", "3.2 GB"),
    ],
)
def test_a_machine_without_an_nvidia_gpu_gets_the_small_build_unless_it_cannot_be_reached_or_the_user_chooses(
    monkeypatch: pytest.MonkeyPatch, choice: str, gpu: bool, missing: str, backend: str, download: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("recipes.environment.sees_nvidia_gpu", lambda: gpu)
    monkeypatch.setattr("recipes.environment.why_no_cpu_builds", lambda uv: missing)
    chosen, sentence = chosen_torch(choice, None)
    assert chosen == backend and f"{download} to download" in sentence.split(";")[0] and missing in sentence


def test_an_nvidia_gpu_is_seen_by_the_driver_or_by_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.environment.DRIVER", str(tmp_path / "driver"))
    monkeypatch.setenv("PATH", f"{tmp_path}")
    for code, is_seen in ((1, False), (0, True)):
        write_program(tmp_path / "nvidia-smi", f"exit {code}")
        assert sees_nvidia_gpu() is is_seen
    (tmp_path / "nvidia-smi").unlink()
    (tmp_path / "driver").mkdir()
    assert sees_nvidia_gpu()


def test_pip_takes_the_builds_without_cuda_from_the_index_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    assert why_no_cpu_builds(None).startswith(f"PyTorch's CPU builds cannot be reached ({CPU_BUILDS}: ")
    _, install = commands("venv", None, "s3,t5", "auto")
    assert install[-6:-3] == ["--extra-index-url", CPU_BUILDS, "--constraint"] and install[-1] == ".[s3,t5]"
    assert CPU_BUILDS not in commands("venv", None, "", "")[1]
    assert commands("venv", "uv", "", "auto")[1][-4:] == ["--constraint", "constraints.txt", "--editable", "."]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one build of PyTorch")
def test_setup_installs_with_the_build_that_it_has_chosen_unless_the_machine_sets_one(tmp_path: Path) -> None:
    """With a uv that prints its call, in the place of the real one."""
    write_program(tmp_path / "uv", 'echo "build $UV_TORCH_BACKEND: $*"')
    code = "from recipes import environment as e; e.why_no_cpu_builds = lambda uv: ''; e.main()"
    command = [sys.executable, "-c", code, "venv", "--extras=s3", "--torch=cpu"]
    for variables, build in (({}, "cpu"), ({"UV_TORCH_BACKEND": "cu128"}, "cu128")):
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        printed = subprocess.run(command, cwd=ROOT, env=path | variables, capture_output=True, text=True, check=True)
        said, *_, last = printed.stdout.splitlines()
        assert "and the extras s3 ..." in said and last.startswith(f"build {build}: pip install --python venv")
        assert last.endswith("--editable .[s3] --quiet")


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

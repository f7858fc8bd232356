"""The recorded environment: versions, device and threads; nothing that names a machine or a time."""

from __future__ import annotations

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.code.fingerprint import PACKAGES, VERIFIED, Code
from gift_core.provenance import environment
from tests.imports import ROOT

PRINT = "import torch; from gift_core.provenance import environment; print(environment(torch.device('cpu')))"


def in_process(folder: Path = ROOT, **variables: str) -> dict[str, Any]:
    """The environment that a process with the code in `folder` and these environment variables records."""
    command, variables = [sys.executable, "-c", PRINT], os.environ | variables
    done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=True)
    return ast.literal_eval(done.stdout)  # type: ignore[no-any-return]


def test_the_environment_has_the_versions_that_numbers_depend_on() -> None:
    found = environment(torch.device("cpu"))
    assert found["torch"] == torch.__version__
    packages = ["torchvision", "open_clip_torch", "timm", "diffusers", "transformers", "numpy", "gift-pipeline"]
    assert {package: found[package] for package in packages} == {package: version(package) for package in packages}
    assert platform.node() not in found.values()  # it names no machine


def test_it_depends_on_the_threads_and_not_on_folder_locale_or_time_zone() -> None:
    one = in_process(OMP_NUM_THREADS="1", TZ="UTC", LC_ALL="C.UTF-8")
    two = in_process(OMP_NUM_THREADS="2", TZ="Asia/Tokyo", LC_ALL="C", HOSTNAME="another")
    assert two == one | {"threads": 2} and one["threads"] == 1


def test_a_gpu_is_named_and_has_no_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    found = environment(torch.device("cuda"))
    assert found["device"] == "cuda NVIDIA H100 80GB HBM3"
    assert "threads" not in found


def test_edited_files_are_named_also_those_that_no_result_depends_on(tmp_path: Path) -> None:
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / VERIFIED).write_text(json.dumps(Code(tmp_path).record()), encoding="utf-8")
    assert "edited files" not in in_process(tmp_path)
    for name in ("gift_core/work/training.py", "stages/__main__.py", "gift_core/mini/more.bin"):
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("# edited\n")
    (tmp_path / "gift_core" / ".hidden").touch()
    (tmp_path / "gift_core" / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / "gift_core" / "__pycache__" / "losses.cpython-311.pyc.1402").touch()  # Python is writing it
    found = in_process(tmp_path)["edited files"]
    assert found == "gift_core/mini/more.bin, gift_core/work/training.py, stages/__main__.py"

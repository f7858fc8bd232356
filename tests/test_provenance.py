"""The recorded environment: versions, device and threads; nothing that names a machine or a time."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from gift_core.provenance import environment
from tests.imports import ROOT

PRINT = "import torch; from gift_core.provenance import environment; print(environment(torch.device('cpu')))"


def in_process(**variables: str) -> dict[str, Any]:
    """The environment that a process with these environment variables records."""
    command, variables = [sys.executable, "-c", PRINT], os.environ | variables
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=True)
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


def test_edited_files_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which these are: tests/code/test_versions.py."""
    for edited, expected in (((), None), (("gift_core/a.py", "stages/b.py"), "gift_core/a.py, stages/b.py")):
        monkeypatch.setattr("gift_core.provenance.running_code", lambda edited=edited: Mock(edited=edited))
        assert environment(torch.device("cpu")).get("edited files") == expected

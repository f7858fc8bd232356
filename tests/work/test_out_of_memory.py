"""Insufficient memory ends in one message: what ran, what was requested, and what to change."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gift_core.config.loading import load_config
from gift_core.errors import UserError
from gift_core.work.out_of_memory import SETTINGS, explain
from stages.app import app
from stages.stage import Stage, open_stage
from tests.imports import ROOT

PARAMS = ROOT / "params.yaml"
CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 14.62 MiB is "
    "free. Process 1 has 79.08 GiB memory in use."
)
MPS = (
    "MPS backend out of memory (MPS allocated: 17.06 GiB, other allocations: 1.02 MiB, max allowed: 18.13 GiB). Tried "
    "to allocate 256.00 MiB on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit."
)


def behind_another_error() -> None:
    try:
        torch.empty(10**15)
    except RuntimeError as error:
        raise UserError("model.name: open_clip cannot load it. Check the name.") from error


CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
# What is allocated, or the error that is raised.
SHOWN: dict[str, tuple[Callable[[], object] | Exception, str]] = {
    "on the CPU": (lambda: torch.empty(10**15), "(4000000000000000 bytes requested)"),
    "in numpy": (lambda: np.empty(10**15), "(7.11 PiB requested)"),
    "in Python": (MemoryError(), "while running. In params.yaml"),
    "on CUDA": (torch.OutOfMemoryError(CUDA), "(20.00 GiB requested, 14.62 MiB free)"),
    "on MPS": (RuntimeError(MPS), "(256.00 MiB requested)"),
    "in a library": (RuntimeError(CUBLAS), "while running. In params.yaml"),
    "behind another error": (behind_another_error, "(4000000000000000 bytes requested)"),
}


def finetune_stage() -> AbstractContextManager[Stage]:
    return open_stage("finetune", PARAMS, Path(), method="gift", task="letters")


@pytest.mark.parametrize("name", SHOWN)
def test_the_errors_of_all_allocators_are_recognized_and_their_sizes_shown(name: str) -> None:
    shortage, size = SHOWN[name]
    with pytest.raises(UserError) as error, finetune_stage():
        if isinstance(shortage, Exception):
            raise shortage
        shortage()
    message = str(error.value)
    assert message.startswith("finetune@gift-letters: out of memory while running")
    assert size in message and "docs/memory.md" in message


@pytest.mark.gpu
def test_a_full_device_is_recognized_and_the_requested_size_shown(gpu: torch.device) -> None:
    with pytest.raises(UserError) as error, finetune_stage():
        torch.empty(10**15, device=gpu)
    assert re.search(r"out of memory while running \([\d.]+ (bytes|\wiB) requested", str(error.value))


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("mat1 and mat2 shapes"), KeyError("x")])
def test_other_errors_are_left_alone(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, finetune_stage():
        raise error
    assert raised.value is error


@pytest.mark.parametrize("stage", SETTINGS)
def test_the_settings_are_keys_of_params_yaml_with_their_current_values(stage: str) -> None:
    config = load_config(PARAMS)
    message = str(explain(MemoryError(), stage=stage, title=stage, phase="running", config=config))
    for key in SETTINGS[stage]:
        assert f"{key} (now " in message
        section: Any = config
        for name in key.split("."):
            if section is not None:  # generator.memory may be null
                assert name in type(section).model_fields, key
                section = getattr(section, name)
    assert stage != "finetune" or "training.micro_batch_size (now null): 16" in message


def test_the_command_ends_with_the_phase_and_exit_code_1_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real stage, with an allocation by torch that fails while the model is built."""
    monkeypatch.setattr("gift_core.clip.architectures.CLIP", lambda **options: torch.empty(10**15))
    result = CliRunner().invoke(app, ["import_model", "--params", str(PARAMS), "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "error: import_model: out of memory while loading the model (4000000000000000 bytes req" in result.output
    assert "Traceback" not in result.output

"""Insufficient memory ends in one message: what ran, what was requested, and what to change, in order."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gift_core.config.loading import load_config
from gift_core.errors import UserError
from gift_core.out_of_memory import SETTINGS, explain, is_out_of_memory
from stages.app import app
from stages.stage import open_stage

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 14.62 MiB is "
    "free. Process 1 has 79.08 GiB memory in use."
)
MPS = (
    "MPS backend out of memory (MPS allocated: 17.06 GiB, other allocations: 1.02 MiB, max allowed: 18.13 GiB). Tried "
    "to allocate 256.00 MiB on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit."
)


def on_the_cpu() -> None:
    torch.empty(10**15)


def in_numpy() -> None:
    np.empty(10**15)


def in_python() -> None:
    raise MemoryError


def on_cuda() -> None:
    raise torch.OutOfMemoryError(CUDA)


def on_mps() -> None:
    raise RuntimeError(MPS)


def in_a_library() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def behind_another_error() -> None:
    try:
        on_cuda()
    except RuntimeError as error:
        raise UserError("model.name: open_clip cannot load it. Check the name.") from error


SHOWN: dict[Callable[[], None], str] = {
    on_the_cpu: "(4000000000000000 bytes requested)",
    in_numpy: "(7.11 PiB requested)",
    in_python: "while running. In params.yaml",
    on_cuda: "(20.00 GiB requested, 14.62 MiB free)",
    on_mps: "(256.00 MiB requested)",
    in_a_library: "while running. In params.yaml",
    behind_another_error: "(20.00 GiB requested, 14.62 MiB free)",
}


def caught(fail: Callable[[], None]) -> Exception:
    try:
        fail()
    except Exception as error:
        return error
    raise AssertionError("it should have failed")


@pytest.mark.parametrize("fail", SHOWN, ids=lambda fail: fail.__name__)
def test_the_errors_of_all_allocators_are_recognized_and_their_sizes_shown(fail: Callable[[], None]) -> None:
    with pytest.raises(UserError) as error, open_stage("finetune", PARAMS, Path(), method="gift", task="letters"):
        fail()
    message = str(error.value)
    assert message.startswith("finetune@gift-letters: out of memory while running")
    assert SHOWN[fail] in message
    assert "docs/memory.md" in message


def test_a_full_device_is_recognized_and_the_requested_size_shown(device: torch.device) -> None:
    with pytest.raises(UserError) as error, open_stage("finetune", PARAMS, Path(), method="gift", task="letters"):
        torch.empty(10**15, device=device)
    requested = (
        r"4000000000000000 bytes" if device.type == "cpu" else r"[\d.]+ (GiB|TiB|PiB) requested, [\d.]+ \w+ free"
    )
    assert re.search(rf"letters: out of memory while running \({requested}", str(error.value))


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("mat1 and mat2 shapes"), KeyError("x")])
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as raised, open_stage("finetune", PARAMS, Path(), method="gift", task="letters"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("stage", SETTINGS)
def test_the_settings_come_in_order_with_their_current_values(stage: str) -> None:
    explained = explain(caught(on_cuda), stage=stage, title=stage, phase="running", config=load_config(PARAMS))
    message = str(explained)
    positions = [message.index(f"{key} (now ") for key in SETTINGS[stage]]
    assert positions == sorted(positions)
    if stage == "finetune":
        assert "training.micro_batch_size (now null): 16" in message
        assert "training.gradient_checkpointing (now false): true" in message


@pytest.mark.parametrize("key", [key for keys in SETTINGS.values() for key in keys])
def test_every_setting_is_a_key_of_params_yaml(key: str) -> None:
    section: Any = load_config(PARAMS)
    for name in key.split("."):
        if section is not None:  # generator.memory may be null
            assert name in type(section).model_fields, key
            section = getattr(section, name)


def test_a_stage_without_settings_gives_the_last_remedy() -> None:
    explained = explain(
        caught(in_numpy), stage="ingest", title="ingest@birds", phase="running", config=load_config(PARAMS)
    )
    assert "In params.yaml" not in str(explained) and "Close other programs" in str(explained)


def test_the_message_says_what_the_stage_was_doing() -> None:
    with (
        pytest.raises(UserError, match="out of memory while training"),
        open_stage("finetune", PARAMS, Path(), method="gift", task="letters") as stage,
    ):
        stage.phase = "training"
        on_cuda()


def test_the_command_ends_with_the_phase_and_exit_code_1_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real stage, with an allocation by torch that fails while the model is built."""
    monkeypatch.setattr("open_clip.create_model", lambda *args, **options: torch.empty(10**15))
    result = CliRunner().invoke(app, ["import_model", "--params", str(PARAMS), "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert (
        "error: import_model: out of memory while loading the model (4000000000000000 bytes requested" in result.output
    )
    assert "Traceback" not in result.output


def test_explaining_needs_no_torch() -> None:
    check = "import sys, gift_core.out_of_memory, stages.stage; print('torch' in sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=PARAMS.parent
    )
    assert printed.stdout.strip() == "False"

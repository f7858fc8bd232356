"""The settings that save memory, gradient caching and checkpointing, change no iteration."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gift_core.config.method_options import MethodConfig
from gift_core.errors import UserError
from gift_core.methods import build_method
from gift_core.training.loop import require_trainable
from tests.clip.tiny import tiny_clip
from tests.training.tiny_training import gift, method_config, other_teacher, run, training

ZSCL = {"distill_image_side": {"weight": 1.0, "temperature": 2.0}}
TEXT_SIDE = {"distill_text_side": {"weight": 1.0, "temperature": 2.0}}
METHODS = {
    "gift": gift(),
    "zscl": method_config(losses=ZSCL, kind="uniform", weight=1.0),
    "gift_text_side": method_config(losses=TEXT_SIDE, kind="frozen_fisher", weight=1.0, iterations=2),
    "finetune": method_config(),
}
SAVINGS: dict[str, dict[str, Any]] = {
    "gradient cache": {"micro_batch_size": 3},
    "checkpointing": {"gradient_checkpointing": True},
    "both": {"micro_batch_size": 1, "gradient_checkpointing": True},
}


@pytest.mark.parametrize("saving", SAVINGS.values(), ids=SAVINGS)
@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
def test_saving_memory_changes_no_iteration(config: MethodConfig, saving: dict[str, Any], device: torch.device) -> None:
    plain, saving_clip = tiny_clip(device=device), tiny_clip(device=device)
    replay = other_teacher(device) if len(config.losses) else None
    expected, found = run(plain, config, replay=replay), run(saving_clip, config, replay=replay, **saving)
    for row, expected_row in zip(found, expected, strict=True):
        penalty, expected_penalty = row.pop("consolidation"), expected_row.pop("consolidation")
        assert penalty == pytest.approx(expected_penalty, rel=1e-3, abs=1e-6)  # it includes the key biases, see below
        assert row == pytest.approx(expected_row, rel=1e-4, abs=1e-6)
    for (name, value), other in zip(saving_clip.trainable().items(), plain.trainable().values(), strict=True):
        atol = 4e-3 if name.endswith("in_proj_bias") else 2e-5  # as in the test of gift in test_loop.py
        torch.testing.assert_close(value.detach(), other.detach(), rtol=0, atol=atol, msg=name)


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
def test_saving_memory_works_under_autocast(precision: str, device: torch.device) -> None:
    plain, saving = (
        run(tiny_clip(precision=precision, device=device), gift(), replay=other_teacher(device), **changes)
        for changes in ({}, SAVINGS["both"])
    )
    for found, expected in zip(saving, plain, strict=True):
        assert found["total"] == pytest.approx(expected["total"], rel=1e-2)


def test_a_model_that_does_not_support_checkpointing_is_refused_before_any_image_is_read() -> None:
    clip = tiny_clip()
    clip.model.text = torch.nn.Linear(2, 2)
    require_trainable(clip, training(), build_method(gift()))
    with pytest.raises(UserError, match="training.gradient_checkpointing: the model's text tower"):
        require_trainable(clip, training(gradient_checkpointing=True), build_method(gift()))

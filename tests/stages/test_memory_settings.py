"""The stages teach and finetune with every setting that saves memory, on a tiny world."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.artifacts.model_folder import read_losses, read_provenance
from gift_core.clip.model import Clip
from tests.tiny_world import TinyExperiment, make_world

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

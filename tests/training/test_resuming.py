"""Training that was interrupted and continued ends with the very weights and losses of training that was not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.artifacts import snapshot as snapshots
from gift_core.artifacts.snapshot import Snapshot
from gift_core.clip.model import Clip
from gift_core.config.method_options import MethodConfig
from gift_core.methods import build_method
from gift_core.training.loop import LossRow
from tests.clip.tiny import tiny_clip
from tests.training.tiny_training import GIFT_LOSSES, method_config, other_teacher, run

ITERATIONS = 6
CONSOLIDATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "uniform": {"weight": 1.0},
    "static_fisher": {"weight": 1.0, "scale": "tensor"},
    "frozen_fisher": {"weight": 1.0, "iterations": 3},
    "adaptive_fisher": {"weight": 1.0},
}
MERGES: dict[str, dict[str, Any]] = {
    "average": {"average": {"kind": "running_mean", "every": 2}},
    "merge": {"merge": {"kind": "interpolate", "alpha": 0.6}},
    "average and merge": {
        "average": {"kind": "running_mean", "every": 2},
        "merge": {"kind": "interpolate", "alpha": 0.6},
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "micro-batches": {"micro_batch_size": 2},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "weight decay": {"weight_decay": 0.1},
}


class InterruptedTrainingError(Exception):
    """Stands for a kill between two iterations."""


@pytest.fixture(autouse=True)
def snapshot_of_every_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))


def gift(**options: Any) -> MethodConfig:
    return method_config(losses=GIFT_LOSSES, **options)


def train(config: MethodConfig, clip: Clip, **options: Any) -> list[LossRow]:
    fisher = {name: value.detach().square() for name, value in tiny_clip(seed=3).trainable().items()}
    method = build_method(config, fisher=fisher)
    replay = other_teacher() if len(config.losses) else None
    return run(clip, config, iterations=ITERATIONS, method=method, replay=replay, **options)


def interrupt_at(iteration: int) -> Callable[[LossRow], None]:
    def stop(row: LossRow) -> None:
        if row["iteration"] == iteration:
            raise InterruptedTrainingError

    return stop


def require_same_after_interruptions(
    tmp_path: Path, config: MethodConfig, make: Callable[[], Clip] = tiny_clip, **changes: Any
) -> None:
    """Interrupts the training in its iterations 2 and 4. Each time a new process would build everything again."""
    whole = make()
    rows = train(config, whole, **changes)
    path = tmp_path / "training.safetensors"
    said: list[str] = []
    for iteration in (2, 4):
        with pytest.raises(InterruptedTrainingError):
            snapshot = Snapshot(path, said.append)
            train(config, make(), snapshot=snapshot, on_iteration=interrupt_at(iteration), **changes)
    resumed = make()
    torch.manual_seed(12)  # another process would be in another state
    assert train(config, resumed, snapshot=Snapshot(path, said.append), **changes) == rows
    assert said == [f"continues at iteration {done} of {ITERATIONS}" for done in (2, 4)]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("kind", CONSOLIDATIONS)
def test_every_consolidation_continues_to_the_same_bytes(tmp_path: Path, kind: str) -> None:
    require_same_after_interruptions(tmp_path, gift(kind=kind, **CONSOLIDATIONS[kind]))


@pytest.mark.parametrize("name", MERGES)
def test_every_averaging_and_merge_continues_to_the_same_bytes(tmp_path: Path, name: str) -> None:
    row = gift().model_dump(exclude_none=True) | MERGES[name]
    require_same_after_interruptions(tmp_path, MethodConfig.model_validate(row))


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_memory_continue_to_the_same_bytes(tmp_path: Path, name: str) -> None:
    require_same_after_interruptions(tmp_path, gift(kind="adaptive_fisher", weight=1.0), **SETTINGS[name])


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
def test_half_precision_continues_to_the_same_bytes(tmp_path: Path, precision: str) -> None:
    config = gift(kind="frozen_fisher", weight=1.0, iterations=3)
    require_same_after_interruptions(tmp_path, config, lambda: tiny_clip(precision=precision))


def test_a_convolutional_tower_continues_to_the_same_bytes(tmp_path: Path) -> None:
    require_same_after_interruptions(
        tmp_path, method_config(kind="uniform", weight=1.0), lambda: tiny_clip(tower="resnet")
    )


def test_layers_that_are_random_in_training_continue_with_the_same_numbers(tmp_path: Path) -> None:
    def with_dropout() -> Clip:
        clip = tiny_clip()
        clip.model.visual.ln_post = torch.nn.Sequential(clip.model.visual.ln_post, torch.nn.Dropout(0.5))
        return clip

    require_same_after_interruptions(tmp_path, gift(kind="uniform", weight=1.0), with_dropout)


def test_a_damaged_snapshot_is_ignored_with_a_line_that_says_so(tmp_path: Path) -> None:
    whole, resumed, config = tiny_clip(), tiny_clip(), gift(kind="adaptive_fisher", weight=1.0)
    rows = train(config, whole)
    path = tmp_path / "training.safetensors"
    with pytest.raises(InterruptedTrainingError):
        train(config, tiny_clip(), snapshot=Snapshot(path), on_iteration=interrupt_at(3))
    for damaged in damages(path.read_bytes()):
        path.write_bytes(damaged)
        said: list[str] = []
        assert Snapshot(path, said.append).read() is None
        assert len(said) == 1
        assert said[0].startswith(f"{path}.not_used is not used: ")
    assert train(config, resumed, snapshot=Snapshot(path)) == rows


def damages(content: bytes) -> Iterator[bytes]:
    yield b""
    yield content[: len(content) // 2]
    yield content + b"\0"
    for position in (3, 40, len(content) // 2, len(content) - 1):
        yield content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]

"""Merging models: every kind by hand, and against a second implementation that has all weights in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file

from gift_core.artifacts.model_folder import WEIGHTS
from gift_core.clip.model import save_clip
from gift_core.interop.merge_kinds import KINDS, complete_options
from gift_core.interop.merging import merge_models, open_stored
from stages.commands.models import Kind
from tests.clip.tiny import tiny_clip
from tests.tiny_world import moved

Weights = dict[str, torch.Tensor]
A, B = torch.tensor([4.0, -1.0, 0.5, 2.0]), torch.tensor([-2.0, -3.0, 0.5, 1.0])
BY_HAND: list[tuple[str, dict[str, Any], list[float]]] = [
    ("mean", {}, [1, -2, 0.5, 1.5]),
    ("interpolate", {"alpha": 0.25}, [2.5, -1.5, 0.5, 1.75]),
    ("task_arithmetic", {"weight": [1.0, 0.5]}, [3, -2.5, 0.75, 2.5]),
    ("ties", {"smallest": [2.0, 2.0], "scale": 0.5}, [2, -1.5, 0, 1]),
    ("ties", {"smallest": [0.0, 0.0], "scale": 1.0}, [4, -2, 0.5, 1.5]),
    ("magmax", {"scale": 2.0}, [8, -6, 1, 4]),
]


def test_every_kind_by_hand() -> None:
    for kind, arguments, expected in BY_HAND:
        found = KINDS[kind][0]([A, B], **arguments)
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32), msg=f"{kind}: {found}")
    assert {kind for kind, *_ in BY_HAND} == {*KINDS} == {*get_args(Kind)}


def flat(weights: Weights, names: Sequence[str]) -> torch.Tensor:
    return torch.cat([weights[name].flatten() for name in names])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base, and models of three tasks trained from it."""
    folder = tmp_path_factory.mktemp("models")
    save_clip(tiny_clip(), folder / "base", {})
    for seed in range(3):
        save_clip(moved(tiny_clip(), seed=seed), folder / str(seed), {})
    return folder


def merged(folder: Path, out: Path, kind: str, models: Sequence[str] = "012", **given: Any) -> Weights:
    """The weights of the merge, as safetensors' own reader has them."""
    base = {"base": "base"} if "base" in KINDS[kind][1] else {}
    options = complete_options(kind, given | base, models=len(models))
    stored = [open_stored(str(folder / name)) for name in models]
    start = open_stored(str(folder / "base")) if base else None
    merge_models(kind, stored, out, options=options, base=start)
    return load_file(out / WEIGHTS)


def test_ties_agrees_with_a_second_implementation(folder: Path, tmp_path: Path) -> None:
    found = merged(folder, tmp_path / "out", "ties", "201", keep=0.3, scale=0.7)
    names = sorted(found)
    base, *stored = (flat(load_file(folder / name / WEIGHTS), names) for name in ("base", *"201"))
    changes = torch.stack(stored) - base
    least = changes.abs().topk(round(0.3 * changes.shape[1])).values[:, -1:]
    kept = changes * (changes.abs() >= least)
    chosen = torch.where(kept.sum(0) > 0, kept.clamp(min=0), kept.clamp(max=0))
    expected = base + 0.7 * chosen.sum(0) / (chosen != 0).sum(0).clamp(min=1)
    torch.testing.assert_close(flat(found, names), expected, rtol=1e-5, atol=1e-7)


def test_statistics_are_averaged_where_changes_are_added(tmp_path: Path) -> None:
    for number, name in enumerate(("base", "0", "1")):
        clip = tiny_clip(tower="resnet", seed=number)
        clip.model.get_buffer("visual.bn1.running_var").fill_(10.0 - 4 * number)
        clip.model.get_buffer("visual.bn1.num_batches_tracked").fill_(number)
        save_clip(clip, tmp_path / name, {})
    mixed = merged(tmp_path, tmp_path / "mixed", "interpolate", "01", alpha=0.25)
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in "01")
    for name in (name for name, value in mixed.items() if value.is_floating_point()):
        torch.testing.assert_close(mixed[name], 0.75 * one[name] + 0.25 * two[name], rtol=1e-6, atol=1e-7)
    found = merged(tmp_path, tmp_path / "out", "task_arithmetic", "01", weight=[1.0])
    assert found["visual.bn1.running_var"][0] == 4  # of 6 and 2. With their changes it would be -2.
    assert found["visual.bn1.num_batches_tracked"] == 2

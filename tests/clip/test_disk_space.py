"""What is asked for before the work is enough for what is written after it, and not much more."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.clip.device import resolve_device
from gift_core.clip.disk_space import model_bytes, training_bytes
from gift_core.clip.model import Clip, open_folder, save_clip
from tests.clip.tiny import tiny_clip

NAMES = ("learning_rate", "task", "distill", "distill_entropy", "align", "consolidation", "total")
LOSSES = [{"iteration": number, **dict.fromkeys(NAMES, number / 3 + 1e-09)} for number in range(1000)]


def mini(project: Path) -> Clip:
    return open_folder(project / "data/mini/clip", device=resolve_device("cpu"), precision="fp32")


@pytest.mark.parametrize("name", ["vit", "resnet", "mini"])
def test_a_model_folder_takes_no_more_than_is_asked_for(name: str, project: Path, tmp_path: Path) -> None:
    clip = mini(project) if name == "mini" else tiny_clip(tower=name)
    save_clip(clip, tmp_path / "model", {"settings": {str(n): "some text" for n in range(100)}}, LOSSES)
    blocks = sum(-(-file.stat().st_size // 4096) * 4096 for file in (tmp_path / "model").iterdir())
    needed = model_bytes(clip, iterations=len(LOSSES))
    assert blocks <= needed <= 1.15 * blocks
    weights = (tmp_path / "model" / "open_clip_model.safetensors").stat().st_size
    assert training_bytes(clip, iterations=len(LOSSES), trained=clip.parameter_count) >= blocks + 3.9 * weights

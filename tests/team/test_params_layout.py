"""What DVC writes when it changes a value of params.yaml: that line, and no other."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml

from gift_core.config.editing import append_task
from gift_core.config.loading import load_config
from gift_core.config.overlays import complete_text
from tests.imports import ROOT

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
CHANGES = (  # a value of each kind
    "training.iterations=300", "training.gradient_checkpointing=true", "training.micro_batch_size=8",
    "training.crop_scale=[0.5,1.0]", "methods.gift.learning_rate=1e-6", "methods.gift.losses.align.weight=0.5",
    "methods.gift.replay.teacher=initial", "prompts.base_template='an image: {}'",
    "sequence.0.learning_rate_factor=0.5", "tasks.birds.test_fraction=0.5", "tasks.birds.class_names.1=finch",
)  # fmt: skip
ROW = {
    "source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}, a bird.", "a {}: a bird."],
    "test_fraction": 0.2, "on_bad_image": "refuse", "class_names": {"0": "wren", "1": "great tit"},
}  # fmt: skip


def changed_lines(text: str, change: str, folder: Path) -> list[str]:
    """The signs of the lines that `dvc exp run --set-param` changes: - for the old line, + for the new one."""
    file = folder / "params.yaml"
    file.write_text(text, encoding="utf-8")
    apply_overrides(file, [change])
    load_config(file)
    after = file.read_text(encoding="utf-8").splitlines()
    return [line[0] for line in list(difflib.unified_diff(text.splitlines(), after, n=0))[2:] if line[0] != "@"]


def test_a_changed_value_is_one_changed_line_also_beside_an_added_task(tmp_path: Path) -> None:
    text = append_task(complete_text(ROOT / "presets" / "mini.yaml"), "birds", ROW, learning_rate_factor=1.0)
    for change in CHANGES:
        assert changed_lines(text, change, tmp_path) == ["-", "+"], change


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_file_that_dvc_writes_has_the_same_lines(preset: Path, tmp_path: Path) -> None:
    file, text = tmp_path / "params.yaml", complete_text(preset)
    assert changed_lines(text, "run.device=cpu", tmp_path) == ["-", "+"]
    file.write_text(text, encoding="utf-8")
    with modify_yaml(file):
        pass
    assert file.read_text(encoding="utf-8") == text

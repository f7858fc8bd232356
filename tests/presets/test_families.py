"""What the presets say of themselves, and what the guide says of them."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest

from gift_core.config.overlays import complete_text
from gift_core.presets import find_presets, load_preset
from tests.imports import ROOT
from tests.presets.test_paper_numbers import FULL_SIZE, read


def text_of(preset: str) -> str:
    return complete_text(ROOT / "presets" / f"{preset}.yaml")


def test_the_guide_has_a_row_of_every_preset_with_its_number_of_tasks() -> None:
    rows = [line.split("|")[1:3] for line in (ROOT / "docs" / "presets.md").read_text(encoding="utf-8").splitlines()
            if line.startswith("| `")]  # fmt: skip
    told = {
        name.strip(" `"): int(number)
        for names, numbers in rows
        for name, number in zip(names.split(","), (numbers.split(",") * 3)[: names.count(",") + 1], strict=True)
    }
    assert told == {path.stem: len(read(path.stem)["sequence"]) for path in find_presets(ROOT).values()}


@pytest.mark.parametrize("preset", FULL_SIZE)
def test_a_preset_is_named_as_its_file_and_says_what_it_is_and_what_to_check_first(preset: str) -> None:
    assert load_preset(ROOT / "presets" / f"{preset}.yaml").experiment == preset
    comment = text_of(preset).split("\n\n")[0]
    assert all(line.startswith("#") for line in comment.splitlines())
    assert "gift doctor" in comment


def test_the_overlay_of_the_guide_can_be_used(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    example = page[page.index("    # MTIL in order I with our own") : page.index("- A section on several lines")]
    (tmp_path / "my_experiment.yaml").write_text(textwrap.dedent(example), encoding="utf-8")
    shutil.copy(ROOT / "presets" / "mtil_order_1.yaml", tmp_path)
    config, base = load_preset(tmp_path / "my_experiment.yaml"), load_preset(tmp_path / "mtil_order_1.yaml")
    assert (config.training.iterations, config.training.batch_size) == (500, base.training.batch_size)
    assert [name for name, _ in config.methods["gift"].losses.items()] == ["distill"]
    assert set(base.methods) - set(config.methods) == {"ewc"}

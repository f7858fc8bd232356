"""On a GPU, images are finished by threads while the next ones are generated, with the same result as without.

In most tests the device only says "cuda": generators and scorers are toys. Events make sure of the order, never clocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from gift_core.config.generator import GeneratorConfig
from gift_core.generators import synthesize as module
from gift_core.generators.filters import NoFilters, QualityFilters
from gift_core.generators.pipeline import load_pipeline
from gift_core.generators.synthesize import synthesize
from gift_core.work.overlap import Copies
from tests.artifacts.damage import tree_hash
from tests.generators import test_filters, test_synthesize, tiny
from tests.generators.test_filters import BLUE, GREEN, ORANGE, RED, ToyScorer
from tests.generators.test_synthesize import CONFIG, PROMPTS, image_seed
from tests.stages.toy_pipeline import wait

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SECONDS = 300  # until a test fails that would hang


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no second stream without a GPU."""
    monkeypatch.setattr(module, "Copies", lambda device: Copies(CPU))


def background_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("background")]


class Painter(test_synthesize.Painter):
    """Calls `before` with the number of each batch before it is generated."""

    def __init__(self, before: Callable[[int], object] = lambda number: None) -> None:
        super().__init__()
        self.before = before

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        self.before(self.batches)
        return super().generate(prompts, seeds)


def run(painter: Any, folder: Path, device: torch.device = GPU) -> dict[str, str]:
    synthesize(PROMPTS, painter, folder / "shards", work=folder / "work", filters=NoFilters(), device=device)
    return tree_hash(folder / "shards")


def test_overlap_changes_no_byte_even_where_images_are_generated_again(tmp_path: Path) -> None:
    black = [image_seed(prompt, attempt) for prompt, attempt in ((0, 0), (1, 0), (1, 1), (4, 0), (6, 0), (6, 1))]
    for batch_size in (1, 2, 5):
        config = CONFIG.model_copy(update={"batch_size": batch_size})
        one, other = (
            run(test_synthesize.Painter(config, black), tmp_path / f"{batch_size}-{device.type}", device)
            for device in (CPU, GPU)
        )
        assert list(one.values()) == list(other.values())


def test_filters_decide_in_the_order_of_the_prompts(tmp_path: Path) -> None:
    """The first batch has a duplicate, whose second attempt decides about the images of the second batch."""
    script = {(0, 0): RED, (1, 0): RED, (1, 1): GREEN, (2, 0): GREEN, (2, 1): BLUE, (3, 0): ORANGE}
    trees = []
    for device in (CPU, GPU):
        painter = test_filters.Painter(test_filters.config(min_clip_score=None, max_similarity=0.85), script)
        filters = QualityFilters(painter.config.filters, ToyScorer())
        folder = tmp_path / device.type
        synthesize(
            test_filters.PROMPTS, painter, folder / "shards", work=folder / "work", filters=filters, device=device
        )
        trees.append(list(tree_hash(folder / "shards").values()))
    assert trees[0] == trees[1]


def test_an_interrupted_run_keeps_its_finished_shards_and_continues_to_the_same_bytes(tmp_path: Path) -> None:
    def interrupt(number: int) -> None:
        if number == 4:
            wait(lambda: list((tmp_path / "work").glob("*/00000_stats.json")), "the last file of the first shard")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Painter(interrupt), tmp_path)
    assert not background_threads() and not (tmp_path / "shards").exists()
    second = Painter()
    resumed = run(second, tmp_path)
    assert second.batches < 5  # those of a run from the start
    assert list(resumed.values()) == list(run(Painter(), tmp_path / "whole", CPU).values())


@pytest.mark.gpu
@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_every_family_has_the_same_bytes_with_overlap(
    family: str,
    tmp_path: Path,
    folder_of: Callable[[str], str],
    settings: Callable[..., GeneratorConfig],
    gpu: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "Copies", lambda device: Copies(gpu))
    pipeline = load_pipeline(settings(folder_of(family), batch_size=2, images_per_shard=3), gpu)
    assert list(run(pipeline, tmp_path / "a", CPU).values()) == list(run(pipeline, tmp_path / "b", GPU).values())

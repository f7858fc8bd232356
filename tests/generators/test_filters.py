"""Quality filters: what they reject, how often, and that a resumed run decides as an uninterrupted one.

The images are plain colors. The features of the toy scorer are the color, so every cosine is known.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from gift_core.artifacts.contract import read
from gift_core.artifacts.shards import Stats, iterate_pairs, read_manifest
from gift_core.config.experiment import FiltersConfig, GeneratorConfig
from gift_core.generators.filters import QualityFilters
from gift_core.generators.synthesize import synthesize
from gift_core.seeds import seed_for
from tests.clone import content
from tests.generators.conftest import CPU
from tests.generators.test_synthesize import CONFIG, Color, Painter

RED, GREEN, BLUE, ORANGE, BLACK = (200, 0, 0), (0, 200, 0), (0, 0, 200), (160, 120, 0), (0, 0, 0)
PROMPTS = pd.DataFrame({"prompt_id": range(4), "prompt": ["red", "red", "green", "blue"], "seed": range(4)})
WORDS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class ToyScorer:
    """The features of an image are its color with unit norm, those of a text the color it names."""

    def image_features(self, image: Image.Image) -> np.ndarray:
        color = np.asarray(image.convert("RGB"), dtype=np.float32)[0, 0]
        return color / np.linalg.norm(color)

    def text_features(self, text: str) -> np.ndarray:
        return np.asarray(WORDS[text], dtype=np.float32)


def painter(config: GeneratorConfig, script: dict[tuple[int, int], Color], batches: int = 99) -> Painter:
    """Paints for (prompt, attempt) the color in the script. Raises KeyboardInterrupt after `batches` calls."""
    colors = {seed_for("synthesize", 0, *key): color for key, color in script.items()}

    def interrupt(number: int) -> None:
        if number == batches:
            raise KeyboardInterrupt

    return Painter(config, before=interrupt, color=colors.__getitem__)


def config(*, min_clip_score: float | None, max_similarity: float | None, max_redraws: int = 3) -> GeneratorConfig:
    thresholds = {"min_clip_score": min_clip_score, "max_similarity": max_similarity, "max_redraws": max_redraws}
    filters = FiltersConfig(scorer={"name": "toy", "pretrained": None}, **thresholds)
    return CONFIG.model_copy(update={"images_per_shard": 2, "max_redraws": 1, "filters": filters})


def generated(painter: Painter, folder: Path, device: torch.device = CPU) -> list[Color]:
    filters = QualityFilters(painter.config.filters, ToyScorer())
    synthesize(PROMPTS, painter, folder / "shards", work=folder / "work", filters=filters, device=device)
    opened = (np.asarray(Image.open(io.BytesIO(pair.image)))[0, 0] for pair in iterate_pairs(folder / "shards"))
    return [tuple(int(level) for level in color) for color in opened]


FITTING = {(0, 0): RED, (1, 0): RED, (2, 0): GREEN, (3, 0): BLUE}


def test_an_image_that_does_not_match_its_prompt_is_generated_again(tmp_path: Path) -> None:
    """A black one, too, which is counted separately."""
    script = {**FITTING, (1, 0): GREEN, (1, 1): ORANGE, (2, 0): BLACK, (2, 1): GREEN, (3, 0): RED, (3, 1): BLUE}
    colors = generated(painter(config(min_clip_score=0.79, max_similarity=None), script), tmp_path)
    assert colors == [RED, ORANGE, GREEN, BLUE]  # orange is at 0.8 to red
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest.images, manifest.redrawn) == (4, 1)
    assert manifest.rejected == {"clip_score": 2, "duplicate": 0}
    stats = read(Stats, tmp_path / "shards" / "00001_stats.json", "synthesize")
    assert stats.rejected == {"clip_score": 1, "duplicate": 0}


def test_an_image_too_similar_to_any_kept_one_is_generated_again(tmp_path: Path, each_device: torch.device) -> None:
    """The first batch has a duplicate, whose second attempt decides about the images of the second batch."""
    script = {(0, 0): RED, (1, 0): RED, (1, 1): GREEN, (2, 0): RED, (2, 1): GREEN, (2, 2): ORANGE, (3, 0): BLUE}
    colors = generated(painter(config(min_clip_score=None, max_similarity=0.85), script), tmp_path, each_device)
    assert colors == [RED, GREEN, ORANGE, BLUE]
    assert read_manifest(tmp_path / "shards").rejected == {"clip_score": 0, "duplicate": 3}


def test_a_resumed_run_compares_with_the_images_of_finished_shards(tmp_path: Path) -> None:
    script = {(0, 0): RED, (1, 0): GREEN, (2, 0): RED, (2, 1): GREEN, (2, 2): ORANGE, (3, 0): BLUE}
    settings = config(min_clip_score=None, max_similarity=0.85)
    whole = generated(painter(settings, script), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        generated(painter(settings, script, batches=1), tmp_path / "cut")
    assert generated(painter(settings, script), tmp_path / "cut") == whole == [RED, GREEN, ORANGE, BLUE]
    assert content(tmp_path / "cut/shards") == content(tmp_path / "whole/shards")

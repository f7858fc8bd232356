"""Drawing pairs: exactly one image a prompt, black ones again, interrupted draws go on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gift_core.artifacts.shards import iterate_pairs, read_manifest
from gift_core.config import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.rejects import is_black
from gift_core.generators.synthesize import synthesize
from gift_core.seeds import seed_for

CONFIG = GeneratorConfig(
    pipeline="toy", revision=None, dtype="float32", steps=1, guidance=1.0, size=8, scheduler=None, negative_prompt="",
    batch_size=2, images_per_shard=3, image_format="png", max_redraws=2, seed=0, lora=None, memory=None, gates=None,
)  # fmt: skip
PROMPTS = pd.DataFrame({"prompt_id": range(7), "prompt": [f"a photo of a {i}." for i in range(7)], "seed": range(7)})


class Painter:
    """Draws a plain colour that tells its seed, and black where it was told to."""

    def __init__(self, config: GeneratorConfig = CONFIG, black_seeds: Sequence[int] = (), fail_after: int = 99) -> None:
        self.config, self.black_seeds, self.fail_after, self.batches = config, set(black_seeds), fail_after, 0

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        self.batches += 1
        if self.batches > self.fail_after:
            raise KeyboardInterrupt
        return [
            Image.new("RGB", (8, 8), (0, 0, 0) if seed in self.black_seeds else (seed % 255 + 1, seed // 255 % 255, 7))
            for seed in seeds
        ]


def colour(image: bytes) -> tuple[int, ...]:
    return tuple(np.asarray(Image.open(io.BytesIO(image)))[0, 0])


def image_seed(prompt: int, attempt: int = 0) -> int:
    return seed_for("synthesize", 0, prompt, attempt)


def test_every_prompt_gets_one_image_drawn_with_its_own_seed(tmp_path: Path) -> None:
    synthesize(PROMPTS, Painter(), tmp_path / "shards", work=tmp_path / "work")
    pairs = list(iterate_pairs(tmp_path / "shards"))
    assert [pair.prompt for pair in pairs] == list(PROMPTS.prompt)
    assert [colour(pair.image)[0] for pair in pairs] == [image_seed(i) % 255 + 1 for i in range(7)]
    assert [shard["name"] for shard in read_manifest(tmp_path / "shards")["shards"]] == [
        "00000.tar", "00001.tar", "00002.tar",
    ]  # fmt: skip


def test_a_black_image_is_drawn_again_with_its_next_seed_and_counted(tmp_path: Path) -> None:
    black = [image_seed(4, 0), image_seed(4, 1), image_seed(5, 0)]
    manifest = synthesize(PROMPTS, Painter(black_seeds=black), tmp_path / "shards", work=tmp_path / "work")
    assert manifest["redrawn"] == 3
    assert manifest["images"] == 7
    fifth = list(iterate_pairs(tmp_path / "shards"))[4]
    assert colour(fifth.image)[0] == image_seed(4, 2) % 255 + 1


def test_an_image_that_stays_black_is_an_error_that_names_its_prompt(tmp_path: Path) -> None:
    black = [image_seed(6, attempt) for attempt in range(3)]
    with pytest.raises(UserError, match=r"prompt 6 \('a photo of a 6\.'\) gave a black image 3 times.*max_redraws"):
        synthesize(PROMPTS, Painter(black_seeds=black), tmp_path / "shards", work=tmp_path / "work")
    assert not (tmp_path / "shards").exists()


def test_an_interrupted_draw_leaves_nothing_and_goes_on_after_its_last_whole_shard(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        synthesize(PROMPTS, Painter(fail_after=3), tmp_path / "shards", work=tmp_path / "work")
    assert not (tmp_path / "shards").exists()
    second = Painter()
    synthesize(PROMPTS, second, tmp_path / "shards", work=tmp_path / "work")
    assert second.batches == 3  # shard 0 was whole; two batches of shard 1 and one of shard 2 remained
    synthesize(PROMPTS, Painter(), tmp_path / "whole", work=tmp_path / "work")
    assert [p.image for p in iterate_pairs(tmp_path / "shards")] == [p.image for p in iterate_pairs(tmp_path / "whole")]
    assert not (tmp_path / "work").exists()


def test_what_other_settings_left_unfinished_is_not_taken_over(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        synthesize(PROMPTS, Painter(fail_after=3), tmp_path / "shards", work=tmp_path / "work")
    other = Painter(CONFIG.model_copy(update={"seed": 1}))
    synthesize(PROMPTS, other, tmp_path / "shards", work=tmp_path / "work")
    assert other.batches == 5


def test_the_same_draw_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthesize(PROMPTS, Painter(), tmp_path / name, work=tmp_path / "work")
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_too_little_disk_is_said_before_anything_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5))
    painter = Painter()
    with pytest.raises(UserError, match=r"are needed in .*shards, but only"):
        synthesize(PROMPTS, painter, tmp_path / "shards", work=tmp_path / "work")
    assert painter.batches == 0


def test_only_an_image_without_any_light_is_black() -> None:
    assert is_black(Image.new("RGB", (4, 4)))
    dim = Image.new("RGB", (4, 4))
    dim.putpixel((3, 3), (0, 0, 1))
    assert not is_black(dim)

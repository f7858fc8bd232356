"""Generating pairs: exactly one image per prompt, black images again, and interrupted runs resume.

With `each_device`, also where images are finished by threads while the next ones are generated: with the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from gift_core.artifacts.prompt_files import prompts_digest
from gift_core.artifacts.shards import iterate_pairs
from gift_core.config.experiment import FiltersConfig, GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import load_pipeline
from gift_core.generators.synthesize import identity, synthesize
from gift_core.seeds import seed_for
from tests.artifacts.damage import cut
from tests.clone import content
from tests.execution.pretended_helper import PretendedHelper
from tests.generators.conftest import CPU, FAMILIES
from tests.stages.toy_pipeline import wait

Color = tuple[int, int, int]
CONFIG = GeneratorConfig(
    pipeline="toy", revision=None, dtype="float32", steps=1, guidance=1.0, size=8, scheduler=None, negative_prompt="",
    batch_size=2, images_per_shard=3, image_format="png", max_redraws=2, seed=0, lora=None, memory=None, filters=None,
)  # fmt: skip
PROMPTS = pd.DataFrame({"prompt_id": range(7), "prompt": [f"a photo of a {i}." for i in range(7)], "seed": range(7)})


class Painter:
    """Paints a plain color for each seed, and black for chosen seeds. `before` gets the number of a batch."""

    def __init__(
        self,
        config: GeneratorConfig = CONFIG,
        black_seeds: Sequence[int] = (),
        before: Callable[[int], object] = lambda number: None,
        color: Callable[[int], Color] = lambda seed: (seed % 255 + 1, seed // 255 % 255, 7),
    ) -> None:
        self.config, self.black_seeds, self.before, self.color = config, set(black_seeds), before, color
        self.batches = 0

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        self.before(self.batches)
        self.batches += 1
        colors = ((0, 0, 0) if seed in self.black_seeds else self.color(seed) for seed in seeds)
        return [Image.new("RGB", (8, 8), color) for color in colors]


def generated(folder: Path, painter: Any, name: str = "shards", **options: Any) -> Any:
    options = {"filters": None, "device": CPU, **options}
    return synthesize(PROMPTS, painter, folder / name, work=folder / "work", **options)


def image_seed(prompt: int, attempt: int = 0) -> int:
    return seed_for("synthesize", 0, prompt, attempt)


def test_every_prompt_gets_one_image_with_its_own_seed_and_a_black_one_its_next(
    tmp_path: Path, each_device: torch.device
) -> None:
    """The images are those of the first release."""
    black = [image_seed(4, 0), image_seed(4, 1), image_seed(5, 0)]
    manifest = generated(tmp_path, Painter(black_seeds=black), device=each_device)
    assert (manifest.images, manifest.redrawn) == (7, 3)
    assert manifest.prompts == prompts_digest(PROMPTS)
    assert [shard.name for shard in manifest.shards] == ["00000.tar", "00001.tar", "00002.tar"]
    pairs = list(iterate_pairs(tmp_path / "shards"))
    assert [pair.prompt for pair in pairs] == list(PROMPTS.prompt)
    pixels = b"".join(Image.open(io.BytesIO(pair.image)).tobytes() for pair in pairs)
    expected = "b6b87c17e6df69fe8775d7c8791c45244c41b60ded4da9cba3e0c66ecad864f5"
    assert hashlib.sha256(pixels).hexdigest() == expected


def test_an_image_that_stays_black_is_an_error_that_names_its_prompt_and_the_cause(tmp_path: Path) -> None:
    half = CONFIG.model_copy(update={"dtype": "float16"})
    told = r"prompt 6 \('a photo of a 6\.'\) gave a black image 3 times.*In float16 a VAE may overflow .*bfloat16"
    with pytest.raises(UserError, match=told):
        generated(tmp_path, Painter(half, black_seeds=[image_seed(6, attempt) for attempt in range(3)]))
    assert not (tmp_path / "shards").exists()


def put_shard(work: Path, prompts: pd.DataFrame) -> None:
    synthesize(prompts, Painter(), work / "x", work=work / "y", filters=None, device=CPU)
    for file in (work / "x").glob("00000*"):
        file.replace(work / file.name)


@pytest.mark.parametrize(
    ("damage", "batches"),
    [
        (lambda work: None, 3),  # two of shard 1 and one of shard 2 remained
        (lambda work: cut(work / "00000.tar"), 5),
        (lambda work: put_shard(work, PROMPTS.assign(prompt="a tree.")), 5),
    ],
    ids=["sound", "cut short", "of another task"],
)
def test_an_interrupted_run_continues_after_its_last_sound_shard_to_the_same_bytes(
    damage: Callable[[Path], None], batches: int, tmp_path: Path, each_device: torch.device
) -> None:
    def interrupt(number: int) -> None:
        if number == 3:
            wait(lambda: list((tmp_path / "work").glob("*/00000_stats.json")), "the last file of the first shard")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path, Painter(before=interrupt), device=each_device)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("background")]
    assert not (tmp_path / "shards").exists()
    (unfinished,) = (tmp_path / "work").iterdir()
    damage(unfinished)
    second = Painter()
    generated(tmp_path, second, device=each_device)
    assert second.batches == batches and not (tmp_path / "work").exists()
    generated(tmp_path, Painter(), "whole")
    assert content(tmp_path / "shards") == content(tmp_path / "whole")


def test_shards_of_another_environment_are_not_continued_and_stay(tmp_path: Path) -> None:
    def interrupt(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path, Painter(before=interrupt), environment={"torch": "2.9", "threads": 2})
    (unfinished,) = (tmp_path / "work").iterdir()
    second = Painter()
    generated(tmp_path, second, environment={"torch": "2.10", "threads": 2})
    assert second.batches == 5 and unfinished.is_dir()
    third = Painter()
    generated(tmp_path, third, "again", environment={"torch": "2.9", "threads": 4})
    assert third.batches < 5 and not unfinished.exists()


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_same_bytes_with_overlap(
    family: str, tmp_path: Path, folder_of: Callable[[str], str], settings: Callable[..., Any], gpu: torch.device
) -> None:
    pipeline = load_pipeline(settings(folder_of(family), batch_size=2, images_per_shard=3), gpu)
    for name, device in (("one", CPU), ("other", gpu)):  # of what finishes the images; the pipeline stays where it is
        generated(tmp_path, pipeline, name, device=device)
    assert content(tmp_path / "one") == content(tmp_path / "other")


BLACK = [image_seed(prompt) for prompt in (0, 4, 6)]


def tools() -> Any:
    return Painter(black_seeds=BLACK), None, CPU


def test_a_helper_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers that are lost: tests/work/test_spread.py."""
    helper = PretendedHelper()
    monkeypatch.setattr("gift_core.generators.synthesize.spread", helper.spread)
    painter = Painter(black_seeds=BLACK)
    generated(tmp_path, painter, load_tools=tools)
    assert [shard.number for shard in helper.helped] == [0, 2] and 0 < painter.batches < 5
    generated(tmp_path, Painter(black_seeds=BLACK), "alone")
    assert content(tmp_path / "shards") == content(tmp_path / "alone")


def test_the_number_of_attempts_is_not_part_of_the_identity() -> None:
    scorer = {"name": "ViT-B-32", "pretrained": "openai"}
    filters = FiltersConfig(scorer=scorer, min_clip_score=0.2, max_similarity=None, max_redraws=3)
    filtered = CONFIG.model_copy(update={"filters": filters})
    patient = CONFIG.model_copy(update={"max_redraws": 9, "filters": filters.model_copy(update={"max_redraws": 9})})
    assert identity(filtered) == identity(patient)
    assert identity(filtered)["filters"]["min_clip_score"] == 0.2
    assert identity(CONFIG)["filters"] is None
    assert identity(CONFIG) != identity(CONFIG.model_copy(update={"batch_size": 3}))


def test_an_optional_key_counts_where_it_is_set() -> None:
    class Later(GeneratorConfig):
        eta: float | None = None

    settings = CONFIG.model_dump()
    assert identity(Later(**settings)) == identity(CONFIG)
    assert identity(Later(**settings, eta=0.5)) == {**identity(CONFIG), "eta": 0.5}

"""Generating pairs: exactly one image per prompt, black images again, and interrupted runs resume."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from gift_core.artifacts.prompt_files import prompts_digest
from gift_core.artifacts.shards import iterate_pairs, read_manifest
from gift_core.config.generator import FiltersConfig, GeneratorConfig
from gift_core.errors import ContractError, UserError
from gift_core.generators.filters import NoFilters, is_black
from gift_core.generators.pipeline import load_pipeline
from gift_core.generators.synthesize import identity, synthesize
from gift_core.seeds import seed_for
from tests.artifacts.damage import cut, tree_hash

CPU = torch.device("cpu")
CONFIG = GeneratorConfig(
    pipeline="toy", revision=None, dtype="float32", steps=1, guidance=1.0, size=8, scheduler=None, negative_prompt="",
    batch_size=2, images_per_shard=3, image_format="png", max_redraws=2, seed=0, lora=None, memory=None, filters=None,
)  # fmt: skip
PROMPTS = pd.DataFrame({"prompt_id": range(7), "prompt": [f"a photo of a {i}." for i in range(7)], "seed": range(7)})


class Painter:
    """Paints a plain color that encodes the seed, and black for chosen seeds."""

    def __init__(self, config: GeneratorConfig = CONFIG, black_seeds: Sequence[int] = (), fail_after: int = 99) -> None:
        self.config, self.black_seeds, self.fail_after, self.batches = config, set(black_seeds), fail_after, 0

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        self.batches += 1
        if self.batches > self.fail_after:
            raise KeyboardInterrupt
        return [
            Image.new("RGB", (8, 8), (0, 0, 0) if seed in self.black_seeds else (seed % 255 + 1, seed // 255 % 255, 7))
            for seed in seeds
        ]


def generated(folder: Path, painter: Painter, name: str = "shards") -> dict[str, Any]:
    return synthesize(PROMPTS, painter, folder / name, work=folder / "work", filters=NoFilters(), device=CPU)


def color(image: bytes) -> tuple[int, ...]:
    return tuple(np.asarray(Image.open(io.BytesIO(image)))[0, 0])


def image_seed(prompt: int, attempt: int = 0) -> int:
    return seed_for("synthesize", 0, prompt, attempt)


def pixels(folder: Path) -> str:
    """A hash of the pixels, independent of the file format."""
    shown = [np.asarray(Image.open(io.BytesIO(pair.image))).tobytes() for pair in iterate_pairs(folder)]
    return hashlib.sha256(b"".join(shown)).hexdigest()


def test_the_images_are_those_of_the_first_release(tmp_path: Path) -> None:
    black = [image_seed(4, 0), image_seed(4, 1), image_seed(5, 0)]
    generated(tmp_path, Painter(black_seeds=black), "a")
    assert pixels(tmp_path / "a") == "b6b87c17e6df69fe8775d7c8791c45244c41b60ded4da9cba3e0c66ecad864f5"


def test_the_miniature_generates_what_diffusers_generates_with_the_same_seeds(
    tmp_path: Path, project: Path, mini_params: dict[str, Any]
) -> None:
    from diffusers import StableDiffusionPipeline

    folder = str(project / "data/mini/diffusion")
    section = {**mini_params["generator"], "pipeline": folder, "steps": 3, "batch_size": 2, "images_per_shard": 3}
    text_to_image = load_pipeline(GeneratorConfig.model_validate(section), torch.device("cpu"))
    synthesize(PROMPTS.head(2), text_to_image, tmp_path / "a", work=tmp_path / "work", filters=NoFilters(), device=CPU)
    theirs = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)(
        list(PROMPTS.prompt[:2]), num_inference_steps=3, guidance_scale=3.0, height=32, width=32,
        generator=[torch.Generator("cpu").manual_seed(image_seed(prompt)) for prompt in range(2)],
    ).images  # fmt: skip
    for pair, expected in zip(iterate_pairs(tmp_path / "a"), theirs, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(pair.image))), np.asarray(expected))


def test_every_prompt_gets_one_image_with_its_own_seed(tmp_path: Path) -> None:
    generated(tmp_path, Painter())
    pairs = list(iterate_pairs(tmp_path / "shards"))
    assert [pair.prompt for pair in pairs] == list(PROMPTS.prompt)
    assert [color(pair.image)[0] for pair in pairs] == [image_seed(i) % 255 + 1 for i in range(7)]
    assert [shard["name"] for shard in read_manifest(tmp_path / "shards")["shards"]] == [
        "00000.tar", "00001.tar", "00002.tar",
    ]  # fmt: skip


def test_a_black_image_is_generated_again_with_its_next_seed_and_counted(tmp_path: Path) -> None:
    black = [image_seed(4, 0), image_seed(4, 1), image_seed(5, 0)]
    manifest = generated(tmp_path, Painter(black_seeds=black))
    assert manifest["redrawn"] == 3
    assert manifest["images"] == 7
    fifth = list(iterate_pairs(tmp_path / "shards"))[4]
    assert color(fifth.image)[0] == image_seed(4, 2) % 255 + 1


def test_an_image_that_stays_black_is_an_error_that_names_its_prompt(tmp_path: Path) -> None:
    black = [image_seed(6, attempt) for attempt in range(3)]
    with pytest.raises(UserError, match=r"prompt 6 \('a photo of a 6\.'\) gave a black image 3 times.*max_redraws"):
        generated(tmp_path, Painter(black_seeds=black))
    assert not (tmp_path / "shards").exists()


def test_an_interrupted_run_leaves_nothing_and_resumes_after_its_last_complete_shard(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path, Painter(fail_after=3))
    assert not (tmp_path / "shards").exists()
    second = Painter()
    generated(tmp_path, second)
    assert second.batches == 3  # shard 0 was complete; two batches of shard 1 and one of shard 2 remained
    generated(tmp_path, Painter(), "whole")
    assert [p.image for p in iterate_pairs(tmp_path / "shards")] == [p.image for p in iterate_pairs(tmp_path / "whole")]
    assert not (tmp_path / "work").exists()


def stats_without_its_tar(work: Path) -> None:
    (work / "00000.tar").unlink()


def a_tar_cut_short(work: Path) -> None:
    cut(work / "00000.tar")


def the_shard_of_another_task(work: Path) -> None:
    put_shard(work, PROMPTS.assign(prompt="a tree."), Painter())


def the_shard_of_another_generator(work: Path) -> None:
    put_shard(work, PROMPTS, Painter(CONFIG.model_copy(update={"seed": 1})))


def put_shard(work: Path, prompts: pd.DataFrame, painter: Painter) -> None:
    synthesize(prompts, painter, work / "x", work=work / "y", filters=NoFilters(), device=CPU)
    for file in (work / "x").glob("00000*"):
        file.replace(work / file.name)


def a_shard_too_many(work: Path) -> None:
    for file in list(work.glob("00000*")):
        shutil.copy(file, work / file.name.replace("00000", "00007"))


@pytest.mark.parametrize("damage", [
    stats_without_its_tar, a_tar_cut_short, the_shard_of_another_task, the_shard_of_another_generator,
])  # fmt: skip
def test_a_damaged_shard_is_generated_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    assert batches_after(damage, tmp_path) == 5  # all of them


def test_a_shard_too_many_is_not_published(tmp_path: Path) -> None:
    assert batches_after(a_shard_too_many, tmp_path) == 3


def batches_after(damage: Callable[[Path], None], folder: Path) -> int:
    """Interrupts a run after its first shard, damages that, and returns the batches that complete the same result."""
    with pytest.raises(KeyboardInterrupt):
        generated(folder, Painter(fail_after=3))
    (unfinished,) = (folder / "work").iterdir()
    damage(unfinished)
    second = Painter()
    generated(folder, second)
    generated(folder, Painter(), "whole")
    assert list(tree_hash(folder / "shards").values()) == list(tree_hash(folder / "whole").values())
    return second.batches


def test_a_shard_that_changes_before_it_is_published_ends_the_stage(tmp_path: Path) -> None:
    class Vandal(Painter):
        def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
            if self.batches == 4:
                (tar,) = (tmp_path / "work").glob("*/00000.tar")
                cut(tar)
            return super().generate(prompts, seeds)

    with pytest.raises(ContractError, match="00000.tar: its sha256 should be"):
        generated(tmp_path, Vandal())
    assert not (tmp_path / "shards").exists()
    healed = Painter()
    generated(tmp_path, healed)
    assert healed.batches == 2


def test_the_manifest_names_the_prompts(tmp_path: Path) -> None:
    manifest = generated(tmp_path, Painter())
    assert manifest["prompts"] == prompts_digest(PROMPTS)
    assert manifest["prompts"]["count"] == 7


def test_unfinished_work_of_other_settings_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path, Painter(fail_after=3))
    other = Painter(CONFIG.model_copy(update={"seed": 1}))
    generated(tmp_path, other)
    assert other.batches == 5
    first = Painter()
    generated(tmp_path, first, "first")
    assert first.batches == 3  # its own work is still there


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        generated(tmp_path, Painter(), name)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_too_little_disk_space_is_an_error_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5))
    painter = Painter()
    with pytest.raises(UserError, match=r"are needed in .*shards, but only"):
        generated(tmp_path, painter)
    assert painter.batches == 0


def test_more_shards_than_their_names_can_number_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gift_core.generators.synthesize.MAX_SHARDS", 2)
    with pytest.raises(UserError, match=r"images_per_shard: 3 makes 3 shards of 7 images.*Raise it"):
        generated(tmp_path, Painter())
    assert not (tmp_path / "work").exists()


def test_only_an_image_of_zeros_is_black() -> None:
    assert is_black(Image.new("RGB", (4, 4)))
    dim = Image.new("RGB", (4, 4))
    dim.putpixel((3, 3), (0, 0, 1))
    assert not is_black(dim)


def test_black_images_in_half_precision_point_to_the_vae(tmp_path: Path) -> None:
    half = CONFIG.model_copy(update={"dtype": "float16"})
    painter = Painter(half, black_seeds=[image_seed(6, attempt) for attempt in range(3)])
    with pytest.raises(UserError, match=r"In float16 a VAE may overflow to black .*bfloat16"):
        generated(tmp_path, painter)


def test_the_number_of_attempts_is_not_part_of_the_identity() -> None:
    filters = FiltersConfig(
        scorer={"name": "ViT-B-32", "pretrained": "openai"}, min_clip_score=0.2, max_similarity=None, max_redraws=3
    )
    filtered = CONFIG.model_copy(update={"filters": filters})
    patient = CONFIG.model_copy(update={"max_redraws": 9, "filters": filters.model_copy(update={"max_redraws": 9})})
    assert identity(filtered) == identity(patient)
    assert identity(filtered)["filters"]["min_clip_score"] == 0.2
    assert identity(CONFIG)["filters"] is None
    assert identity(CONFIG) != identity(CONFIG.model_copy(update={"batch_size": 3}))

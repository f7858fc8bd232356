"""The three teachers, their features of pairs, and batches of replayed pairs, each with its own features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gift_core.artifacts.model_folder import model_hash
from gift_core.artifacts.shards import Pair
from gift_core.clip.encoding import encode_images, encode_tokens
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import save_clip
from gift_core.config.replay_options import SyntheticReplayConfig
from gift_core.replay.pairs import PairReplay
from gift_core.replay.teachers import Teacher, load_teacher
from tests.clip.tiny import png, tiny_clip
from tests.tiny_world import moved
from tests.training.tiny_training import encoded

PROMPTS = ["a cat.", "a dog.", "a cat.", "a horse."]
PAIRS = [Pair(f"{row:05d}", row, prompt, png(row)) for row, prompt in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models that differ in every weight but the frozen temperature."""
    root = tmp_path_factory.mktemp("models")
    found = {"initial": root / "pretrained", "previous": root / "gift" / "birds"}
    save_clip(tiny_clip(), found["initial"], {})
    save_clip(moved(tiny_clip(), seed=1), found["previous"], {"method": "gift", "task": "birds"})
    return found


def teacher_of(folders: dict[str, Path], name: str, alpha: float | None = None) -> Teacher:
    options = SyntheticReplayConfig(images="synthetic", teacher=name, teacher_alpha=alpha)
    return load_teacher(options, **folders, device=torch.device("cpu"), precision="fp32")


def weights(teacher: Teacher) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in teacher.clip.model.named_parameters()}


@pytest.mark.parametrize("name", ["previous", "initial"])
def test_a_teacher_is_the_model_it_is_named_after(folders: dict[str, Path], name: str) -> None:
    expected = {"initial": tiny_clip(), "previous": moved(tiny_clip(), seed=1)}[name]
    teacher = teacher_of(folders, name)
    assert teacher.model == model_hash(folders[name]) and not teacher.clip.model.training
    for key, value in weights(teacher).items():
        assert torch.equal(value, expected.model.get_parameter(key).detach()), key


def test_alpha_is_the_share_of_the_model_before_the_task(folders: dict[str, Path]) -> None:
    initial, previous = weights(teacher_of(folders, "initial")), weights(teacher_of(folders, "previous"))
    mixed = teacher_of(folders, "mix", 0.25)
    mix = weights(mixed)
    for name, value in mix.items():
        torch.testing.assert_close(value, 0.25 * previous[name] + 0.75 * initial[name], rtol=0, atol=1e-6)
    previous_hash, initial_hash = model_hash(folders["previous"]), model_hash(folders["initial"])
    assert mixed.model == f"0.25 * {previous_hash} + the rest * {initial_hash}"
    assert torch.equal(mixed.clip.scale, teacher_of(folders, "initial").clip.scale)  # to the last bit
    assert not mixed.clip.model.training


def test_pairs_have_their_own_teacher_features_in_any_order_of_the_file() -> None:
    clip = tiny_clip()
    backwards = encoded(clip, PAIRS[::-1], batch_size=4)
    replay = PairReplay(clip, iter(PAIRS), backwards, batch_size=4, names=("test",), cache_budget=CacheBudget())
    (batch,) = replay.sample(0)
    with torch.no_grad():
        torch.testing.assert_close(encode_images(clip, batch.images_MCHW), batch.teacher_image_MD)
        torch.testing.assert_close(encode_tokens(clip, batch.tokens_ML), batch.teacher_text_MD)
    same_MM = batch.prompt_ids_M[:, None] == batch.prompt_ids_M[None, :]
    assert int(same_MM.sum()) == 6  # four pairs, two of them with the same prompt

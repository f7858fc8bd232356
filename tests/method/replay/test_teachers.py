"""The three teachers, and their features and Fisher sums of pairs: the same bits in units and with a helper.

Of interrupted work: tests/interruption.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gift_core.artifacts.model_folder import model_hash
from gift_core.artifacts.shards import Pair, columns_of
from gift_core.clip.encoding import encode_images, encode_tokens, image_features, tokenize
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import Clip, save_clip
from gift_core.computation import UnitRunner, run_serially
from gift_core.config.replay_options import SyntheticReplayConfig
from gift_core.method.replay import fisher, teacher_features
from gift_core.method.replay.fisher import estimate_fisher, fisher_of_pairs
from gift_core.method.replay.pairs import PairReplay
from gift_core.method.replay.source import Sampling, Teacher, load_teacher
from gift_core.method.replay.teacher_features import encode_pairs
from gift_core.work.resumable import ResumableRunner
from tests.clip.tiny import png, tiny_clip
from tests.execution.pretended_helper import run_with_helper
from tests.method.training.tiny_training import encoded
from tests.tiny_world import moved

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


def test_alpha_is_the_share_of_the_model_before_the_task(folders: dict[str, Path]) -> None:
    initial, previous = weights(teacher_of(folders, "initial")), weights(teacher_of(folders, "previous"))
    mixed = teacher_of(folders, "mix", 0.3)
    expected = {name: 0.3 * value + 0.7 * initial[name] for name, value in previous.items()}
    torch.testing.assert_close(weights(mixed), expected, rtol=0, atol=1e-6)
    previous_hash, initial_hash = model_hash(folders["previous"]), model_hash(folders["initial"])
    assert mixed.model == f"0.3 * {previous_hash} + the rest * {initial_hash}"
    same = weights(teacher_of(dict.fromkeys(folders, folders["initial"]), "mix", 0.3))
    torch.testing.assert_close(same, initial, rtol=0, atol=0)  # to the last bit
    assert not mixed.clip.model.training


def test_pairs_have_their_own_teacher_features_in_any_order_of_the_file() -> None:
    clip = tiny_clip()
    backwards = encoded(clip, PAIRS[::-1], batch_size=4)
    replay = PairReplay(clip, iter(PAIRS), backwards, Sampling(4, 4, ("test",)))
    batch = replay.sample(0)
    with torch.no_grad():
        torch.testing.assert_close(encode_images(clip, batch.images_MCHW), batch.teacher_image_MD)
        torch.testing.assert_close(encode_tokens(clip, batch.tokens_ML), batch.teacher_text_MD)
    same_MM = batch.prompt_ids_M[:, None] == batch.prompt_ids_M[None, :]
    assert int(same_MM.sum()) == 6  # four pairs, two of them with the same prompt


Arrays = dict[str, np.ndarray]
Compute = Callable[..., Arrays]
COUNT, BATCH = 11, 2
MORE_PAIRS = [Pair(f"{n}", n, f"a photo of {n} cats{' and dogs' * (n == 9)}.", png(n)) for n in range(COUNT)]


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of two batches."""
    monkeypatch.setattr(teacher_features, "BATCHES", 2)
    monkeypatch.setattr(fisher, "BATCHES", 2)
    monkeypatch.setattr("gift_core.work.overlap.DECODERS", 1)  # images are decoded two ahead


def load_clip() -> Clip:
    return moved(tiny_clip(), seed=1)


def features(*, load_clip: Callable[[], Clip] | None = None, run: UnitRunner = run_serially) -> Arrays:
    teacher = Teacher(tiny_clip(), "a model", load_clip)
    found = encode_pairs(teacher, MORE_PAIRS, batch_size=BATCH, run=run)[0]
    assert found.keys == tuple(pair.key for pair in MORE_PAIRS)
    return {"image_MD": found.image_MD, "text_MD": found.text_MD}


def estimated(estimator: str = "per_sample", **options: Any) -> Arrays:
    _, *columns = columns_of(MORE_PAIRS)
    return fisher_of_pairs(load_clip(), *columns, estimator=estimator, batch_size=BATCH, **options)


def require_same_bits(found: Arrays, expected: Arrays) -> None:
    assert list(found) == list(expected)
    assert [name for name in found if found[name].tobytes() != expected[name].tobytes()] == []


def test_fisher_information_in_units_is_that_of_all_pairs_at_once() -> None:
    clip = load_clip()
    pixels, tokens = (
        evaluation_pixels(clip, (p.image for p in MORE_PAIRS)),
        tokenize(clip, [p.prompt for p in MORE_PAIRS]),
    )
    found = estimate_fisher(clip, pixels, tokens, estimator="per_sample", batch_size=BATCH)
    require_same_bits(estimated(), {name: value.numpy() for name, value in found.items()})


def test_features_in_units_are_those_of_batches_in_a_row() -> None:
    clip = tiny_clip()
    pixels = [
        evaluation_pixels(clip, [pair.image for pair in MORE_PAIRS[at : at + BATCH]]) for at in range(0, COUNT, BATCH)
    ]
    expected = torch.cat([image_features(clip, each, batch_size=BATCH).cpu() for each in pixels])
    assert np.array_equal(features()["image_MD"], expected.numpy())


@pytest.mark.parametrize(
    ("compute", "loads"), [(features, tiny_clip), (estimated, load_clip), (partial(estimated, "batch"), load_clip)]
)
def test_a_helper_changes_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compute: Compute, loads: Callable[[], Clip]
) -> None:
    run, helper = run_with_helper(tmp_path / "work", monkeypatch)
    require_same_bits(compute(run=run, load_clip=loads), compute())
    assert [pairs for _, pairs in helper.helped] == [range(4), range(8, 11)]


def test_the_unit_of_a_lost_helper_is_computed_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gift_core.work.resumable.spread", lambda each, *given, **options: nullcontext(iter([*each[1:], each[0]]))
    )
    require_same_bits(features(run=ResumableRunner(tmp_path)), features())

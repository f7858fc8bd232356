"""The teacher's features and Fisher sums: the same bits in units and with a helper. Kills: tests/interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gift_core.artifacts.shards import Pair
from gift_core.clip.encoding import image_features, tokenize
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import Clip
from gift_core.computation import Run, in_turn
from gift_core.replay import fisher, teacher_features
from gift_core.replay.fisher import estimate_fisher, fisher_of_pairs
from gift_core.replay.teacher_features import encode_pairs
from gift_core.replay.teachers import Teacher
from tests.clip.tiny import png, tiny_clip
from tests.execution.pretended_helper import run_with_helper
from tests.tiny_world import moved

Arrays = dict[str, np.ndarray]
Compute = Callable[..., Arrays]
COUNT, BATCH = 11, 2
PAIRS = [Pair(f"{n}", n, f"a photo of {n} cats{' and dogs' * (n == 9)}.", png(n)) for n in range(COUNT)]


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of two batches."""
    monkeypatch.setattr(teacher_features, "BATCHES", 2)
    monkeypatch.setattr(fisher, "BATCHES", 2)
    monkeypatch.setattr("gift_core.clip.images.CHUNK", 2)  # images are decoded two at a time


def load_clip() -> Clip:
    return moved(tiny_clip(), seed=1)


def pairs_from(first: int) -> Iterator[Pair]:
    return islice(PAIRS, first, None)


def encoded(precision: str = "fp32", *, load_clip: Callable[[], Clip] | None = None, run: Run = in_turn) -> Arrays:
    teacher = Teacher(tiny_clip(precision=precision), "a model", load_clip)
    found = encode_pairs(teacher, pairs_from, COUNT, batch_size=BATCH, run=run)[0]
    assert found.keys == tuple(pair.key for pair in PAIRS)
    return {"image_MD": found.image_MD, "text_MD": found.text_MD}


def estimated(estimator: str = "per_sample", **options: Any) -> Arrays:
    return fisher_of_pairs(load_clip(), pairs_from, estimator=estimator, batch_size=BATCH, **options)


def require_same_bits(found: Arrays, expected: Arrays) -> None:
    assert list(found) == list(expected)
    assert [name for name in found if found[name].tobytes() != expected[name].tobytes()] == []


def test_fisher_information_in_units_is_that_of_all_pairs_at_once() -> None:
    clip = load_clip()
    pixels, tokens = evaluation_pixels(clip, (p.image for p in PAIRS)), tokenize(clip, [p.prompt for p in PAIRS])
    found = estimate_fisher(clip, pixels, tokens, estimator="per_sample", batch_size=BATCH)
    require_same_bits(estimated(), {name: value.numpy() for name, value in found.items()})


def test_features_in_units_are_those_of_batches_in_a_row() -> None:
    clip = tiny_clip()
    pixels = [evaluation_pixels(clip, [pair.image for pair in PAIRS[at : at + BATCH]]) for at in range(0, COUNT, BATCH)]
    expected = torch.cat([image_features(clip, each, batch_size=BATCH).cpu() for each in pixels])
    assert np.array_equal(encoded()["image_MD"], expected.numpy())


@pytest.mark.parametrize(
    ("compute", "loads"), [(encoded, tiny_clip), (estimated, load_clip), (partial(estimated, "batch"), load_clip)]
)
def test_a_helper_changes_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compute: Compute, loads: Callable[[], Clip]
) -> None:
    run, helper = run_with_helper(tmp_path / "work", monkeypatch)
    require_same_bits(compute(run=run, load_clip=loads), compute())
    assert [pairs for _, pairs in helper.helped] == [range(4), range(8, 11)]

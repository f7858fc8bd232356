"""Sums over ranges of pairs: added in their order, bounded in memory, continued, and the same with helpers."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from gift_core.artifacts import snapshot as snapshots
from gift_core.artifacts.fisher_file import FISHER
from gift_core.artifacts.shards import Pair
from gift_core.artifacts.snapshot import NOT_KEPT, Snapshot
from gift_core.clip.encoding import tokenize
from gift_core.clip.images import evaluation_pixels, normalize
from gift_core.clip.model import Clip
from gift_core.replay import fisher
from gift_core.replay.fisher import batch_slices, estimate_fisher, fisher_of_pairs, per_sample
from gift_core.replay.range_sums import BATCHES, PairRange, RangeSums
from gift_core.replay.teach import teach
from gift_core.replay.teachers import Teacher
from tests.clip.tiny import png, tiny_clip
from tests.execution.pretended_helper import every_other_unit
from tests.replay.test_teach import STATIC_FISHER, STEPS, Steps, method
from tests.replay.test_teacher_features import InterruptedTeachingError, stopping
from tests.tiny_world import make_world, moved

COUNT, BATCH = 11, 2
PAIRS = [Pair(f"{n}", n, f"a photo of {n} cats{' and dogs' * (n == 9)}.", png(n)) for n in range(COUNT)]
Diagonals = dict[str, np.ndarray]


def load_clip() -> Clip:
    return moved(tiny_clip(), seed=1)


def pairs_from(first: int) -> Iterator[Pair]:
    return islice(PAIRS, first, None)


def estimated(**options: Any) -> Diagonals:
    settings = {"estimator": "per_sample", "batch_size": BATCH, "snapshot": NOT_KEPT, **options}
    return fisher_of_pairs(load_clip(), pairs_from, **settings)


def require_same_bits(found: Diagonals, expected: Diagonals) -> None:
    assert list(found) == list(expected)
    assert [name for name in found if found[name].tobytes() != expected[name].tobytes()] == []


def sum_of(clip: Clip, pairs: range) -> dict[str, torch.Tensor]:
    """The sum of the squared gradients over the pairs, batch after batch."""
    weights = {name: value.detach() for name, value in clip.trainable().items()}
    total = {name: torch.zeros_like(value) for name, value in weights.items()}
    pixels = evaluation_pixels(clip, (pair.image for pair in PAIRS))[pairs.start : pairs.stop]
    tokens = tokenize(clip, [pair.prompt for pair in PAIRS])[pairs.start : pairs.stop]
    with fisher._evaluation_mode(clip.model), sdpa_kernel(SDPBackend.MATH):
        for batch in batch_slices(len(pairs), BATCH):
            loss, rows = fisher._contrast(clip, normalize(clip, pixels[batch]), tokens[batch])
            for gradients in per_sample(loss, weights, rows):
                for name, gradient in gradients.items():
                    total[name] += gradient.square().sum(dim=0)
    return total


def test_one_range_has_the_bits_of_a_sum_over_all_batches() -> None:
    assert COUNT <= BATCHES * BATCH
    expected = {name: (total / COUNT).numpy() for name, total in sum_of(load_clip(), range(COUNT)).items()}
    require_same_bits(estimated(), expected)


def test_several_ranges_have_the_bits_of_their_sums_added_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fisher, "BATCHES", 2)  # ranges of 4, 4 and 3 pairs
    first, second, third = (sum_of(load_clip(), pairs) for pairs in (range(4), range(4, 8), range(8, 11)))
    expected = {name: (((first[name] + second[name]) + third[name]) / COUNT).numpy() for name in first}
    require_same_bits(estimated(), expected)
    clip = load_clip()
    pixels, tokens = evaluation_pixels(clip, (p.image for p in PAIRS)), tokenize(clip, [p.prompt for p in PAIRS])
    found = estimate_fisher(clip, pixels, tokens, estimator="per_sample", batch_size=BATCH)
    require_same_bits({name: value.numpy() for name, value in found.items()}, expected)


@pytest.mark.parametrize("estimator", ["per_sample", "batch"])
def test_helpers_change_no_bit(monkeypatch: pytest.MonkeyPatch, estimator: str) -> None:
    monkeypatch.setattr(fisher, "BATCHES", 1)
    alone = estimated(estimator=estimator)
    monkeypatch.setattr(fisher, "spread", every_other_unit)
    require_same_bits(estimated(estimator=estimator, load_clip=load_clip), alone)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_an_interrupted_run_continues_in_its_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))
    monkeypatch.setattr(fisher, "BATCHES", 2)
    said: list[str] = []
    kept = {"snapshot": Snapshot(tmp_path / "fisher.safetensors", said.append)}
    with monkeypatch.context() as patch:
        patch.setattr(fisher, "_contrast", stopping(stop_at, "gift_core.replay.fisher._contrast"))
        with pytest.raises(InterruptedTeachingError):
            estimated(**kept)
    with monkeypatch.context() as patch:
        patch.setattr(fisher, "_contrast", stopping(5 - stop_at, "gift_core.replay.fisher._contrast"))
        found = estimated(**kept)  # no batch twice
    require_same_bits(found, estimated())
    assert said == [f"Fisher information: continues at pair {2 * stop_at} of {COUNT}"]


def test_what_a_stage_keeps_while_an_earlier_range_is_missing_does_not_count(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "sums.safetensors", _written_at=float("-inf"))
    sums = RangeSums(length=4, workers=3)
    sums.add(unit(0), {"w": numbers(1.0)})
    sums.keep(snapshot, unit(2), {"w": torch.ones(3)}, 2)
    again = RangeSums(length=4, workers=3)
    assert again.resume(snapshot) == 4
    assert again.begun(unit(1)) is None and again.total["w"].tolist() == [1, 1, 1]


def unit(number: int) -> PairRange:
    return PairRange(range(4 * number, 4 * number + 4), torch.empty(4, 0))


def numbers(value: float) -> np.ndarray:
    return np.full(3, value, np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_whoever_is_first_the_sums_are_added_in_order_and_few_of_them_wait(seed: int) -> None:
    rng, workers, count = random.Random(seed), 3, 40
    values = [rng.uniform(0, 1) * 10 ** rng.randrange(6) for _ in range(count)]
    expected = numbers(0)
    for value in values:
        expected = expected + numbers(value)
    sums, following, busy = RangeSums(length=4, workers=workers), 0, list[int]()
    while sums.end < 4 * count:
        while len(busy) < workers and following < count and sums.may_begin(unit(following)):
            busy.append(following)
            following += 1
        done = busy.pop(rng.randrange(len(busy)))
        sums.add(unit(done), {"w": numbers(values[done])})
        assert len(sums._waiting) < workers
        assert len(sums._waiting) + len(busy) <= workers
    assert sums.total["w"].tobytes() == expected.tobytes()


def test_arrays_that_cannot_be_written_and_single_numbers_are_added() -> None:
    sums, read_only = RangeSums(length=4, workers=1), numbers(2.0)
    read_only.flags.writeable = False
    for number in range(2):
        sums.add(unit(number), {"w": read_only, "bias": np.array(1.5, np.float32)})
    assert sums.total["w"].tolist() == [4, 4, 4]
    assert torch.from_numpy(sums.total["bias"]).item() == 3
    assert read_only.tolist() == [2, 2, 2]


@pytest.mark.parametrize("images", ["synthetic", "reference"])
def test_the_stage_writes_the_same_file_with_helpers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: str
) -> None:
    (tmp_path / "mine").mkdir()
    for number in range(7):
        (tmp_path / "mine" / f"{number}.png").write_bytes(png(900 + number))
        (tmp_path / "mine" / f"{number}.txt").write_text(f"a thing number {number}")
    options = {"images": images, "teacher": "previous", "fisher": {"estimator": "batch", "accumulate": False}}
    row = method(
        options | ({"folder": "mine"} if images == "reference" else {}), losses={}, consolidation=STATIC_FISHER
    )
    steps = Steps(make_world(tmp_path), tmp_path, row, {task: Teacher(load_clip(), "model") for task in STEPS})
    monkeypatch.setattr(fisher, "BATCHES", 1)
    units: list[PairRange] = []

    def taught(folder: Path, **changes: Any) -> bytes:
        source = dataclasses.replace(steps.source("digits"), teacher=folder, batch_size=2, **changes)
        teach(steps.teachers["digits"], row, source)
        return (folder / FISHER).read_bytes()

    alone = taught(tmp_path / "alone")
    monkeypatch.setattr(fisher, "spread", partial(noted, units))
    assert taught(tmp_path / "helped", load_clip=load_clip) == alone
    assert [each.pairs for each in units] == [range(2), range(2, 4), range(4, 7)]


def noted(found: list[PairRange], units: list[PairRange], load: Any, **options: Any) -> Any:
    found.extend(units)
    return every_other_unit(units, load, **options)

"""Features and Fisher sums of an interrupted run are continued, in the same batches and to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gift_core.artifacts import snapshot as snapshots
from gift_core.artifacts.snapshot import Snapshot
from gift_core.clip.encoding import tokenize
from gift_core.clip.images import Read, evaluation_pixels
from gift_core.replay import fisher
from gift_core.replay.fisher import estimate_fisher
from gift_core.replay.teacher_features import resumed_image_features, resumed_token_features
from tests.clip.tiny import png, tiny_clip

COUNT, BATCH = 7, 2
TEXTS = [f"a photo of {number} cats." for number in range(COUNT)]


class InterruptedTeachingError(Exception):
    """Stands for a kill."""


@pytest.fixture(autouse=True)
def snapshot_of_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))


def reads(done: list[int], stop_at: int = COUNT) -> list[Read]:
    """Images that note when they are read. The one with number `stop_at` interrupts the run."""

    def read_of(number: int) -> Read:
        def read() -> bytes:
            if number == stop_at:
                raise InterruptedTeachingError
            done.append(number)
            return png(number)

        return read

    return [read_of(number) for number in range(COUNT)]


@pytest.mark.parametrize("precision", ["fp32", "amp_bf16"])
def test_image_features_continue_after_the_last_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr("gift_core.clip.images.CHUNK", 2)  # images are decoded two at a time
    clip, said = tiny_clip(precision=precision), list[str]()
    whole = resumed_image_features(clip, reads([]), count=COUNT, batch_size=BATCH, snapshot=Snapshot())
    snapshot = Snapshot(tmp_path / "images.safetensors", said.append)
    with pytest.raises(InterruptedTeachingError):
        resumed_image_features(clip, reads([], stop_at=5), count=COUNT, batch_size=BATCH, snapshot=snapshot)
    done: list[int] = []
    assert torch.equal(
        resumed_image_features(clip, reads(done), count=COUNT, batch_size=BATCH, snapshot=snapshot), whole
    )
    assert (sorted(done), said) == ([4, 5, 6], ["images: continues at 4 of 7"])
    done.clear()
    assert torch.equal(
        resumed_image_features(clip, reads(done), count=COUNT, batch_size=BATCH, snapshot=snapshot), whole
    )
    assert done == []


def test_text_features_continue_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, said = tiny_clip(), list[str]()
    tokens = tokenize(clip, TEXTS)
    whole = resumed_token_features(clip, tokens, batch_size=BATCH, snapshot=Snapshot())
    snapshot = Snapshot(tmp_path / "texts.safetensors", said.append)
    with monkeypatch.context() as patch:
        patch.setattr("gift_core.clip.encoding.encode_tokens", stopping(3, "gift_core.clip.encoding.encode_tokens"))
        with pytest.raises(InterruptedTeachingError):
            resumed_token_features(clip, tokens, batch_size=BATCH, snapshot=snapshot)
    assert torch.equal(resumed_token_features(clip, tokens, batch_size=BATCH, snapshot=snapshot), whole)
    assert said == ["texts: continues at 6 of 7"]


@pytest.mark.parametrize("estimator", ["per_sample", "batch"])
def test_fisher_sums_continue_after_the_last_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimator: str
) -> None:
    clip, said = tiny_clip(), list[str]()
    pairs = evaluation_pixels(clip, map(png, range(COUNT))), tokenize(clip, TEXTS)
    whole = estimate_fisher(clip, *pairs, estimator=estimator, batch_size=BATCH)
    snapshot = Snapshot(tmp_path / "fisher.safetensors", said.append)
    with monkeypatch.context() as patch:
        patch.setattr(fisher, "_contrast", stopping(2, "gift_core.replay.fisher._contrast"))
        with pytest.raises(InterruptedTeachingError):
            estimate_fisher(clip, *pairs, estimator=estimator, batch_size=BATCH, snapshot=snapshot)
    found = estimate_fisher(clip, *pairs, estimator=estimator, batch_size=BATCH, snapshot=snapshot)
    assert all(torch.equal(found[name], value) for name, value in whole.items())
    assert said == ["Fisher information: continues at pair 4 of 7"]


def stopping(calls: int, name: str) -> Callable[..., object]:
    """The function called `name`, which interrupts the run after some calls."""
    module, _, attribute = name.rpartition(".")
    function = getattr(__import__(module, fromlist=["_"]), attribute)
    left: Iterator[int] = iter(range(calls))

    def call(*arguments: object, **options: object) -> object:
        if next(left, None) is None:
            raise InterruptedTeachingError
        return function(*arguments, **options)

    return call

"""Prefetching changes no batch and leaves no thread."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
import torch

from gift_core.work.overlap import prefetched
from tests.clip.test_batches import task
from tests.clip.tiny import CPU, tiny_clip

THREADED = torch.device("meta")  # it has no stream, and a thread prefetches


def prefetching_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("background")]


def test_prefetched_batches_are_those_of_sampling_in_turn(device: torch.device) -> None:
    """On a GPU each batch is read behind queued work, when the copy of the next one could have overwritten it."""
    expected = [task().sample(step) for step in range(6)]
    work = torch.randn(512, 512, device=device)
    read = []
    images = task(clip=tiny_clip(device=device))
    for batch in prefetched(map(images.sample, range(6)), device=THREADED if device == CPU else device):
        for _ in range(10):
            work = torch.nn.functional.normalize(work @ work)
        read.append((batch.images_BCHW.clone(), batch.targets["labels_B"].clone()))
    assert len(read) == 6
    for (images_BCHW, labels_B), batch in zip(read, expected, strict=True):
        assert torch.equal(labels_B.cpu(), batch.targets["labels_B"])
        torch.testing.assert_close(images_BCHW.cpu(), batch.images_BCHW, rtol=0, atol=0 if device == CPU else 1e-5)
    assert not prefetching_threads()


def test_an_error_of_sampling_is_raised_at_its_batch() -> None:
    def sample(step: int) -> int:
        if step == 2:
            raise ValueError("broken")
        return step

    batches = prefetched(map(sample, range(5)), device=THREADED)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(batches)
    assert not prefetching_threads()


def test_the_thread_ends_when_the_loop_is_broken_off() -> None:
    sampled: list[int] = []
    batches = prefetched(map(sampled.append, range(1000)), device=THREADED)
    with pytest.raises(KeyboardInterrupt), closing(batches):
        for step, _ in enumerate(batches):
            if step == 3:
                raise KeyboardInterrupt
    assert not prefetching_threads()
    assert len(sampled) <= 5

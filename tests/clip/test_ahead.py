"""Drawing ahead changes no batch and leaves no thread, however the loop ends."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
import torch

from gift_core.clip.ahead import drawn, drawn_ahead
from tests.clip.test_batches import training_images


def drawing_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("draw")]


def test_batches_are_those_of_drawing_in_turn() -> None:
    images = training_images()
    ahead = list(drawn_ahead(training_images().draw, 6))
    assert len(ahead) == 6
    for step, batch in enumerate(ahead):
        expected = images.draw(step)
        assert torch.equal(batch.images_BCHW, expected.images_BCHW)
        assert torch.equal(batch.labels_B, expected.labels_B)
    assert not drawing_threads()


def test_the_next_batch_is_drawn_while_this_one_is_used() -> None:
    begun = [threading.Event() for _ in range(3)]

    def draw(step: int) -> int:
        begun[step].set()
        return step

    batches = drawn_ahead(draw, 3)
    assert next(batches) == 0
    assert begun[1].wait(timeout=10)
    assert not begun[2].is_set()
    batches.close()


def test_an_error_of_a_draw_is_raised_at_its_batch() -> None:
    def draw(step: int) -> int:
        if step == 2:
            raise ValueError("broken")
        return step

    batches = drawn_ahead(draw, 5)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(batches)
    assert not drawing_threads()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_a_loop_that_is_broken_off_ends_the_thread(interruption: type[BaseException]) -> None:
    drawn: list[int] = []
    with pytest.raises(interruption), closing(drawn_ahead(lambda step: drawn.append(step), 1000)) as batches:
        for step, _ in enumerate(batches):
            if step == 3:
                raise interruption
    assert not drawing_threads()
    assert len(drawn) <= 5


@pytest.mark.parametrize(("device", "ahead"), [("cpu", False), ("cuda", True), ("mps", True)])
def test_only_beside_a_device_of_its_own_a_thread_draws(device: str, ahead: bool) -> None:
    batches = drawn(lambda step: (step, threading.current_thread().name), 3, device=torch.device(device))
    steps, threads = zip(*batches, strict=True)
    assert steps == (0, 1, 2)
    assert {name.startswith("draw") for name in threads} == {ahead}
    assert not drawing_threads()

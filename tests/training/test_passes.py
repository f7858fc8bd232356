"""Passes in parts give the features and gradients of the whole batch, and hold the activations of one part."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from open_clip.model import CLIP

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.model import Clip
from gift_core.losses import PairFeatures, task_loss
from gift_core.objectives.table import TERMS
from gift_core.training.encoders import EncoderStrategy, FullBatch, GradientCache, encoder_strategy, random_state
from tests.clip.tiny import tiny_clip, tiny_config

PROMPTS = ["a cat.", "a dog.", "a cat.", "a horse.", "a bird.", "a fish.", "a tree."]
OPTIONS: dict[str, dict[str, float]] = {
    "distill": {"temperature": 2.0},
    "distill_reverse_kl": {"temperature": 2.0},
    "distill_features": {},
    "distill_image_side": {"temperature": 2.0},
    "distill_text_side": {"temperature": 2.0},
    "align": {"label_smoothing": 0.2},
}
Loss = Callable[[Clip, EncoderStrategy], torch.Tensor]


def images(count: int, *, side: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def teacher_features(count: int, *, seed: int) -> torch.Tensor:
    rows = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=-1)


def term_loss(name: str, *, texts: int = 7) -> Loss:
    """The term `name` on 7 images and the first `texts` prompts."""
    term = TERMS[name].model_validate({"weight": 1.0, **OPTIONS[name]}).build()

    def loss(clip: Clip, passes: EncoderStrategy) -> torch.Tensor:
        tokens_ML = tokenize(clip, PROMPTS[:texts])
        encodings = PairFeatures(
            encode_images=lambda: passes.encode_images(images(7, side=clip.image_size)),
            encode_texts=lambda: passes.encode_tokens(tokens_ML),
            teacher_image_MD=teacher_features(7, seed=1),
            teacher_text_MD=teacher_features(texts, seed=2),
            prompt_ids_M=torch.tensor([PROMPTS.index(prompt) for prompt in PROMPTS[:texts]]),
            scale=clip.scale,
        )
        return term(encodings)

    return loss


def loss_of_the_task(clip: Clip, passes: EncoderStrategy) -> torch.Tensor:
    return task_loss(
        passes.encode_images(images(7, side=clip.image_size)),
        passes.encode_tokens(tokenize(clip, PROMPTS[1:])),
        labels_B=torch.tensor([0, 1, 2, 3, 4, 5, 0]),
        scale=clip.scale,
        label_smoothing=0.2,
    )


LOSSES: dict[str, Loss] = {name: term_loss(name) for name in TERMS} | {
    "image side against a bank": term_loss("distill_image_side", texts=5),
    "task": loss_of_the_task,
}


def gradients(clip: Clip, passes: EncoderStrategy, loss: Loss) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss, and the gradients of all parameters that have some."""
    clip.model.zero_grad()
    value = loss(clip, passes)
    passes.backward(value)
    return value.item(), {name: p.grad.clone() for name, p in clip.trainable().items() if p.grad is not None}


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Of all tensors, relative to the whole gradient's norm."""
    assert list(one) == list(other)
    norm = torch.stack([value.norm() for value in one.values()]).norm()
    return max(((one[name] - other[name]).norm() / norm).item() for name in one)


def test_every_term_is_tested() -> None:
    assert set(OPTIONS) == set(TERMS)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("size", [1, 3, 4])
def test_parts_give_the_gradients_of_the_whole_batch(loss: Loss, size: int) -> None:
    clip = tiny_clip()
    value, whole = gradients(clip, FullBatch(clip), loss)
    value_of_parts, parts = gradients(clip, GradientCache(clip, size), loss)
    assert value_of_parts == pytest.approx(value, rel=1e-6)
    assert largest_difference(whole, parts) < 2e-6


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
@pytest.mark.parametrize("loss", [LOSSES["distill"], LOSSES["task"]], ids=["distill", "task"])
def test_parts_agree_with_the_whole_batch_under_autocast(loss: Loss, precision: str) -> None:
    clip = tiny_clip(precision=precision)
    _, whole = gradients(clip, FullBatch(clip), loss)
    _, parts = gradients(clip, GradientCache(clip, 3), loss)
    assert largest_difference(whole, parts) < 2e-2


def test_a_convolutional_tower_gives_the_same_gradients_in_parts() -> None:
    clip = tiny_clip(tower="resnet")  # in evaluation mode, as its BatchNorm is while it is trained
    _, whole = gradients(clip, FullBatch(clip), LOSSES["distill"])
    _, parts = gradients(clip, GradientCache(clip, 3), LOSSES["distill"])
    assert largest_difference(whole, parts) < 2e-6


def test_a_batch_that_fits_into_one_part_is_passed_whole() -> None:
    clip = tiny_clip()
    _, whole = gradients(clip, FullBatch(clip), loss_of_the_task)
    _, parts = gradients(clip, GradientCache(clip, 7), loss_of_the_task)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.fixture
def seen() -> Iterator[tuple[Clip, list[tuple[int, bool]]]]:
    """A model, and of each call of its image tower how many images it got and whether it kept a graph."""
    clip, calls = tiny_clip(), list[tuple[int, bool]]()
    handle = clip.model.visual.register_forward_hook(
        lambda module, inputs, output: calls.append((len(inputs[0]), output.requires_grad))
    )
    yield clip, calls
    handle.remove()


def test_no_more_than_a_part_is_encoded_at_once(seen: tuple[Clip, list[tuple[int, bool]]]) -> None:
    clip, calls = seen
    gradients(clip, GradientCache(clip, 3), loss_of_the_task)
    assert calls == [(3, False), (3, False), (1, False), (3, True), (3, True), (1, True)]


def test_the_whole_batch_is_encoded_once(seen: tuple[Clip, list[tuple[int, bool]]]) -> None:
    clip, calls = seen
    gradients(clip, encoder_strategy(clip, None), loss_of_the_task)
    assert calls == [(7, True)]


def test_a_tower_that_no_term_reads_is_not_run(seen: tuple[Clip, list[tuple[int, bool]]]) -> None:
    clip, calls = seen
    gradients(clip, GradientCache(clip, 3), LOSSES["distill_text_side"])
    assert calls == []


def dropping_clip() -> Clip:
    """A model whose image tower leaves out half of its patches, at random, in training."""
    config = copy.deepcopy(tiny_config())
    config["model_cfg"]["vision_cfg"] |= {"patch_size": 4, "patch_dropout": 0.5}
    torch.manual_seed(0)
    return dataclasses.replace(tiny_clip(), model=CLIP(**config["model_cfg"]).train())


def test_random_layers_draw_the_same_in_both_passes() -> None:
    """An independent second implementation: one graph of all parts, encoded from the same random state."""
    clip = dropping_clip()
    torch.manual_seed(3)
    _, parts = gradients(clip, GradientCache(clip, 3), loss_of_the_task)

    class OneGraph(FullBatch):
        def encode_images(self, images_BCHW: torch.Tensor) -> torch.Tensor:
            return torch.cat([encode_images(clip, part) for part in torch.split(images_BCHW, 3)])

        def encode_tokens(self, tokens_NL: torch.Tensor) -> torch.Tensor:
            return torch.cat([encode_tokens(clip, part) for part in torch.split(tokens_NL, 3)])

    torch.manual_seed(3)
    _, one_graph = gradients(clip, OneGraph(clip), loss_of_the_task)
    torch.manual_seed(4)
    _, other_draws = gradients(clip, OneGraph(clip), loss_of_the_task)
    assert largest_difference(one_graph, parts) < 2e-6
    assert largest_difference(one_graph, other_draws) > 1e-2


def test_the_second_pass_leaves_the_random_state_as_the_first_left_it() -> None:
    clip = dropping_clip()
    passes = GradientCache(clip, 3)
    loss: Any = loss_of_the_task(clip, passes)
    before, _ = random_state(clip.device)
    passes.backward(loss)
    after, _ = random_state(clip.device)
    assert torch.equal(before, after)

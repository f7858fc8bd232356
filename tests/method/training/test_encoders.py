"""The gradient cache gives the gradients of the full batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import pytest
import torch
from open_clip.model import CLIP

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.model import Clip
from gift_core.method.losses import LOSSES, task_loss
from gift_core.method.pair_features import PairFeatures, ReplayBatch
from gift_core.method.training.encoders import Encode, EncoderStrategy, GradientCache
from gift_core.torch_devices import random_states
from tests.clip.tiny import tiny_clip, tiny_config
from tests.method.pair_features import LOSS_OPTIONS, loss_of, unit_rows

PROMPTS = ["a cat.", "a dog.", "a cat.", "a horse.", "a bird.", "a fish.", "a tree."]
Loss = Callable[[Clip, EncoderStrategy], torch.Tensor]


def images(count: int, *, side: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def replay_loss(name: str, *, texts: int = 7) -> Loss:
    """The loss `name` of 7 images and the first `texts` prompts."""

    def loss(clip: Clip, encoders: EncoderStrategy) -> torch.Tensor:
        tokens_ML = tokenize(clip, PROMPTS[:texts])
        batch = ReplayBatch(
            images(7, side=clip.image_size).to(clip.device),
            tokens_ML,
            teacher_image_MD=unit_rows(7, 1, width=8).to(clip.device),
            teacher_text_MD=unit_rows(texts, 2, width=8).to(clip.device),
            prompt_ids_M=torch.tensor([PROMPTS.index(prompt) for prompt in PROMPTS[:texts]], device=clip.device),
            vocabulary_text_PD=unit_rows(9, 3, width=8).to(clip.device),
            all_image_ND=unit_rows(12, 4, width=8).to(clip.device),
            image_ids_M=torch.tensor([8, 3, 0, 5, 1, 8, 2], device=clip.device),
        )
        towers = (partial(encoders.encode, encode) for encode in (encode_images, encode_tokens))
        features = PairFeatures(batch, *towers, clip.scale)
        return loss_of(LOSSES[name], features, **LOSS_OPTIONS[name])

    return loss


def loss_of_the_task(clip: Clip, encoders: EncoderStrategy) -> torch.Tensor:
    return task_loss(
        encoders.encode(encode_images, images(7, side=clip.image_size).to(clip.device)),
        encoders.encode(encode_tokens, tokenize(clip, PROMPTS[1:])),
        labels_B=torch.tensor([0, 1, 2, 3, 4, 5, 0], device=clip.device),
        scale=clip.scale,
        label_smoothing=0.2,
    )


CASES: dict[str, Loss] = {name: replay_loss(name) for name in LOSSES} | {
    "image side with unpaired texts": replay_loss("distill_image_side", texts=5),
    "task": loss_of_the_task,
}


def gradients(clip: Clip, encoders: EncoderStrategy, loss: Loss) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss, and the gradients of all parameters that have one."""
    clip.model.zero_grad()
    value = loss(clip, encoders)
    encoders.backward(value)
    return value.item(), {name: p.grad.clone() for name, p in clip.trainable().items() if p.grad is not None}


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Over all tensors, relative to the norm of the whole gradient."""
    assert list(one) == list(other)
    norm = torch.stack([value.norm() for value in one.values()]).norm()
    return max(((one[name] - other[name]).norm() / norm).item() for name in one)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("tower", "precision", "size", "tolerance"),
    [("vit", "fp32", 1, 1e-6), ("resnet", "fp32", 3, 1e-6), ("vit", "amp_bf16", 3, 1e-2), ("vit", "amp_fp16", 4, 1e-2)],
)
def test_chunks_give_the_gradients_of_the_full_batch(
    tower: str, precision: str, size: int, tolerance: float, name: str, device: torch.device
) -> None:
    clip = tiny_clip(tower=tower, precision=precision, device=device)
    value, full = gradients(clip, GradientCache(clip, None), CASES[name])
    value_of_chunks, chunks = gradients(clip, GradientCache(clip, size), CASES[name])
    assert value_of_chunks == pytest.approx(value, rel=tolerance)
    assert largest_difference(full, chunks) < 2 * tolerance


def test_random_layers_use_the_same_random_numbers_in_both_passes() -> None:
    """An independent second implementation: one graph of all chunks, encoded from the same random state."""
    config = tiny_config()["model_cfg"]  # the image tower drops a random half of its patches in training
    config["vision_cfg"] |= {"patch_size": 4, "patch_dropout": 0.5}
    torch.manual_seed(0)
    clip = dataclasses.replace(tiny_clip(), model=CLIP(**config).train())

    class OneGraph(GradientCache):
        def encode(self, encode: Encode, rows_NX: torch.Tensor) -> torch.Tensor:
            return torch.cat([encode(clip, chunk) for chunk in torch.split(rows_NX, 3)])

    torch.manual_seed(3)
    _, chunks = gradients(clip, GradientCache(clip, 3), loss_of_the_task)
    state = random_states(clip.device)["cpu"]
    torch.manual_seed(3)
    _, one_graph = gradients(clip, OneGraph(clip, None), loss_of_the_task)
    assert torch.equal(random_states(clip.device)["cpu"], state), "the second pass changes no random state"
    torch.manual_seed(4)
    _, other_random = gradients(clip, OneGraph(clip, None), loss_of_the_task)
    assert largest_difference(one_graph, chunks) < 2e-6
    assert largest_difference(one_graph, other_random) > 1e-2

"""Fisher diagonals: both estimators against plain autograd for each pair."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import normalize
from gift_core.clip.model import Clip
from gift_core.interop.importing import load_clip
from gift_core.method.replay import fisher
from gift_core.method.replay.fisher import estimate_fisher, pairs_at_once
from tests.clip.tiny import tiny_clip

PROMPTS = ["a cat.", "a dog.", "a cat.", "a horse.", "a red bird."]
NAMES = ("per_sample", "batch")
Sums = dict[str, torch.Tensor]


def pairs_for(clip: Clip, prompts: list[str] = PROMPTS) -> tuple[torch.Tensor, torch.Tensor]:
    size = (len(prompts), 3, clip.image_size, clip.image_size)
    pixels_MCHW = torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return pixels_MCHW, tokenize(clip, prompts)


def gradients_pair_by_pair(clip: Clip, pixels_BCHW: torch.Tensor, tokens_BL: torch.Tensor) -> list[Sums]:
    """The gradients of a batch by a loop: all logits, where only one pair is differentiable."""
    images_BCHW, weights = normalize(clip, pixels_BCHW), clip.trainable()
    same_BB = torch.tensor([[a.equal(b) for b in tokens_BL] for a in tokens_BL]).double()
    gradients = []
    for row in range(len(tokens_BL)):
        with torch.no_grad():
            image_BD, text_BD = encode_images(clip, images_BCHW), encode_tokens(clip, tokens_BL)
        image_BD[row] = encode_images(clip, images_BCHW[row : row + 1])[0]
        text_BD[row] = encode_tokens(clip, tokens_BL[row : row + 1])[0]
        logits_BB = clip.scale * image_BD @ text_BD.T
        chances = logits_BB.softmax(dim=1)[row].log() + logits_BB.softmax(dim=0)[:, row].log()
        loss = -(chances * same_BB[row] / same_BB[row].sum()).sum()
        found = torch.autograd.grad(loss, list(weights.values()))
        gradients.append(dict(zip(weights, found, strict=True)))
    return gradients


def assert_same(found: Sums, expected: Sums, *, rtol: float = 1e-4) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        # gradients that are zero in exact arithmetic (the key biases of attention) are rounding noise in both
        noise = 1e-5 * float(value.max()) + 1e-11
        torch.testing.assert_close(
            found[name], value, rtol=rtol, atol=noise, msg=lambda text, name=name: f"{name} {text}"
        )


@pytest.mark.parametrize("model", ["vit", "resnet", "mini"])
def test_both_estimators_are_those_of_the_gradients_of_the_pairs(model: str, project: Path) -> None:
    mini = f"local-dir:{project / 'data/mini/clip'}"
    clip = load_clip(mini, device="cpu") if model == "mini" else tiny_clip(tower=model)
    pixels, tokens = pairs_for(clip)
    gradients = gradients_pair_by_pair(clip, pixels, tokens)
    every = {name: torch.stack([gradient[name] for gradient in gradients]) for name in clip.trainable()}
    expected = {
        "per_sample": {name: value.square().mean(dim=0) for name, value in every.items()},
        "batch": {name: 5 * value.mean(dim=0).square() for name, value in every.items()},
    }
    for estimator, values in expected.items():
        found = estimate_fisher(clip, pixels, tokens, estimator=estimator, batch_size=8)
        assert_same(found, values)
        assert not any(value.requires_grad for value in found.values())


@pytest.mark.parametrize("estimator", NAMES)
def test_batches_are_weighted_by_their_pairs_and_a_single_last_pair_joins_one(estimator: str) -> None:
    clip = tiny_clip()
    pixels, tokens = pairs_for(clip)

    def estimate(part: slice, batch_size: int = 3) -> Sums:
        return estimate_fisher(clip, pixels[part], tokens[part], estimator=estimator, batch_size=batch_size)

    first, last = estimate(slice(0, 3)), estimate(slice(3, 5))
    assert_same(estimate(slice(0, 5)), {name: (3 * first[name] + 2 * last[name]) / 5 for name in first})
    assert_same(estimate(slice(0, 4)), estimate(slice(0, 4), batch_size=4))  # alone, a pair has no gradient


def test_the_number_of_gradients_in_memory_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tiny_clip(tower="resnet")
    size = sum(4 * value.numel() for value in clip.trainable().values())
    results = []
    for pairs in (5, 2, 1):
        monkeypatch.setattr(fisher, "GRADIENT_BYTES", pairs * size)
        assert pairs_at_once(clip.trainable()) == pairs
        results.append(estimate_fisher(clip, *pairs_for(clip), estimator="per_sample", batch_size=5))
        assert_same(results[-1], results[0])


@pytest.mark.parametrize("estimator", NAMES)
def test_the_weights_do_not_change_and_mode_and_precision_have_no_effect(estimator: str) -> None:
    clip = tiny_clip(tower="resnet", precision="amp_bf16")  # it is run in float32
    clip.model.train()
    clip.model.positional_embedding.requires_grad_(False)
    before = {name: value.clone() for name, value in clip.model.state_dict().items()}
    found = estimate_fisher(clip, *pairs_for(clip), estimator=estimator, batch_size=8)
    assert not any(module.training for module in clip.model.modules())
    assert all(value.equal(before[name]) for name, value in clip.model.state_dict().items())
    assert all(value.grad is None for value in clip.model.parameters())
    assert [name for name, value in clip.model.named_parameters() if not value.requires_grad] == [
        "positional_embedding"
    ]
    evaluated = estimate_fisher(tiny_clip(tower="resnet"), *pairs_for(clip), estimator=estimator, batch_size=8)
    assert_same(found, {name: evaluated[name] for name in found})

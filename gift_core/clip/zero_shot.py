"""Features of many images and texts without gradients, and the zero-shot head.  K classes, B images, D features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import normalise
from gift_core.clip.model import Clip


@torch.no_grad()
def image_features(clip: Clip, pixels_BCHW: torch.Tensor, *, batch_size: int) -> torch.Tensor:
    """Unit features [B, D] of uint8 images under the evaluation transform (clip.images.evaluation_pixels)."""
    return torch.cat([encode_images(clip, normalise(clip, part)) for part in torch.split(pixels_BCHW, batch_size)])


@torch.no_grad()
def text_features(clip: Clip, texts: Sequence[str], *, batch_size: int) -> torch.Tensor:
    """Unit features [N, D] of texts, one row each."""
    return token_features(clip, tokenize(clip, texts), batch_size=batch_size)


@torch.no_grad()
def token_features(clip: Clip, tokens_NL: torch.Tensor, *, batch_size: int) -> torch.Tensor:
    """Unit features [N, D] of token rows."""
    return torch.cat([encode_tokens(clip, part.to(clip.device)) for part in torch.split(tokens_NL, batch_size)])


def class_features(
    clip: Clip, class_names: Sequence[str], templates: Sequence[str], *, batch_size: int
) -> torch.Tensor:
    """Unit features [K, D] of the classes: the mean over all templates of the unit features, made unit again.

    The zero-shot head of CLIP (Radford et al. 2021, section 3.1.4). A template holds one `{}` for the class name.
    """
    prompts = [template.replace("{}", name) for name in class_names for template in templates]
    prompts_ND = text_features(clip, prompts, batch_size=batch_size)
    means_KD = prompts_ND.reshape(len(class_names), len(templates), -1).mean(dim=1)
    return functional.normalize(means_KD, dim=-1)


def class_prompts(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """The prompts a task is trained with: the first template alone."""
    return [templates[0].replace("{}", name) for name in class_names]


def predict(image_BD: torch.Tensor, class_KD: torch.Tensor) -> torch.Tensor:
    """The nearest class of each image, int64 [B]."""
    return (image_BD @ class_KD.T).argmax(dim=1)

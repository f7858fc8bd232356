"""Features of images that come one after another, of which few are decoded at once.  N images, D features."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch

from gift_core.clip.model import Clip
from gift_core.clip.pixels import Read, decoded, evaluation_preparation
from gift_core.clip.zero_shot import image_features


def stream_image_features(clip: Clip, images: Iterable[Read], *, batch_size: int) -> torch.Tensor:
    """Unit features [N, D] on the CPU, of encoded images under the evaluation transform, without gradients.

    Equal to clip.zero_shot.image_features of all of them; a few threads decode ahead of the model.
    """
    pixels = decoded(images, evaluation_preparation(clip))
    features = [torch.empty(0, clip.embedding_size)]
    while batch := list(islice(pixels, batch_size)):
        features.append(image_features(clip, torch.stack(batch), batch_size=batch_size).cpu())
    return torch.cat(features)

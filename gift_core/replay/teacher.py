"""What a teacher says of the replayed pairs.  M pairs, P prompts, D features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gift_core.artifacts.features import Features
from gift_core.artifacts.shards import Pair
from gift_core.clip.encoding import stream_image_features, text_features
from gift_core.clip.images import in_memory
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.progress import progress


def encode_pairs(clip: Clip, pairs: Iterable[Pair], *, batch_size: int, metadata: Mapping[str, str]) -> Features:
    """The teacher's unit features of every pair, in the order of `pairs`.

    The images go through the evaluation transform, so their features are constant for the task; each distinct prompt
    is encoded once. `metadata` (the model's hash and what else the caller vouches for) is kept with the precision.
    """
    listed = list(pairs)
    if not listed:
        raise UserError("teach: there are no pairs to replay. Run stage synthesize for this task.")
    clip.model.eval()
    images = (in_memory(pair.image) for pair in progress(listed, len(listed), "images"))
    image_MD = stream_image_features(clip, images, batch_size=batch_size)
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(pair.prompt for pair in listed))}
    text_PD = text_features(clip, list(numbers), batch_size=batch_size)
    text_MD = text_PD[[numbers[pair.prompt] for pair in listed]]
    return Features(
        keys=tuple(pair.key for pair in listed),
        image_MD=image_MD.numpy(),
        text_MD=text_MD.cpu().numpy(),
        metadata={**metadata, "precision": clip.precision},
    )

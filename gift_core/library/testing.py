"""The accuracy of the caller's model on a loader, as the stage evaluate measures it.

B images, K classes, T templates, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import length_hint
from typing import Any

import torch

from gift_core.clip.encoding import encode_images, predict, prompt_features, require_unit
from gift_core.errors import UserError
from gift_core.library.given_model import (
    LOADER,
    NAME,
    Tokenizer,
    evaluation_mode,
    given_clip,
    labeled_batch,
    require_loader,
    require_model,
    require_prompts,
)
from gift_core.progress import progress

TEXTS = 256  # that are encoded at once


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a model: the fraction (0 to 1) of images whose nearest class is that of their label."""

    accuracy: float
    correct: int
    images: int


@torch.no_grad()
def accuracy(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    loader: Iterable[Any],
    prompts: Sequence[str] | Sequence[Sequence[str]],
    *,
    device: str | torch.device | None = None,
) -> Accuracy:
    """Return the zero-shot accuracy of an open_clip model on all images of `loader`, with their number.

    `.accuracy` is a fraction, 0 to 1. The model is used in evaluation mode and fp32, and stays as it was given.

    Args:
        model: of open_clip, float32.
        tokenizer: the model's own (open_clip.get_tokenizer).
        loader: yields (images [B, 3, S, S] after the model's own transform, labels [B]) once, such as a DataLoader.
        prompts: one for each class, in the order of the labels: "a photo of a cat."; or several for each class, which
            are the mean of their features: ["a photo of a cat.", "a drawing of a cat."].
        device: the model is moved there; None: it stays where it is.

    Raises:
        UserError: what does not fit, and what to do: another model or tokenizer, images that are not normalized,
            labels without a prompt, classes with the same tokens, a loader without images.
    """
    require_model(model, "model")
    texts_KT = _texts_of(prompts)
    require_loader(loader, "loader", LOADER)
    correct = images = 0
    with evaluation_mode(model), given_clip(model, tokenizer, precision="fp32", device=device) as clip:
        texts, names = list(chain.from_iterable(texts_KT)), [texts[0] for texts in texts_KT]
        class_KD = prompt_features(clip, texts, names, location=f"{NAME}: prompts", batch_size=TEXTS)
        count = length_hint(loader)
        for number, batch in enumerate(progress(loader, count, "batches") if count else loader):
            images_BCHW, labels_B = labeled_batch(clip, batch, len(class_KD), number=number)
            image_BD = require_unit(encode_images(clip, images_BCHW.to(clip.device)), "images")
            correct += int((predict(image_BD, class_KD).cpu() == labels_B.cpu()).sum())
            images += len(labels_B)
    if not images:
        raise UserError(f"{NAME}: loader: it yields no images. Pass a DataLoader of a data set that has some.")
    return Accuracy(correct / images, correct, images)


def _texts_of(prompts: Any) -> list[Sequence[str]]:
    """Returns the prompts of each class, equally many. UserError for anything else."""
    if isinstance(prompts, str) or not isinstance(prompts, Sequence) or not prompts:
        require_prompts(prompts, "prompts")
    texts_KT: list[Sequence[str]] = [texts if isinstance(texts, (list, tuple)) else [texts] for texts in prompts]
    for number, texts in enumerate(texts_KT):
        if len(texts) != len(texts_KT[0]):
            what = f"{len(texts)} texts, and prompts[0] has {len(texts_KT[0])}"
            raise UserError(f"{NAME}: prompts[{number}]: {what}. Write one for each template.")
    for of_template in zip(*texts_KT, strict=True):
        require_prompts(of_template, "prompts")
    return texts_KT

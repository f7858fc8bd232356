"""The accuracy or recall of the caller's model on a loader, as the stage evaluate measures it.

B images of a batch, N in all, C captions, K classes, T templates, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import length_hint
from typing import Any

import torch

from gift_core.clip.encoding import encode_images, predict, prompt_features, require_unit, text_features
from gift_core.clip.model import Clip
from gift_core.clip.retrieval import ranked_both_ways, recall_at_1
from gift_core.errors import UserError
from gift_core.library.given_model import (
    LOADER,
    NAME,
    Tokenizer,
    evaluation_mode,
    given_clip,
    labeled_batch,
    refused,
    require_images,
    require_loader,
    require_model,
    require_prompts,
    two_parts,
)
from gift_core.progress import progress

TEXTS = 256  # that are encoded at once
CAPTIONED = "a loader of (images, captions). Pass a DataLoader."


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
    correct = images = 0
    with evaluation_mode(model), given_clip(model, tokenizer, precision="fp32", device=device) as clip:
        texts, names = list(chain.from_iterable(texts_KT)), [texts[0] for texts in texts_KT]
        class_KD = prompt_features(clip, texts, names, location=f"{NAME}: prompts", batch_size=TEXTS)
        for number, batch in _numbered(loader, LOADER):
            images_BCHW, labels_B = labeled_batch(clip, batch, len(class_KD), number=number)
            image_BD = _encoded(clip, images_BCHW)
            correct += int((predict(image_BD, class_KD).cpu() == labels_B.cpu()).sum())
            images += len(labels_B)
    return Accuracy(correct / images, correct, images)


@dataclass(frozen=True)
class Recall:
    """Recall@1 of a model, the fraction (0 to 1) of queries whose first answer is right.

    `of_images`: for an image one of its captions, among those of all images. `of_captions`: for a caption its image.
    `recall` is the mean of both, as in a task of captions.
    """

    recall: float
    of_images: float
    of_captions: float
    images: int
    captions: int


@torch.no_grad()
def recall(
    model: torch.nn.Module, tokenizer: Tokenizer, loader: Iterable[Any], *, device: str | torch.device | None = None
) -> Recall:
    """Return the recall@1 of an open_clip model between all images of `loader` and their captions, both ways.

    The features of all images are in memory. The model is used in evaluation mode and fp32, and stays as it was given.
    UserError as accuracy, also for an image without a caption, and for fewer than two images.

    Args:
        model: of open_clip, float32.
        tokenizer: the model's own (open_clip.get_tokenizer).
        loader: yields once (images as for accuracy, captions): for each image a text, or a list of texts, which needs a
            collate_fn, because torch's own makes a list for each position of it.
        device: the model is moved there; None: it stays where it is.
    """
    require_model(model, "model")
    features: list[torch.Tensor] = []
    texts: list[str] = []
    counts: list[int] = []  # captions of each image
    with evaluation_mode(model), given_clip(model, tokenizer, precision="fp32", device=device) as clip:
        for number, batch in _numbered(loader, CAPTIONED):
            images_BCHW, captions = two_parts(batch, "loader", "(images, captions)")
            require_images(clip, images_BCHW, "loader", is_first=number == 0)
            for own in _captions_of(captions, len(images_BCHW)):
                texts += own
                counts.append(len(own))
            features.append(_encoded(clip, images_BCHW))
        if len(counts) < 2:
            raise UserError(f"{NAME}: loader: one image has nothing to be compared with. Pass more.")
        text_CD = text_features(clip, texts, batch_size=TEXTS)
        (ranks_N, _), (ranks_C, _) = ranked_both_ways(torch.cat(features), text_CD, counts)
    of_images, of_captions = recall_at_1(ranks_N), recall_at_1(ranks_C)
    return Recall((of_images + of_captions) / 2, of_images, of_captions, len(counts), len(texts))


def _numbered(loader: Any, expected: str) -> Iterator[tuple[int, Any]]:
    """Yields the batches with their numbers, and a bar. UserError for what is no loader, and for one without any."""
    require_loader(loader, "loader", expected)
    count, number = length_hint(loader), None
    for number, batch in enumerate(progress(loader, count, "batches") if count else loader):
        yield number, batch
    if number is None:
        raise UserError(f"{NAME}: loader: it yields no images. Pass a DataLoader of a data set that has some.")


def _encoded(clip: Clip, images_BCHW: torch.Tensor) -> torch.Tensor:
    return require_unit(encode_images(clip, images_BCHW.to(clip.device)), "images")


def _captions_of(captions: Any, count: int) -> list[list[str]]:
    """Returns the captions of each of `count` images. UserError for anything else."""
    expected = f"{count} texts or lists of texts, one an image. Return that from a collate_fn."
    if not isinstance(captions, (list, tuple)) or len(captions) != count:
        raise refused("loader: captions", captions, expected)
    by_image: list[Any] = [[texts] if isinstance(texts, str) else texts for texts in captions]
    for texts in by_image:
        if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(text, str) for text in texts):
            raise refused("loader: captions", captions, expected)
    return [list(texts) for texts in by_image]


def _texts_of(prompts: Any) -> list[Sequence[str]]:
    """Returns the prompts of each class, equally many. UserError for anything else."""
    if isinstance(prompts, str) or not isinstance(prompts, Sequence) or not prompts:
        require_prompts(prompts, "prompts")
    texts_KT: list[Sequence[str]] = [texts if isinstance(texts, (list, tuple)) else [texts] for texts in prompts]
    for number, texts in enumerate(texts_KT):
        if len(texts) != len(texts_KT[0]):
            problem = f"{len(texts)} texts, and prompts[0] has {len(texts_KT[0])}"
            raise UserError(f"{NAME}: prompts[{number}]: {problem}. Write one for each template.")
    for of_template in zip(*texts_KT, strict=True):
        require_prompts(of_template, "prompts")
    return texts_KT

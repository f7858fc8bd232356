"""Batches of the caller's loader, and the checks of what any loader yields.

B images, K classes, M pairs, C channels, H W pixels, S side of the model's images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from gift_core.clip.batches import TaskBatch
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.library.given_model import NAME, is_integer, require_tokens

REMEDY = "Use the transform that open_clip.create_model_and_transforms returned with the model"


class LoaderBatches:
    """TaskBatches from a loader of (images, labels), in its own order. When the loader ends, it starts again.

    UserError for a loader that yields nothing or something else, for images that the model's own transform did not
    prepare, for equal class prompts, and for labels without a class prompt.
    """

    def __init__(self, clip: Clip, loader: Iterable[Any], class_prompts: Sequence[str]) -> None:
        _require_prompts(class_prompts)
        require_tokens(clip, class_prompts)
        self.class_prompts = tuple(class_prompts)
        self._clip = clip
        self._batches = endless(loader, "loader")

    def sample(self, iteration: int) -> TaskBatch:
        """Returns the loader's next batch on the model's device. Batches are taken one after another."""
        images_BCHW, labels_B = two_parts(next(self._batches), "loader", "(images, labels)")
        require_images(self._clip, images_BCHW, "loader", is_first=iteration == 0)
        labels_B = _checked_labels(labels_B, len(images_BCHW), len(self.class_prompts), iteration)
        device = self._clip.device
        return TaskBatch(images_BCHW.to(device, non_blocking=True), labels_B.to(device, non_blocking=True))


def endless(loader: Iterable[Any], name: str) -> Iterator[Any]:
    """Yields the batches of `loader` again and again. UserError if it has none, or cannot start again."""
    if not isinstance(loader, Iterable) or isinstance(loader, (str, dict)):
        what = (
            f"a {type(loader).__name__} is no loader. Pass a torch.utils.data.DataLoader or another iterable of batches"
        )
        raise UserError(f"{NAME}: {name}: {what}.")
    started = False
    while True:
        count = 0
        for batch in loader:
            count += 1
            yield batch
        if not count:
            again = "it ended and has no second epoch: it is a generator. Pass a DataLoader, or a list of batches."
            empty = "it yields no batch. Add images, or with drop_last=True lower its batch size."
            raise UserError(f"{NAME}: {name}: {again if started else empty}")
        started = True


def two_parts(batch: Any, name: str, expected: str) -> tuple[Any, Any]:
    """Returns the two parts of a batch. UserError if it does not have two."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        parts = f" of {len(batch)}" if isinstance(batch, (tuple, list, dict)) else ""
        what = f"it yields a {type(batch).__name__}{parts}, expected {expected}"
        raise UserError(f"{NAME}: {name}: {what}. Write a collate_fn that returns the two.")
    return batch[0], batch[1]


def require_images(clip: Clip, images_BCHW: Any, name: str, *, is_first: bool) -> None:
    """Raises UserError for what is not a batch of images as the model's own transform prepares them.

    The values are those of the first batch alone: a later one can be odd by chance.
    """
    side = clip.image_size
    shape = list(images_BCHW.shape) if isinstance(images_BCHW, torch.Tensor) else type(images_BCHW).__name__
    if not isinstance(images_BCHW, torch.Tensor) or images_BCHW.ndim != 4 or shape[1:] != [3, side, side]:
        raise UserError(f"{NAME}: {name}: images are {shape}, expected [B, 3, {side}, {side}]. {REMEDY}.")
    if not len(images_BCHW):
        raise UserError(f"{NAME}: {name}: a batch has no image. Leave empty batches out of the loader.")
    if images_BCHW.dtype != torch.float32:
        raise UserError(f"{NAME}: {name}: images are {images_BCHW.dtype}, expected normalized float32. {REMEDY}.")
    problem = _problem_of_values(clip, images_BCHW) if is_first else ""
    if problem:
        raise UserError(f"{NAME}: {name}: {problem}. {REMEDY}: its last step normalizes by mean and std.")


def _problem_of_values(clip: Clip, images_BCHW: torch.Tensor) -> str:
    """What is wrong with the values of a batch: not finite, or not normalized. Empty if nothing is."""
    lowest, highest = (float(value) for value in torch.aminmax(images_BCHW))  # NaN if one pixel is
    if not math.isfinite(lowest) or not math.isfinite(highest):
        return "pixels are NaN or infinite"
    preprocess = clip.config["preprocess_cfg"]
    black = max(-mean / std for mean, std in zip(preprocess["mean"], preprocess["std"], strict=True))
    if lowest >= 0 and highest <= 1 and black < -0.5:
        return f"pixels are from {lowest:.2f} to {highest:.2f}, so they were not normalized"
    return ""


def _require_prompts(class_prompts: Any) -> None:
    right = isinstance(class_prompts, Sequence) and all(isinstance(prompt, str) and prompt for prompt in class_prompts)
    if not right or isinstance(class_prompts, str) or not class_prompts:
        shown = repr(class_prompts)[:80]
        raise UserError(
            f'{NAME}: class_prompts: {shown}, expected a list of texts, one a class: ["a photo of a cat."].'
        )
    repeated = next((prompt for prompt in class_prompts if class_prompts.count(prompt) > 1), None)
    if repeated is not None:
        numbers = " and ".join(str(number) for number, prompt in enumerate(class_prompts) if prompt == repeated)
        what = f"{repeated!r} stands for classes {numbers}, which are then the same to the model"
        raise UserError(f"{NAME}: class_prompts: {what}. Give each class its own prompt.")


def _checked_labels(labels_B: Any, images: int, classes: int, iteration: int) -> torch.Tensor:
    if not is_integer(labels_B) or labels_B.shape != (images,):
        shown = (
            f"{labels_B.dtype} {list(labels_B.shape)}"
            if isinstance(labels_B, torch.Tensor)
            else type(labels_B).__name__
        )
        raise UserError(
            f"{NAME}: loader: labels are {shown}, expected integers [{images}], one an image. Convert them."
        )
    lowest, highest = int(labels_B.min()), int(labels_B.max())
    if lowest < 0 or highest >= classes:
        wrong = lowest if lowest < 0 else highest
        what = (
            f"label {wrong} in batch {iteration}, and there are {classes} class_prompts: labels are 0 to {classes - 1}"
        )
        raise UserError(f"{NAME}: loader: {what}. Add prompts, or number the classes from 0.")
    return labels_B.long()

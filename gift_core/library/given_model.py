"""The caller's open_clip model as the pipeline's Clip, and the batches of the caller's loader, after checks of both.

B images, K classes, M pairs, C channels, H W pixels, S side of the model's images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from open_clip.model import get_model_preprocess_cfg
from PIL import Image

from gift_core.clip.architectures import require_known_tokens
from gift_core.clip.batches import TrainingBatch
from gift_core.clip.encoding import require_distinct_rows
from gift_core.clip.model import PRECISIONS, Clip, as_clip
from gift_core.errors import UserError, lookup
from gift_core.torch_devices import full_float32, resolve_device

NAME = "gift_core"  # begins the messages of this package
Tokenizer = Callable[[list[str]], torch.Tensor]
LOADER = "a loader of (images, labels). Pass a DataLoader."
BATCHES = "Make batches of them: torch.utils.data.DataLoader(data, batch_size=64)"
REMEDY = "Use the transform that open_clip.create_model_and_transforms returned with the model"


def require_number(name: str, value: Any, low: float, high: float, *, example: float) -> None:
    """Raises UserError if `value` is no number from `low` to `high`, or no whole one where `example` is one."""
    kind = int if isinstance(example, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        wanted = f"a whole number from {low} to {high}" if kind is int else f"{low:g} to {high:g}"
        raise UserError(f"{NAME}: {name} is {value!r}, expected {wanted}. Try {example}.")


@contextmanager
def given_clip(
    model: torch.nn.Module, tokenizer: Tokenizer, *, precision: str, device: str | torch.device | None
) -> Iterator[Clip]:
    """Yields `model` as a Clip, on `device` if one is given. Afterwards its parameters require gradients as before.

    Within the block float32 is computed in full. UserError for what is not a float32 model of open_clip.
    """
    lookup({name: name for name in PRECISIONS}, precision, f"{NAME}: training.precision")
    clip = checked_clip(model, tokenizer, name="model", precision=precision, device=device)
    required = {name: value.requires_grad for name, value in model.named_parameters()}
    clip = replace(clip, locked=frozenset(name for name, value in required.items() if not value))
    try:
        with full_float32():
            yield clip
    finally:
        for name, value in model.named_parameters():
            value.requires_grad_(required[name])


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode. Afterwards each of its modules is in its mode of before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def checked_clip(
    model: torch.nn.Module, tokenizer: Tokenizer, *, name: str, precision: str, device: str | torch.device | None = None
) -> Clip:
    """Returns the model as a Clip, in evaluation mode, on `device` if one is given.

    UserError, which begins with `name`, where it cannot be used.
    """
    require_model(model, name)
    if not callable(tokenizer):
        remedy = "Pass the tokenizer of the model: open_clip.get_tokenizer(<its name>)."
        raise UserError(f"{NAME}: tokenizer: a {type(tokenizer).__name__} cannot be called. {remedy}")
    if device is not None:
        model.to(resolve_device(str(device)))
    # open_clip's factory notes the preprocessing in the model. A class of open_clip that is called directly does not.
    if not {"mean", "std"} <= set(get_model_preprocess_cfg(model)):
        size = "model.visual.image_size"
        settings = f'{{"size": {size}, "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}}'
        problem = f"this {type(model).__name__} does not know the mean and std of its images"
        remedy = f"Set them: open_clip.model.set_model_preprocess_cfg(model, {settings})"
        raise UserError(f"{NAME}: {name}: {problem}. {remedy}")

    def tokenize(texts: list[str]) -> torch.Tensor:
        tokens_NL = tokenizer(texts)
        remedy = "Pass the tokenizer of the model: open_clip.get_tokenizer(<its name>)."
        require_known_tokens(model, tokens_NL, f"{NAME}: tokenizer: it is of another model", remedy)
        return tokens_NL

    return as_clip(model, tokenize, {}, location=f"{NAME}: {name}", precision=precision)


def require_model(model: Any, name: str) -> None:
    """Raises UserError if `model` is no float32 model of open_clip."""
    parts, kind = ("encode_image", "encode_text", "logit_scale", "visual"), type(model).__name__
    wraps = isinstance(getattr(model, "module", None), torch.nn.Module) or hasattr(model, "_orig_mod")
    if wraps or not isinstance(model, torch.nn.Module) or not all(hasattr(model, part) for part in parts):
        problem = f"a {kind} is no model of open_clip: it should be a module with {', '.join(parts)}, and no wrapper"
        remedy = "Pass what open_clip.create_model_and_transforms returned"
        if kind == "CLIPModel":
            problem = "a CLIPModel is of transformers, and this takes models of open_clip"
            remedy = "Convert it: model, preprocess, tokenizer = gift_core.from_transformers(model)"
        raise UserError(f"{NAME}: {name}: {problem}. {remedy}.")
    half = [f"{key} is {value.dtype}" for key, value in model.named_parameters() if value.dtype != torch.float32]
    if half:
        remedy = "Call model.float(). For speed: precision='amp_bf16'"
        raise UserError(f"{NAME}: {name}: its weights should be float32, {half[0]}. {remedy}.")


class LoaderBatches:
    """TaskBatches from a loader of (images, labels), in its own order. When the loader ends, it starts again.

    UserError for a loader that yields nothing or something else, for images that the model's own transform did not
    prepare (in the first batch), for equal class prompts, and for labels without a class prompt.
    """

    def __init__(self, clip: Clip, loader: Iterable[Any], class_prompts: Sequence[str]) -> None:
        require_prompts(class_prompts, "class_prompts")
        tokens_KL = clip.tokenizer(list(class_prompts))
        require_distinct_rows(class_prompts, tokens_KL, f"{NAME}: class_prompts")
        self.class_prompts = tuple(class_prompts)
        self._clip = clip
        self._batches = endless(loader, "loader", LOADER)

    def sample(self, iteration: int) -> TrainingBatch:
        """Returns the loader's next batch on the model's device. Batches are taken one after another."""
        batch, classes = next(self._batches), len(self.class_prompts)
        images_BCHW, labels_B = labeled_batch(self._clip, batch, classes, number=iteration)
        on_device: dict[str, Any] = {"device": self._clip.device, "non_blocking": True}
        return TrainingBatch(images_BCHW.to(**on_device), {"labels_B": labels_B.long().to(**on_device)})


def labeled_batch(clip: Clip, batch: Any, classes: int, *, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the images and labels of a loader's batch. UserError for what does not fit; `number` counts batches."""
    images_BCHW, labels_B = two_parts(batch, "loader", "(images, labels)")
    require_images(clip, images_BCHW, "loader", is_first=number == 0)
    if not isinstance(labels_B, torch.Tensor) or labels_B.shape != images_BCHW.shape[:1]:
        expected = f"a tensor [{len(images_BCHW)}] with the number of each image's class"
        problem = f"labels are {described(labels_B)}, expected {expected}"
        raise UserError(f"{NAME}: loader: {problem}. Use torch.tensor(labels), or one_hot.argmax(dim=1).")
    lowest, highest = int(labels_B.min()), int(labels_B.max())
    if lowest < 0 or highest >= classes:
        problem = f"labels from {lowest} to {highest} in batch {number}, and there are prompts of {classes} classes"
        raise UserError(f"{NAME}: loader: {problem}. Add prompts, or number the classes from 0.")
    return images_BCHW, labels_B


def are_texts(value: Any) -> bool:
    """Returns whether the value is a sequence of texts, at least one and none of them empty."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and bool(value) and all(isinstance(text, str) and text for text in value)


def require_prompts(prompts: Any, name: str) -> None:
    """Raises UserError unless these are texts, one for each of two classes or more."""
    if not are_texts(prompts) or len(prompts) < 2:
        problem = f'{repr(prompts)[:80]}, expected two texts or more, one a class: ["a photo of a cat.", ...]'
        raise UserError(f"{NAME}: {name}: {problem}. Write one for each class.")


def described(value: Any) -> str:
    """Returns what a value is, for a message: shape and type of a tensor, a short text or number itself."""
    if isinstance(value, torch.Tensor):
        return f"{[*value.shape]} {value.dtype}"
    is_plain = isinstance(value, (str, int, float, type(None), type(...)))
    return repr(value)[:80] if is_plain else f"a {type(value).__name__}"


def refused(name: str, value: Any, expected: str) -> UserError:
    """Returns the error of an argument that is something else. `expected` says what it should be, and the remedy."""
    return UserError(f"{NAME}: {name}: {described(value)}, expected {expected}")


def require_loader(loader: Any, name: str, expected: str) -> None:
    """Raises UserError for what yields no batches. `expected` says what it should be, and the remedy."""
    is_iterable = hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")
    if isinstance(loader, (str, Mapping)) or not is_iterable:
        raise refused(name, loader, expected)


def endless(loader: Iterable[Any], name: str, expected: str) -> Iterator[Any]:
    """Yields the batches of `loader` again and again. UserError if it has none, or cannot start again.

    `expected` is that of require_loader.
    """
    require_loader(loader, name, expected)
    while True:
        batch = None
        for batch in loader:
            yield batch
        if batch is None:
            problem = "it yields no batch: it has no images (with drop_last=True, fewer than its batch size)"
            problem += ", or it is a generator, which has one epoch"
            raise UserError(f"{NAME}: {name}: {problem}. Pass a DataLoader, or a list of batches.")


def two_parts(batch: Any, name: str, expected: str) -> tuple[Any, Any]:
    """Returns the two parts of a batch. UserError if it does not have two."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        problem = f"it yields a {type(batch).__name__}, expected {expected}"
        raise UserError(f"{NAME}: {name}: {problem}. Write a collate_fn that returns the two.")
    return batch[0], batch[1]


def require_images(clip: Clip, images_BCHW: Any, name: str, *, is_first: bool) -> None:
    """Raises UserError for what is not a batch of images as the model's own transform prepares them.

    Values are looked at in the first batch alone: another small batch can have odd ones by chance.
    """
    side, is_tensor = clip.image_size, isinstance(images_BCHW, torch.Tensor)
    if not is_tensor or images_BCHW.shape[1:] != (3, side, side) or images_BCHW.dtype != torch.float32:
        problem = f"images are {described(images_BCHW)}, expected [B, 3, {side}, {side}] torch.float32, normalized"
        is_single = isinstance(images_BCHW, Image.Image) or (is_tensor and images_BCHW.ndim == 3)
        raise UserError(f"{NAME}: {name}: {problem}. {BATCHES if is_single else REMEDY}.")
    if not is_first:
        return
    lowest, highest = (float(value) for value in torch.aminmax(images_BCHW))  # NaN if one pixel is
    mean_C, std_C = (torch.tensor(clip.config["preprocess_cfg"][key]) for key in ("mean", "std"))
    is_raw = lowest >= 0 and highest <= 1 and float((-mean_C / std_C).max()) < -0.5  # black is far below 0
    if is_raw or not math.isfinite(lowest + highest):
        problem = f"pixels are from {lowest:.2f} to {highest:.2f}, as in no normalized image"
        raise UserError(f"{NAME}: {name}: {problem}. {REMEDY}: its last step normalizes by mean and std.")

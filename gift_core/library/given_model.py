"""The caller's open_clip model as the pipeline's Clip, after checking that it can be trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeGuard

import torch
from open_clip.model import get_model_preprocess_cfg

from gift_core.clip.device import resolve_device
from gift_core.clip.model import PRECISIONS, Clip, as_clip
from gift_core.errors import UserError, lookup

NAME = "gift_core"  # begins the messages of this package
Tokenizer = Callable[[list[str]], torch.Tensor]
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
LOAD = "Load it with open_clip.create_model_and_transforms"


@contextmanager
def given_clip(
    model: torch.nn.Module, tokenizer: Tokenizer, *, precision: str, device: str | torch.device | None
) -> Iterator[Clip]:
    """Yields `model` as a Clip, on `device` if one is given. Afterwards its parameters require gradients as before.

    UserError for what is not a float32 model of open_clip on one device, and for a tokenizer that is not the model's.
    """
    lookup({name: name for name in PRECISIONS}, precision, f"{NAME}: training.precision")
    require_model(model, "model")
    if device is not None:
        model.to(resolve_device(str(device)))
    if any(value.is_inference() for value in model.parameters()):
        what = "it was made under torch.inference_mode, so its weights cannot change"
        raise UserError(f"{NAME}: model: {what}. Make it outside of that block.")
    required = {name: value.requires_grad for name, value in model.named_parameters()}
    locked = frozenset(name for name, value in required.items() if not value)
    clip = replace(checked_clip(model, tokenizer, name="model", precision=precision), locked=locked)
    if not clip.trainable():
        raise UserError(f"{NAME}: model: no parameter requires gradients. Unlock a tower: model.requires_grad_().")
    try:
        yield clip
    finally:
        for name, value in model.named_parameters():
            value.requires_grad_(required[name])


def checked_clip(model: torch.nn.Module, tokenizer: Tokenizer, *, name: str, precision: str) -> Clip:
    """Returns the model as a Clip, in evaluation mode; UserError, which begins with `name`, where it cannot be used."""
    require_model(model, name)
    _require_one_device(model, name)
    _require_preprocessing(model, name)
    return as_clip(model, tokenizer, {}, location=f"{NAME}: {name}", precision=precision)


def require_same_inputs(clip: Clip, teacher: Clip) -> None:
    """Raises UserError if the teacher cannot encode the student's images, or is on another device."""
    if teacher.device != clip.device:
        what = f"it is on {teacher.device}, and the model on {clip.device}"
        raise UserError(f"{NAME}: teacher: {what}. Move it: teacher.to({str(clip.device)!r}).")
    own, other = (
        {key: c.config["preprocess_cfg"].get(key) for key in ("size", "mean", "std")} for c in (clip, teacher)
    )
    differing = [f"{key} {other[key]} and {own[key]}" for key in own if _plain(own[key]) != _plain(other[key])]
    if differing:
        what = f"its images are prepared in another way than the model's ({', '.join(differing)})"
        raise UserError(f"{NAME}: teacher: {what}. Use a teacher with the same preprocess_cfg.")


def require_model(model: Any, name: str) -> None:
    """Raises UserError if `model` is no float32 model of open_clip."""
    kind = type(model).__name__
    if isinstance(getattr(model, "module", None), torch.nn.Module) or hasattr(model, "_orig_mod"):
        raise UserError(f"{NAME}: {name}: a {kind} wraps the model. Pass the model itself, as open_clip returned it.")
    parts = ("encode_image", "encode_text", "logit_scale", "visual")
    if not isinstance(model, torch.nn.Module) or not all(hasattr(model, part) for part in parts):
        what = f"a {kind} is no model of open_clip: it should be a module with {', '.join(parts)}"
        raise UserError(f"{NAME}: {name}: {what}. {LOAD}.")
    half = [f"{key} is {value.dtype}" for key, value in model.named_parameters() if value.dtype != torch.float32]
    if half:
        remedy = (
            "Call model.float(), or load it with precision='fp32'. For speed: training=Training(precision='amp_bf16')"
        )
        raise UserError(f"{NAME}: {name}: its weights should be float32, {half[0]}. {remedy}.")


def _require_one_device(model: torch.nn.Module, name: str) -> None:
    devices = sorted({str(value.device) for value in model.parameters()})
    if len(devices) > 1:
        raise UserError(f"{NAME}: {name}: its parameters are on {' and '.join(devices)}. Move it: model.to(device).")


def _require_preprocessing(model: Any, name: str) -> None:
    """open_clip's factory notes the preprocessing in the model. A class of open_clip that is called directly does not.

    What is noted is checked by as_clip.
    """
    if not {"mean", "std"} <= set(get_model_preprocess_cfg(model)):
        size = "model.visual.image_size"
        settings = f'{{"size": {size}, "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}}'
        what = f"this {type(model).__name__} does not know the mean and std of its images"
        raise UserError(
            f"{NAME}: {name}: {what}. Set them: open_clip.model.set_model_preprocess_cfg(model, {settings})"
        )


def require_tokens(clip: Clip, texts: Sequence[str]) -> None:
    """Raises UserError if the tokenizer gives the texts no token rows, or tokens that the text tower does not have."""
    tokens: Any = clip.tokenizer(list(texts))
    if not is_integer(tokens) or tokens.ndim != 2:
        what = f"it returns a {type(tokens).__name__}, expected token rows, an int tensor [N, L]"
        raise UserError(f"{NAME}: tokenizer: {what}. Use open_clip.get_tokenizer.")
    require_token_rows(clip, tokens, "tokenizer")


def require_token_rows(clip: Clip, tokens_NL: torch.Tensor, name: str) -> None:
    """Raises UserError, which names `name`, for tokens that the text tower does not have."""
    embedding: Any = getattr(getattr(clip.model, "text", clip.model), "token_embedding", None)
    if embedding is not None and not 0 <= int(tokens_NL.min()) <= int(tokens_NL.max()) < embedding.num_embeddings:
        wrong = int(tokens_NL.min()) if tokens_NL.min() < 0 else int(tokens_NL.max())
        what = f"token {wrong}, and the model has {embedding.num_embeddings}, from 0"
        raise UserError(f"{NAME}: {name}: {what}. Use the model's own tokenizer.")


def is_integer(value: Any) -> TypeGuard[torch.Tensor]:
    """Returns whether `value` is a tensor of whole numbers."""
    return isinstance(value, torch.Tensor) and value.dtype in INTEGERS


def _plain(value: Any) -> Any:
    """A size or mean as a list, whether it is a number, a tuple or a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value, value]

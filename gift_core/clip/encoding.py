"""Images and token rows to unit features.  B images, N texts, L tokens, C channels, H W pixels, D features."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from open_clip.transformer import text_global_pool
from torch.nn import functional

from gift_core.clip.model import Clip

# Rows are not cut below this: under 16 tokens torch's attention on CPUs takes another path, and features differ in the
# last bit from those of full rows. At the first step student and teacher are equal, the gradient of the distillation is
# rounding noise, and Adam makes steps of full size of it: tests/test_parity.py notices.
SHORTEST_ROWS = 16

# By the name of model.precision in params.yaml; fp32 computes in the weights' own type.
AUTOCAST = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}


def encode_images(clip: Clip, images_BCHW: torch.Tensor) -> torch.Tensor:
    """Unit features [B, D], float32, of normalised images; differentiable."""
    if clip.device.type != "mps":  # there the backward pass of convolutions mixes up layouts (pytorch issue 174269)
        # channels last: a convolutional tower trains nearly twice as fast on a CPU, a transformer as fast as before
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    with _autocast(clip):
        features_BD: torch.Tensor = clip.model.encode_image(images_BCHW)  # type: ignore[operator]
    return functional.normalize(features_BD.float(), dim=-1)


def encode_tokens(clip: Clip, tokens_NL: torch.Tensor) -> torch.Tensor:
    """Unit features [N, D], float32, of token rows (see tokenize); differentiable."""
    tower = causal_tower(clip.model)
    with _autocast(clip):
        if tower is not None and tokens_NL.shape[1] < tower.positional_embedding.shape[0]:
            features_ND = _encode_short_rows(tower, tokens_NL)
        else:
            features_ND = clip.model.encode_text(tokens_NL)  # type: ignore[operator]
    return functional.normalize(features_ND.float(), dim=-1)


def tokenize(clip: Clip, texts: Sequence[str]) -> torch.Tensor:
    """Token rows [N, L] on the model's device, as short as the longest text allows.

    With causal attention and the feature read at the end token, what follows that token changes nothing, so the
    padding is cut; for any other text tower the rows keep the full context length.
    """
    tokens_NL = clip.tokenizer(list(texts))
    return trim_rows(clip.model, tokens_NL).to(clip.device)


def trim_rows(model: torch.nn.Module, tokens_NL: torch.Tensor) -> torch.Tensor:
    """`tokens_NL` without the columns that no row's feature can depend on."""
    ends_N = end_positions(model, tokens_NL)
    return tokens_NL if ends_N is None else tokens_NL[:, : max(SHORTEST_ROWS, int(ends_N.max()) + 1)]


def causal_tower(model: Any) -> Any | None:
    """The module whose text features depend on nothing after the end token, None where there is no such.

    open_clip.CLIP keeps the text tower's parts on itself, its other classes in `.text`.
    """
    tower = model if hasattr(model, "token_embedding") else getattr(model, "text", None)
    causal = getattr(tower, "attn_mask", None) is not None and getattr(tower, "cls_emb", None) is None
    return tower if causal and _pool_type(tower) in ("argmax", "eos") else None


def _pool_type(tower: Any) -> str:
    return str(tower.text_pool_type if hasattr(tower, "text_pool_type") else tower.pool_type)


def _end_token(tower: Any) -> int:
    return int(tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id)


def end_positions(model: torch.nn.Module, tokens_NL: torch.Tensor) -> torch.Tensor | None:
    """Where each row's feature is read, or None where later tokens matter too."""
    tower = causal_tower(model)
    if tower is None:
        return None
    if _pool_type(tower) == "argmax":
        return tokens_NL.argmax(dim=-1)
    return torch.eq(tokens_NL, _end_token(tower)).int().argmax(dim=-1)


def _encode_short_rows(tower: Any, tokens_NL: torch.Tensor) -> torch.Tensor:
    """encode_text for rows shorter than the context, which open_clip refuses."""
    length = tokens_NL.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    hidden_NLW = tower.token_embedding(tokens_NL).to(dtype) + tower.positional_embedding[:length].to(dtype)
    hidden_NLW = tower.transformer(hidden_NLW, attn_mask=tower.attn_mask[:length, :length])
    pooled_NW = text_global_pool(
        tower.ln_final(hidden_NLW), tokens_NL, _pool_type(tower), eos_token_id=_end_token(tower)
    )
    return _project(pooled_NW, tower.text_projection)


def _project(pooled_NW: torch.Tensor, projection: torch.nn.Module | torch.Tensor | None) -> torch.Tensor:
    if projection is None:
        return pooled_NW
    if isinstance(projection, torch.Tensor):
        return pooled_NW @ projection
    projected_ND: torch.Tensor = projection(pooled_NW)
    return projected_ND


def _autocast(clip: Clip) -> contextlib.AbstractContextManager[object]:
    if clip.precision not in AUTOCAST:
        return contextlib.nullcontext()
    return torch.autocast(clip.device.type, dtype=AUTOCAST[clip.precision])

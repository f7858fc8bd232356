"""Images and texts to unit features, with and without gradients, and the zero-shot classifier.

B images, N texts, K classes, L tokens, C channels, H W pixels, D features, W width of the text tower.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from open_clip.transformer import text_global_pool
from torch.nn import functional

from gift_core.clip.architectures import REMEDY
from gift_core.clip.images import Read, decoded, evaluation_preparation, normalize
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.torch_devices import to_device
from gift_core.work.overlap import prefetched

# Rows are never cut below this. Under 16 tokens torch's attention on CPUs takes another path, and features differ in
# the last bit from those of full rows. At the first iteration student and teacher are equal, so the gradient of the
# distillation is rounding noise, which Adam turns into updates of full size: tests/method/test_parity.py fails then.
SHORTEST_ROWS = 16

# By model.precision of params.yaml. fp32 computes in the type of the weights.
AUTOCAST = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}


def encode_images(clip: Clip, images_BCHW: torch.Tensor) -> torch.Tensor:
    """Unit features [B, D], float32, of normalized images; differentiable."""
    if clip.device.type != "mps":  # there the backward pass of convolutions mixes up layouts (pytorch issue 174269)
        # Channels last: on a CPU a convolutional tower trains nearly twice as fast, a transformer as fast as before.
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
    """Token rows int64 [N, L] on the model's device, as short as the longest text allows.

    With causal attention and the feature read at the end token, later tokens change nothing, so the padding is cut.
    For all other text towers the rows keep the full context length.
    """
    tokens_NL = clip.tokenizer(list(texts))
    return trim_rows(clip.model, tokens_NL).to(clip.device)


def cut_texts(clip: Clip, texts: Sequence[str]) -> int:
    """Returns how many texts fill the whole context of the model, so that what comes after it is cut."""
    empty_L = clip.tokenizer([""])[0]
    long = [text for text in texts if len(text.encode()) >= len(empty_L) - 2]  # a token has a byte or more
    after = {int(empty_L[1]), int(empty_L[-1])}  # the end token, and the padding
    return sum(int(clip.tokenizer([text])[0, -2]) not in after for text in long)


def trim_rows(model: torch.nn.Module, tokens_NL: torch.Tensor) -> torch.Tensor:
    """`tokens_NL` without the last columns that cannot change any row's feature."""
    ends_N = end_positions(model, tokens_NL)
    return tokens_NL if ends_N is None else tokens_NL[:, : max(SHORTEST_ROWS, int(ends_N.max()) + 1)]


def causal_tower(model: Any) -> Any | None:
    """The text tower, if its features depend on no token after the end token, else None.

    open_clip.CLIP keeps the parts of the text tower in the model itself, open_clip's other classes in `.text`.
    """
    tower = model if hasattr(model, "token_embedding") else getattr(model, "text", None)
    causal = getattr(tower, "attn_mask", None) is not None and getattr(tower, "cls_emb", None) is None
    return tower if causal and _pool_type(tower) in ("argmax", "eos") else None


def end_positions(model: torch.nn.Module, tokens_NL: torch.Tensor) -> torch.Tensor | None:
    """The position int64 [N] at which each row's feature is read, or None where later tokens matter too."""
    tower = causal_tower(model)
    if tower is None:
        return None
    if _pool_type(tower) == "argmax":
        return tokens_NL.argmax(dim=-1)
    return torch.eq(tokens_NL, _end_token(tower)).int().argmax(dim=-1)


@torch.no_grad()
def image_features(clip: Clip, pixels_BCHW: torch.Tensor, *, batch_size: int) -> torch.Tensor:
    """Unit features [B, D], without gradients, of the uint8 images of clip.images.evaluation_pixels."""
    return torch.cat([encode_images(clip, normalize(clip, part)) for part in torch.split(pixels_BCHW, batch_size)])


def image_feature_batches(clip: Clip, images: Iterable[Read], *, batch_size: int) -> Iterator[torch.Tensor]:
    """Yields unit features [B, D] on the CPU, without gradients, of encoded images under the evaluation transform.

    Together they equal image_features of all images at once. A few threads decode. On a GPU, the next batch is decoded
    and copied while the model computes. Only a few decoded images are in memory.
    """
    decoded_images = decoded(images, evaluation_preparation(clip))
    parts = iter(lambda: list(islice(decoded_images, batch_size)), [])
    pixels = (to_device(torch.stack(part), clip.device) for part in parts)
    with contextlib.closing(prefetched(pixels, device=clip.device)) as batches:
        for pixels_BCHW in batches:
            yield image_features(clip, pixels_BCHW, batch_size=batch_size).cpu()


@torch.no_grad()
def text_features(clip: Clip, texts: Sequence[str], *, batch_size: int) -> torch.Tensor:
    """Unit features [N, D] of texts, without gradients. UserError as require_unit."""
    return require_unit(token_features(clip, tokenize(clip, texts), batch_size=batch_size), "texts")


def require_unit(features_ND: torch.Tensor, what: str) -> torch.Tensor:
    """Returns the features. UserError if one has another length than 1: where a tower overflows it is 0 or NaN."""
    count = int((~((features_ND.norm(dim=-1) - 1).abs() < 0.01)).sum())
    if count:
        problem = f"{count} of {len(features_ND)} features of {what} are NaN, infinite or 0"
        raise UserError(f"the model: {problem}, although its weights are finite: its computation overflows. {REMEDY}")
    return features_ND


@torch.no_grad()
def token_features(clip: Clip, tokens_NL: torch.Tensor, *, batch_size: int) -> torch.Tensor:
    """Unit features [N, D] of token rows, without gradients."""
    return torch.cat([encode_tokens(clip, part.to(clip.device)) for part in torch.split(tokens_NL, batch_size)])


def class_features(
    clip: Clip, class_names: Sequence[str], templates: Sequence[str], *, batch_size: int
) -> torch.Tensor:
    """Unit features [K, D] of the classes: the normalized mean of the unit features of all templates.

    In a template, `{}` stands for the class name. Source and errors as prompt_features.
    """
    prompts = [template.replace("{}", name) for name in class_names for template in templates]
    return prompt_features(clip, prompts, class_names, location="class names", batch_size=batch_size)


def prompt_features(
    clip: Clip, prompts: Sequence[str], class_names: Sequence[str], *, location: str, batch_size: int
) -> torch.Tensor:
    """Unit features [K, D] of the classes, whose prompts follow each other, equally many for each class.

    The zero-shot classifier of CLIP (Radford et al. 2021, section 3.1.4). UserError as require_unit and, with
    `location`, require_distinct_rows.
    """
    tokens_NL = tokenize(clip, prompts)
    require_distinct_rows(class_names, tokens_NL.reshape(len(class_names), -1), location)
    prompts_ND = require_unit(token_features(clip, tokens_NL, batch_size=batch_size), "texts")
    means_KD = prompts_ND.reshape(len(class_names), len(prompts) // len(class_names), -1).mean(dim=1)
    return functional.normalize(means_KD, dim=-1)


def require_distinct_rows(texts: Sequence[str], tokens_NL: torch.Tensor, location: str) -> None:
    """Raises UserError, which begins with `location`, for two classes whose texts have the same tokens.

    A tokenizer ignores case, and cuts what exceeds the model's context.
    """
    first: dict[tuple[int, ...], int] = {}
    for number, row_L in enumerate(tokens_NL.tolist()):
        earlier = first.setdefault(tuple(row_L), number)
        if earlier != number:
            same = f"{texts[earlier]!r} and {texts[number]!r} have the same tokens"
            problem = f"{same}, so classes {earlier} and {number}"
            raise UserError(f"{location}: {problem} are the same to the model. Reword or shorten one of them.")


def class_prompts(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """The prompts that a task is trained with: one per class, from the first template."""
    return [templates[0].replace("{}", name) for name in class_names]


def predict(image_BD: torch.Tensor, class_KD: torch.Tensor) -> torch.Tensor:
    """The class of each image with the largest cosine, int64 [B]."""
    return (image_BD @ class_KD.T).argmax(dim=1)


def _pool_type(tower: Any) -> str:
    return str(tower.text_pool_type if hasattr(tower, "text_pool_type") else tower.pool_type)


def _end_token(tower: Any) -> int:
    return int(tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id)


def _encode_short_rows(tower: Any, tokens_NL: torch.Tensor) -> torch.Tensor:
    """encode_text for rows shorter than the context length, which open_clip refuses."""
    length = tokens_NL.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    hidden_NLW = tower.token_embedding(tokens_NL).to(dtype) + tower.positional_embedding[:length].to(dtype)
    hidden_NLW = tower.transformer(hidden_NLW, attn_mask=tower.attn_mask[:length, :length])
    pooled_NW: torch.Tensor = text_global_pool(
        tower.ln_final(hidden_NLW), tokens_NL, _pool_type(tower), eos_token_id=_end_token(tower)
    )
    projection = tower.text_projection
    if projection is None:
        return pooled_NW
    projected_ND: torch.Tensor = (
        pooled_NW @ projection if isinstance(projection, torch.Tensor) else projection(pooled_NW)
    )
    return projected_ND


def _autocast(clip: Clip) -> contextlib.AbstractContextManager[object]:
    if clip.precision not in AUTOCAST:
        return contextlib.nullcontext()
    return torch.autocast(clip.device.type, dtype=AUTOCAST[clip.precision])

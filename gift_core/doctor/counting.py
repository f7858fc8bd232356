"""Counts operations and bytes on torch's meta device: models run as they are configured, without weights or memory.

A multiplication and an addition count as two operations. Numbers count with 4 bytes. Imports torch.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import open_clip
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from gift_core.clip.architectures import build_model
from gift_core.clip.layers import checkpointed
from gift_core.clip.model import Clip
from gift_core.doctor.stage_work import ClipCount, PipelineCount

ITEMS = 64  # images or texts at once: so many that the gradients of the weights do not matter beside them
CONTEXT = 77  # tokens of a text, where the configuration names no other number


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within the block, counts the operations of matrix products and convolutions, and the peak of bytes in tensors.

    Tensors that were made before the block do not count.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations, self.peak = 0.0, 0
        self._alive = weakref.WeakValueDictionary[int, Any]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.operations += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
        given = {storage._cdata for storage in _storages((args, kwargs))}
        self._alive |= {each._cdata: each for each in _storages(out) if each._cdata not in given}
        self.peak = max(self.peak, sum(each.nbytes() for each in self._alive.values()))
        return out


def _storages(values: Any) -> list[Any]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _fused_attention(query: Any, key: Any, value: Any, *mask: Any, dropout_p: float = 0.0, **options: Any) -> Any:
    """The mask changes neither the operations nor the bytes."""
    fused = torch.ops.aten._scaled_dot_product_efficient_attention
    return fused(query, key, value, None, True, dropout_p, scale=options.get("scale"))[0]


# Attention as devices compute it keeps no matrix of scores. On the meta device torch would take the other one.
FUSED = patch.object(torch.nn.functional, "scaled_dot_product_attention", _fused_attention)


def empty_clip(model_config: Mapping[str, Any]) -> Clip:
    """Returns a model of open_clip without memory, with a tokenizer that gives rows of 0."""
    length = model_config["text_cfg"].get("context_length", CONTEXT)
    with torch.device("meta"):
        model: Any = build_model(model_config, {})
    config = {"model_cfg": model_config, "preprocess_cfg": {"size": model.visual.image_size}}
    return Clip(model, lambda texts: torch.zeros(len(texts), length, dtype=torch.long), config, "fp32")


def count_clip(
    model_config: Mapping[str, Any], checkpointing: bool = False, name: str = "", pretrained: str | None = None
) -> ClipCount:
    """Returns the operations and the bytes of a model of open_clip. UserError if it does not support checkpointing.

    QuickGELU keeps more than GELU. open_clip knows which published weights (`name`, `pretrained`) were trained with it.
    """
    published = open_clip.get_pretrained_cfg(name.replace("/", "-"), pretrained or "")
    clip = empty_clip({**model_config, **({"quick_gelu": True} if published.get("quick_gelu") else {})})
    model: Any = clip.model.train()

    def count(encode: Callable[[torch.Tensor], torch.Tensor], items: torch.Tensor) -> tuple[float, float]:
        """Operations forward, and the peak of forward and backward pass, for each item."""
        with Counter() as counter:
            features = encode(items)
            operations = counter.operations
            features.sum().backward()  # type: ignore[no-untyped-call]
        model.zero_grad()
        return operations / ITEMS, counter.peak / ITEMS

    with checkpointed(clip) if checkpointing else nullcontext(), torch.device("meta"), FUSED:
        image, image_bytes = count(model.encode_image, torch.empty(ITEMS, 3, clip.image_size, clip.image_size))
        tokens_NL = clip.tokenizer([""] * ITEMS)
        text, text_bytes = (each / tokens_NL.shape[1] for each in count(model.encode_text, tokens_NL))
    return ClipCount(image, text, image_bytes, text_bytes, clip.parameter_count, clip.embedding_size)


def count_pipeline(parts: Mapping[str, Mapping[str, Any]], size: int) -> PipelineCount:
    """Returns the operations and the bytes of an image of `size` x `size` px, and the parameters of all parts.

    `parts` are the configurations of the UNet ("unet"), of the autoencoder ("vae") and of other parts, as in their
    config.json. Imports diffusers.
    """
    with torch.device("meta"), torch.no_grad(), FUSED:
        models = {name: build_part(config) for name, config in parts.items()}
        unet, vae, config = models["unet"], models["vae"], models["unet"].config
        scale = 2 ** (len(vae.config.block_out_channels) - 1)
        latents_1CHW = torch.empty(1, config.in_channels, size // scale, size // scale)
        context_1LD = torch.empty(1, CONTEXT, config.cross_attention_dim)
        # What Stable Diffusion XL is told besides: a summary of the prompt, and six sizes.
        summary = (config.projection_class_embeddings_input_dim or 0) - 6 * (config.addition_time_embed_dim or 0)
        added = {"text_embeds": torch.empty(1, max(summary, 0)), "time_ids": torch.empty(1, 6)}
        with Counter() as denoiser:
            unet(latents_1CHW, torch.zeros(1), context_1LD, added_cond_kwargs=added)
        with Counter() as decoder:
            vae.decode(latents_1CHW)
    parameters = {name: sum(each.numel() for each in model.parameters()) for name, model in models.items()}
    return PipelineCount(parameters, denoiser.operations, decoder.operations, denoiser.peak, decoder.peak)


def build_part(config: Mapping[str, Any]) -> Any:
    """Returns a part of a pipeline with random weights, from its config.json. Imports diffusers."""
    import diffusers
    import transformers
    from diffusers.pipelines.stable_diffusion import safety_checker

    name = config.get("_class_name") or config["architectures"][0]
    kind = next(getattr(each, name) for each in (diffusers, transformers, safety_checker) if hasattr(each, name))
    return kind.from_config(dict(config)) if hasattr(kind, "from_config") else kind(kind.config_class(**config))

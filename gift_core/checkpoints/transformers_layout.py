"""The weights of transformers' CLIPModel under open_clip's names, and back.  D features, W width of a tower."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

Tensors = Mapping[str, torch.Tensor]

MARK = "vision_model.embeddings.class_embedding"  # a name that only transformers' layout has
_OUTSIDE = {
    "logit_scale": "logit_scale",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_PROJECTIONS = {
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
}  # [D, W], [W, D]
_TOWERS = {"vision_model": "visual.transformer", "text_model": "transformer"}
_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_QKV = ("q", "k", "v")
_THEIR_LAYER = re.compile(r"(vision_model|text_model)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_OUR_LAYER = re.compile(r"(visual\.transformer|transformer)\.resblocks\.(\d+)\.(.+?)[._](weight|bias)")


def from_transformers(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The weights under open_clip's names: q, k and v stacked, projections transposed.

    What CLIPModel does not have keeps its name, so that it is noticed where the weights are compared with a model.
    """
    ours: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        layer = _THEIR_LAYER.fullmatch(name)
        if name in _OUTSIDE:
            ours[_OUTSIDE[name]] = value
        elif name in _PROJECTIONS:
            ours[_PROJECTIONS[name]] = value.T
        elif layer and layer[3] in _LAYER:
            ours[f"{_TOWERS[layer[1]]}.resblocks.{layer[2]}.{_LAYER[layer[3]]}.{layer[4]}"] = value
        elif layer and layer[3] == "self_attn.q_proj":
            parts = [tensors.get(name.replace("q_proj", f"{part}_proj")) for part in _QKV]
            stacked = torch.cat([part for part in parts if part is not None])
            ours[f"{_TOWERS[layer[1]]}.resblocks.{layer[2]}.attn.in_proj_{layer[4]}"] = stacked
        elif not (layer and layer[3] in ("self_attn.k_proj", "self_attn.v_proj")):
            ours[name] = value
    return ours


def to_transformers(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The weights under CLIPModel's names; `tensors` are those of an open_clip.CLIP with a vision transformer.

    KeyError names a tensor that CLIPModel has no place for.
    """
    outside = {ours: theirs for theirs, ours in _OUTSIDE.items()}
    projections = {ours: theirs for theirs, ours in _PROJECTIONS.items()}
    towers = {ours: theirs for theirs, ours in _TOWERS.items()}
    layers = {ours: theirs for theirs, ours in _LAYER.items()}
    theirs: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        layer = _OUR_LAYER.fullmatch(name)
        if name in projections:
            theirs[projections[name]] = value.T.contiguous()
        elif layer:
            stem = f"{towers[layer[1]]}.encoder.layers.{layer[2]}"
            if layer[3] == "attn.in_proj":
                for part, piece in zip(_QKV, value.chunk(3), strict=True):
                    theirs[f"{stem}.self_attn.{part}_proj.{layer[4]}"] = piece.contiguous()
            else:
                theirs[f"{stem}.{layers[layer[3]]}.{layer[4]}"] = value
        else:
            theirs[outside[name]] = value
    return theirs

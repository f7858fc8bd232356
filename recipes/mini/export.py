"""Writes the trained models as fp16 folders in the formats of open_clip and diffusers."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gift_core.work.publishing import build_folder
from recipes.mini import autoencoder, clip, unet
from recipes.mini.tokenizer import save_tokenizer
from recipes.mini.work import ROOT, settings, work_file


def export_clip(folder: Path) -> None:
    """Writes an open_clip folder: config, fp16 weights, tokenizer files."""
    from safetensors.torch import save

    tokenizer, model = load_clip()
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": clip.model_config(len(tokenizer)),
        "preprocess_cfg": {"mean": [clip.MEAN] * 3, "std": [clip.STD] * 3, "interpolation": "bilinear"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    weights = {name: _half(tensor) for name, tensor in model.state_dict().items()}
    (folder / "open_clip_model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    save_tokenizer(tokenizer, folder)


def load_clip() -> tuple[Any, Any]:
    """Returns (tokenizer, model in evaluation mode) from the work area's checkpoint."""
    tokenizer = clip.tokenizer()
    model = clip.build(len(tokenizer))
    model.load_state_dict(torch.load(work_file("clip.pt"), weights_only=True)["model"])
    return tokenizer, model.eval()


def text_encoder(model: Any, tokenizer: Any) -> Any:
    """Returns the text tower of an open_clip model as a transformers CLIPTextModel with the same last hidden states."""
    from transformers import CLIPTextConfig, CLIPTextModel

    text = settings()["clip"]["text"]
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=text["width"],
            intermediate_size=4 * text["width"],
            projection_dim=settings()["clip"]["embed_dim"],
            num_hidden_layers=text["layers"],
            num_attention_heads=text["heads"],
            max_position_embeddings=text["context_length"],
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    prefix = "text_model." if any(name.startswith("text_model.") for name in encoder.state_dict()) else ""
    renamed = {prefix + name: tensor for name, tensor in _transformers_names(model, text["layers"]).items()}
    missing, unexpected = encoder.load_state_dict(renamed, strict=False)
    assert not unexpected and all("position_ids" in name for name in missing), (missing, unexpected)
    return encoder.eval()


def _transformers_names(model: Any, layers: int) -> dict[str, Tensor]:
    state = model.state_dict()
    names = {
        "embeddings.token_embedding.weight": state["token_embedding.weight"],
        "embeddings.position_embedding.weight": state["positional_embedding"],
        "final_layer_norm.weight": state["ln_final.weight"],
        "final_layer_norm.bias": state["ln_final.bias"],
    }
    parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    parts["self_attn.out_proj"] = "attn.out_proj"
    for layer in range(layers):
        ours, theirs = f"transformer.resblocks.{layer}.", f"encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            for their_part, our_part in parts.items():
                names[f"{theirs}{their_part}.{kind}"] = state[f"{ours}{our_part}.{kind}"]
            for part, tensor in zip("qkv", state[f"{ours}attn.in_proj_{kind}"].chunk(3), strict=True):
                names[f"{theirs}self_attn.{part}_proj.{kind}"] = tensor
    return names


def export_diffusion(folder: Path) -> None:
    """Writes a Stable Diffusion folder: tokenizer, text encoder, UNet (running mean), autoencoder, scheduler."""
    from diffusers import StableDiffusionPipeline

    tokenizer, model = load_clip()
    decoder = autoencoder.build()
    decoder.load_state_dict(torch.load(work_file("autoencoder.pt"), weights_only=True)["model"])
    denoiser = unet.build()
    state = torch.load(work_file("unet.pt"), weights_only=True)
    denoiser.load_state_dict(state["average"])
    decoder.register_to_config(scaling_factor=state["scale"]["factor"].item())
    pipeline = StableDiffusionPipeline(
        vae=decoder,
        text_encoder=text_encoder(model, tokenizer),
        tokenizer=tokenizer,
        unet=denoiser,
        scheduler=unet.sampling_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16)
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.exists() else None
    with build_folder(folder) as unfinished:
        pipeline.save_pretrained(unfinished, safe_serialization=True)
        _load_in_full_precision(unfinished / "text_encoder" / "config.json")
        if text is not None:
            (unfinished / card.name).write_text(text, encoding="utf-8")


def _load_in_full_precision(config: Path) -> None:
    """transformers loads a model in the dtype of its config, diffusers in float32: the same for both."""
    fields = json.loads(config.read_text(encoding="utf-8")) | {"dtype": "float32"}
    config.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _half(tensor: Tensor) -> Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()


def main() -> None:
    """Exports both models from the work area to the folders of params.yaml."""
    params = settings()
    export_clip(ROOT / params["clip_folder"])
    export_diffusion(ROOT / params["diffusion_folder"])


if __name__ == "__main__":
    main()

"""CLIP ViT-B/16 and a pipeline in the shape of Stable Diffusion v1.5 with random weights, for a dry run offline.

    python -m benchmarks.smoke.random_models .gift/smoke_full/models --size full

writes two folders in the standard formats, <folder>/clip (open_clip) and <folder>/diffusion (diffusers), 2.7 GB. To use
them, set model.name to local-dir:<folder>/clip and generator.pipeline to <folder>/diffusion in params.yaml. The
generated images are noise. There is no safety checker, since with random weights it would reject images at random.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.smoke.sizes import SIZES, Size
from benchmarks.smoke.tokenizer import save_tokenizer
from gift_core.work.publishing import build_folder, require_free_bytes

if TYPE_CHECKING:
    import torch

SEED = 0
BYTES_NEEDED = 3_000_000_000  # CLIP in float32 and the pipeline in float16, with a margin


def require_models(folder: Path, size: Size) -> tuple[Path, Path]:
    """Returns the folders of the CLIP and of the pipeline under `folder`. Missing ones are made.

    Raises UserError if the disk is too small, AssertionError if a part does not have the published number of weights.
    """
    clip, diffusion = folder / "clip", folder / "diffusion"
    if not clip.is_dir() or not diffusion.is_dir():
        require_free_bytes(folder, BYTES_NEEDED if size.parameters else 0, "random models")
    if not clip.is_dir():
        write_clip(clip, size)
    if not diffusion.is_dir():
        write_diffusion(diffusion, size)
    return clip, diffusion


def write_clip(folder: Path, size: Size) -> None:
    """Writes an open_clip folder in float32, in the format of the models of the pipeline."""
    import open_clip
    import torch

    from gift_core.clip.model import Clip, save_clip

    torch.manual_seed(SEED)
    model = build_clip(size).eval()
    _require_count("clip", model, size)
    preprocess = json.loads(json.dumps(open_clip.get_model_preprocess_cfg(model)))
    config = {"model_cfg": dict(size.clip), "preprocess_cfg": preprocess}
    save_clip(Clip(model, open_clip.SimpleTokenizer(), config, "fp32"), folder, {"weights": f"random, seed {SEED}"})


def write_diffusion(folder: Path, size: Size) -> None:
    """Writes a pipeline in float16, without a safety checker."""
    import diffusers
    import torch

    from gift_core.interop.exporting import clip_tokenizer

    torch.manual_seed(SEED)
    parts = build_diffusion(size)
    for name, part in parts.items():
        _require_count(name, part, size)
    pipeline = getattr(diffusers, size.pipeline_class)(
        **{name: part.half().eval() for name, part in parts.items()},
        tokenizer=clip_tokenizer(),
        scheduler=getattr(diffusers, size.scheduler_class)(**size.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with build_folder(folder) as unfinished:
        pipeline.save_pretrained(unfinished)
        save_tokenizer(pipeline.tokenizer, unfinished / "tokenizer")


def build_clip(size: Size) -> torch.nn.Module:
    """Returns the CLIP with weights from torch's generator, on torch's default device."""
    from gift_core.clip.architectures import build_model

    return build_model(size.clip, {})


def build_diffusion(size: Size) -> dict[str, torch.nn.Module]:
    """Returns text_encoder, unet and vae with weights from torch's generator, on torch's default device."""
    parts = {"text_encoder": size.text_encoder, "unet": size.unet, "vae": size.autoencoder}
    return {name: build_part(config) for name, config in parts.items()}


def build_part(config: Mapping[str, Any]) -> Any:
    """Returns a part of a pipeline with random weights, from its config.json."""
    import diffusers
    import transformers

    name = config.get("_class_name") or config["architectures"][0]
    kind = getattr(diffusers if hasattr(diffusers, name) else transformers, name)
    return kind.from_config(dict(config)) if hasattr(kind, "from_config") else kind(kind.config_class(**config))


def parameter_count(part: torch.nn.Module) -> int:
    """Returns the number of weights of `part`."""
    return sum(value.numel() for value in part.parameters())


def _require_count(name: str, part: torch.nn.Module, size: Size) -> None:
    expected = size.parameters.get(name)
    found = parameter_count(part)
    assert expected in (None, found), f"{name}: {found:,} parameters, the published one has {expected:,}"


def main() -> None:
    """Makes missing models and prints the folders of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="full")
    choices = parser.parse_args()
    for folder in require_models(choices.folder, SIZES[choices.size]):
        print(folder)


if __name__ == "__main__":
    main()

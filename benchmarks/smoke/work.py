"""Counts the operations at full size on torch's meta device, in seconds and without allocating weights.

    python -m benchmarks.smoke.work

prints the table of docs/full_size.md. A multiplication and an addition count as two operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from benchmarks.smoke.random_models import build_clip, build_diffusion
from benchmarks.smoke.sizes import CONTEXT, FULL, Size
from gift_core.doctor.counting import Counter
from gift_core.doctor.operations import BACKWARD, GUIDED

TERA = 1e12
DENOISING_STEPS, IMAGES, CLASSES = 50, 64, 100


def operations(work: Callable[[], object]) -> float:
    """Returns the operations of the matrix products and convolutions in `work`, in units of 10^12."""
    with torch.device("meta"), torch.no_grad(), Counter() as counter:
        work()
    return counter.operations / TERA


def parts(size: Size) -> Mapping[str, float]:
    """Returns the operations (10^12) of a forward pass of each part on one image or text.

    The parts: UNet, decoder of the autoencoder, text encoder, and CLIP's image and text towers. Texts have full length.
    """
    with torch.device("meta"):
        clip, diffusion = build_clip(size).train(), build_diffusion(size)
        side = size.pixels // 8
        latents_1CHW = torch.empty(1, 4, side, side)
        context_1LD = torch.empty(1, CONTEXT, size.unet["cross_attention_dim"])
        image_1CHW = torch.empty(1, 3, *(size.clip["vision_cfg"]["image_size"],) * 2)
        tokens_1L = torch.zeros(1, CONTEXT, dtype=torch.long)
        time = torch.zeros(1)
    return {
        "UNet": operations(lambda: diffusion["unet"](latents_1CHW, time, context_1LD)),
        "decoder": operations(lambda: diffusion["vae"].decode(latents_1CHW)),  # type: ignore[operator]
        "text encoder": operations(lambda: diffusion["text_encoder"](tokens_1L)),
        "image tower": operations(lambda: clip.encode_image(image_1CHW)),  # type: ignore[operator]
        "text tower": operations(lambda: clip.encode_text(tokens_1L)),  # type: ignore[operator]
    }


def totals(part: Mapping[str, float]) -> Mapping[str, float]:
    """Returns the operations (10^12) of generating an image, and at most of an iteration of finetune and of gift.

    An iteration has 64 images and 100 class prompts, with gift also 64 pairs. Prompts are shorter than the full length.
    """
    task = IMAGES * part["image tower"] + CLASSES * part["text tower"]
    pairs = IMAGES * (part["image tower"] + part["text tower"])
    return {
        f"an image, {DENOISING_STEPS} steps": GUIDED * DENOISING_STEPS * part["UNet"] + part["decoder"],
        "an iteration of finetune": BACKWARD * task,
        "an iteration of gift": BACKWARD * (task + pairs),
    }


def main() -> None:
    """Prints the table."""
    part = parts(FULL)
    print("| | 10^12 operations |\n|---|---|")
    for name, count in {**part, **totals(part)}.items():
        print(f"| {name} | {count:.3g} |")


if __name__ == "__main__":
    main()

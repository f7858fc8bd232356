"""Trains the autoencoder of the mini Stable Diffusion on clean pictures of the miniature world."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from recipes.mini.clip import set_rate
from recipes.mini.pictures import PretrainingImages
from recipes.mini.work import Checkpoint, generator, settings


def build() -> Any:
    """Returns a diffusers AutoencoderKL (32 px to 8x8 latents) with random weights from the recipe's seed."""
    from diffusers import AutoencoderKL

    params = settings()["autoencoder"]
    torch.manual_seed(settings()["seed"])
    levels = len(params["channels"])
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(params["channels"]),
        layers_per_block=params["layers_per_block"],
        latent_channels=params["latent_channels"],
        norm_num_groups=8,
        sample_size=32,
        mid_block_add_attention=False,
    )
    return model.to(memory_format=torch.channels_last)


def reconstruction_loss(model: Any, image_BCHW: Tensor, noise: torch.Generator, kl_weight: float) -> Tensor:
    """Returns the mean absolute error plus ten times the squared error, in -1..1, plus the weighted KL divergence."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = model.encode(image_BCHW).latent_dist
        latent = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=noise)
        decoded = model.decode(latent.contiguous(memory_format=torch.channels_last)).sample.float()
    error = functional.l1_loss(decoded, image_BCHW) + 10 * functional.mse_loss(decoded, image_BCHW)
    total: Tensor = error + kl_weight * posterior.kl().float().mean()
    return total


def train() -> None:
    """Runs or resumes the training. Writes autoencoder.pt to the work area."""
    params = settings()
    chosen = params["autoencoder"]
    torch.set_num_threads(params["threads"])
    images, model, total = PretrainingImages(), build(), chosen["steps"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=1e-4)
    checkpoint = Checkpoint("autoencoder", {"model": model, "optimizer": optimizer}, chosen)
    start = checkpoint.resume()
    progress = tqdm(range(start, total), initial=start, total=total, desc="autoencoder", mininterval=5)
    for step in progress:
        random = generator("autoencoder", step)
        image_BCHW = (images.sample_clean(chosen["batch"], random).images * 2 - 1).contiguous(
            memory_format=torch.channels_last
        )
        set_rate(optimizer, chosen["rate"], step, total)
        loss = reconstruction_loss(model, image_BCHW, random, chosen["kl_weight"])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.4f}")
        checkpoint.save_if_due(step + 1)
    checkpoint.save(total)


if __name__ == "__main__":
    train()

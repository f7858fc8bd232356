"""Trains the UNet of the mini Stable Diffusion on cached latents and the frozen text tower's hidden states.

B pictures, T tokens, C width of the text tower, L latent channels.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from recipes.mini import autoencoder, clip
from recipes.mini.pictures import PretrainingImages
from recipes.mini.work import Checkpoint, generator, settings, work_file

SCHEDULE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "num_train_timesteps": 1000}


def build() -> Any:
    """Returns a diffusers UNet2DConditionModel on 8x8 latents with random weights from the recipe's seed."""
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor

    params = settings()["unet"]
    torch.manual_seed(settings()["seed"])
    channels = settings()["autoencoder"]["latent_channels"]
    levels = len(params["channels"])
    model = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        block_out_channels=tuple(params["channels"]),
        layers_per_block=params["layers_per_block"],
        cross_attention_dim=settings()["clip"]["text"]["width"],
        attention_head_dim=params["heads"],  # diffusers reads this name as the number of heads
        norm_num_groups=8,
    )
    model.set_attn_processor(AttnProcessor())  # bf16 attention of torch has a slow backward pass on CPUs
    return model.to(memory_format=torch.channels_last)


def sampling_scheduler() -> Any:
    """Returns the scheduler of the shipped pipeline."""
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        **SCHEDULE, algorithm_type="dpmsolver++", timestep_spacing="trailing", steps_offset=1
    )


class Scale(nn.Module):
    """The factor that scales latents to unit variance. As a module it is saved with the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Buffer(torch.ones(()))


def cached_latents(scale: Scale) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns (latents [N, L, 8, 8], subjects, inks, pairs) of clean pictures from a cache. Sets the scale."""
    path = work_file("latents.pt")
    if not path.exists():
        _cache_latents(path)
    cached = torch.load(path, weights_only=True)
    scale.factor.fill_(1 / cached["latent"].float().std())
    return cached["latent"], cached["subject"], cached["ink"], cached["pair"]


@torch.no_grad()
def _cache_latents(path: Any) -> None:
    model = autoencoder.build()
    model.load_state_dict(torch.load(work_file("autoencoder.pt"), weights_only=True)["model"])
    images, size = PretrainingImages(), 1000
    rows: dict[str, list[Tensor]] = {"latent": [], "subject": [], "ink": [], "pair": []}
    for part in tqdm(range(settings()["unet"]["latents"] // size), desc="latents", mininterval=5):
        batch = images.sample_clean(size, generator("latents", part))
        pixels = (batch.images * 2 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rows["latent"].append(model.encode(pixels).latent_dist.mean.half().contiguous())
        rows["subject"].append(batch.subjects)
        rows["ink"].append(batch.inks)
        rows["pair"].append(batch.pairs)
    torch.save({name: torch.cat(parts) for name, parts in rows.items()}, path)


class Conditions:
    """Hidden states [.., T, C] of every caption of the UNet's training, by the frozen text tower."""

    @torch.no_grad()
    def __init__(self) -> None:
        tokenize = clip.tokenizer()
        model = clip.build(len(tokenize))
        model.load_state_dict(torch.load(work_file("clip_joint.pt"), weights_only=True))
        length = settings()["clip"]["text"]["context_length"]
        texts = clip.Texts(tokenize, length)
        empty = tokenize([""], padding="max_length", max_length=length, return_tensors="pt").input_ids
        tables = [texts.classes[0], texts.inks, texts.scenes, texts.colors[0], empty]
        self.classes, self.inks, self.scenes, self.colors, self.empty = (_hidden(model, tokens) for tokens in tables)

    def choose(self, subject_B: Tensor, ink_B: Tensor, pair_B: Tensor, drop: float, random: torch.Generator) -> Tensor:
        """Returns the hidden states [B, T, C] of one caption per picture, the empty one with probability `drop`.

        45% get the class caption, 25% color and class, 25% the scene, 5% the color only.
        """
        kind_B = torch.rand(len(subject_B), generator=random)
        drop_B = torch.rand(len(subject_B), generator=random) < drop
        state_BTC = self.classes[subject_B].clone()
        for low, high, other in (
            (0.45, 0.70, self.inks[subject_B, ink_B]),
            (0.70, 0.95, self.scenes[subject_B, pair_B]),
            (0.95, 1.0, self.colors[ink_B]),
        ):
            chosen_B = (kind_B >= low) & (kind_B < high)
            state_BTC[chosen_B] = other[chosen_B]
        state_BTC[drop_B] = self.empty
        return state_BTC.float()


def _hidden(model: Any, tokens: Tensor) -> Tensor:
    """Returns the text tower's output at every token including padding: [.., T, C] in fp16."""
    rows = []
    for part in torch.split(tokens.flatten(0, -2), 2048):
        embedded = model.token_embedding(part) + model.positional_embedding
        rows.append(model.ln_final(model.transformer(embedded, attn_mask=model.attn_mask)).half())
    return torch.cat(rows).view(*tokens.shape, -1)


def velocity_loss(
    model: Any, latent_BLHW: Tensor, state_BTC: Tensor, alpha_T: Tensor, random: torch.Generator
) -> Tensor:
    """Returns the mean squared error of the predicted velocity at uniformly sampled times."""
    time_B = torch.randint(len(alpha_T), (len(latent_BLHW),), generator=random)
    noise = torch.randn(latent_BLHW.shape, generator=random)
    signal = alpha_T[time_B].sqrt()[:, None, None, None]
    sigma = (1 - alpha_T[time_B]).sqrt()[:, None, None, None]
    noised = (signal * latent_BLHW + sigma * noise).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = model(noised, time_B, encoder_hidden_states=state_BTC).sample
    return functional.mse_loss(predicted.float(), signal * noise - sigma * latent_BLHW)


def train() -> None:
    """Runs or resumes the training. Writes latents.pt and unet.pt (with the running mean) to the work area."""
    from diffusers import DDPMScheduler

    params = settings()
    chosen = params["unet"]
    torch.set_num_threads(params["threads"])
    scale = Scale()
    latent_NLHW, subject_N, ink_N, pair_N = cached_latents(scale)
    conditions, alpha_T, total = Conditions(), DDPMScheduler(**SCHEDULE).alphas_cumprod, chosen["steps"]
    model, average = build(), build().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    checkpoint = Checkpoint(
        "unet", {"model": model, "average": average, "optimizer": optimizer, "scale": scale}, chosen
    )
    start = checkpoint.resume()
    progress = tqdm(range(start, total), initial=start, total=total, desc="unet", mininterval=5)
    mean_loss = 1.0
    for step in progress:
        random = generator("unet", step)
        row_B = torch.randint(len(latent_NLHW), (chosen["batch"],), generator=random)
        state_BTC = conditions.choose(subject_N[row_B], ink_N[row_B], pair_N[row_B], chosen["drop_caption"], random)
        clip.set_rate(optimizer, chosen["rate"], step, total)
        loss = velocity_loss(model, latent_NLHW[row_B].float() * scale.factor, state_BTC, alpha_T, random)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        follow(average, model, min(chosen["ema"], (step + 1) / (step + 10)))
        mean_loss += 0.01 * (loss.item() - mean_loss)
        if step % 50 == 0:
            progress.set_postfix(loss=f"{mean_loss:.4f}")
        checkpoint.save_if_due(step + 1)
    checkpoint.save(total)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, keep: float) -> None:
    """Updates the running mean in place: keep * average + (1 - keep) * model."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)


if __name__ == "__main__":
    train()

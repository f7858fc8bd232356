"""Pre-trains the mini CLIP: both towers together, then the image tower against the frozen text tower.

B pictures, S subjects, D embedding width, T tokens.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from recipes.mini.pictures import (
    PAIRS,
    Batch,
    PretrainingImages,
    class_captions,
    color_captions,
    corpus,
    ink_caption,
    scene_caption,
    subjects,
)
from recipes.mini.tokenizer import make_tokenizer
from recipes.mini.work import Checkpoint, generator, settings, work_file

MEAN, STD = 0.5, 0.25


def tokenizer() -> Any:
    """Returns the transformers tokenizer of the recipe."""
    clip = settings()["clip"]
    return make_tokenizer(corpus(), merges=clip["merges"], context_length=clip["text"]["context_length"])


def model_config(vocabulary: int) -> dict[str, Any]:
    """Returns model_cfg of open_clip_config.json."""
    clip = settings()["clip"]
    text = clip["text"] | {"vocab_size": vocabulary, "hf_tokenizer_name": "."}
    return {"embed_dim": clip["embed_dim"], "vision_cfg": clip["vision"], "text_cfg": text}


def build(vocabulary: int) -> Any:
    """Returns an open_clip CLIP with random weights from the recipe's seed, in channels-last layout."""
    from open_clip.model import CLIP

    torch.manual_seed(settings()["seed"])
    config = model_config(vocabulary)
    model = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    model.logit_scale.data.fill_(settings()["clip"]["scale"]).log_()
    return model.to(memory_format=torch.channels_last)


def encode_images(model: Any, image_BCHW: Tensor) -> Tensor:
    """Returns unit-norm features [B, D] of pictures [B, 3, 32, 32] in 0-1, enlarged like the shipped preprocessing."""
    size = settings()["clip"]["vision"]["image_size"]
    pixels = functional.interpolate((image_BCHW - MEAN) / STD, size=size, mode="bilinear", align_corners=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        feature_BD = model.visual(pixels.contiguous(memory_format=torch.channels_last))
    return functional.normalize(feature_BD.float(), dim=-1)


def encode_texts(model: Any, token_BT: Tensor) -> Tensor:
    """Returns unit-norm features [B, D].

    Columns that are padding in every row are cut. The causal mask makes this exact.
    """
    end = token_BT.argmax(dim=1)
    width = int(end.max()) + 1
    hidden = model.token_embedding(token_BT[:, :width]) + model.positional_embedding[:width]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:width, :width]))
    feature_BD = hidden[torch.arange(len(end)), end] @ model.text_projection
    return functional.normalize(feature_BD, dim=-1)


class Texts:
    """Token ids of all captions: classes [3, S, T], colors [3, K, T], inks [S, K, T], scenes [S, P, T]."""

    def __init__(self, tokenize: Any, context_length: int) -> None:
        def table(captions: list[str]) -> Tensor:
            tokens: Tensor = tokenize(
                captions, padding="max_length", truncation=True, max_length=context_length, return_tensors="pt"
            ).input_ids
            return tokens

        count = len(subjects())
        self.classes = torch.stack([table(class_captions(template)) for template in range(3)])
        self.colors = torch.stack([table(color_captions(template)) for template in range(3)])
        inks = [ink_caption(subject, ink) for subject in range(count) for ink in range(12)]
        self.inks = table(inks).view(count, 12, -1)
        scenes = [scene_caption(subject, pair) for subject in range(count) for pair in range(len(PAIRS))]
        self.scenes = table(scenes).view(count, len(PAIRS), -1)


def joint_loss(model: Any, batch: Batch, texts: Texts, step: int) -> Tensor:
    """Returns cross-entropy over the batch's subjects and over all colors, plus a contrastive loss of scenes."""
    clip = settings()["clip"]
    image_BD = clip["scale"] * encode_images(model, batch.images)
    unique, label_B = torch.unique(batch.subjects, return_inverse=True)
    half = len(image_BD) // 4
    scene = texts.scenes[batch.subjects[:half], batch.pairs[:half]]
    ink = texts.inks[batch.subjects[half : 2 * half], batch.inks[half : 2 * half]]
    short = encode_texts(model, torch.cat([texts.classes[step % 3, unique], texts.colors[step % 3]]))
    long = encode_texts(model, torch.cat([scene, ink]))
    loss = functional.cross_entropy(image_BD @ short[: len(unique)].T, label_B)
    loss = loss + float(clip["colour_weight"]) * functional.cross_entropy(image_BD @ short[len(unique) :].T, batch.inks)
    logits = image_BD[: 2 * half] @ long.T
    target = torch.arange(2 * half)
    contrast = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    return loss + float(clip["scene_weight"]) * contrast / 2


class FrozenTexts:
    """The features of all captions by the frozen text tower: indexed like Texts, last axis D."""

    @torch.no_grad()
    def __init__(self, model: Any, texts: Texts) -> None:
        def encode(tokens: Tensor) -> Tensor:
            rows = [encode_texts(model, part) for part in torch.split(tokens.flatten(0, -2), 4096)]
            return torch.cat(rows).view(*tokens.shape[:-1], -1)

        self.classes, self.colors = encode(texts.classes), encode(texts.colors)
        self.inks, self.scenes = encode(texts.inks), encode(texts.scenes)


def image_loss(model: Any, batch: Batch, texts: FrozenTexts, step: int) -> Tensor:
    """Returns joint_loss with constant text features, over all subjects and with a scene for every picture."""
    clip = settings()["clip"]
    image_BD = clip["scale"] * encode_images(model, batch.images)
    loss = functional.cross_entropy(image_BD @ texts.classes[step % 3].T, batch.subjects)
    loss = loss + float(clip["colour_weight"]) * functional.cross_entropy(
        image_BD @ texts.colors[step % 3].T, batch.inks
    )
    scene_BD = texts.scenes[batch.subjects, batch.pairs]
    contrast = functional.cross_entropy(image_BD @ scene_BD.T, torch.arange(len(image_BD)))
    return loss + float(clip["scene_weight"]) * contrast


def train() -> None:
    """Runs or resumes both phases. Writes clip.pt and, after the first phase, clip_joint.pt."""
    params = settings()
    clip = params["clip"]
    torch.set_num_threads(params["threads"])
    tokenize = tokenizer()
    images, texts = PretrainingImages(), Texts(tokenize, clip["text"]["context_length"])
    model = build(len(tokenize))
    joint, total = clip["joint_steps"], clip["joint_steps"] + clip["image_steps"]
    weights = [p for name, p in model.named_parameters() if name != "logit_scale"]
    optimizer = torch.optim.AdamW(weights, lr=0.0, betas=(0.9, 0.98), weight_decay=clip["weight_decay"])
    checkpoint = Checkpoint("clip", {"model": model, "optimizer": optimizer}, clip)
    start = checkpoint.resume()
    frozen: FrozenTexts | None = None
    progress = tqdm(range(start, total), initial=start, total=total, desc="clip", mininterval=5)
    for step in progress:
        if step >= joint and frozen is None:
            checkpoint.save(step)
            torch.save(model.state_dict(), work_file("clip_joint.pt"))
            model.requires_grad_(False).visual.requires_grad_(True)
            optimizer.zero_grad(set_to_none=True)
            frozen = FrozenTexts(model, texts)
        batch = images.sample(clip["batch"], generator("clip", step))
        set_rate(optimizer, clip["rate"], *((step, joint) if frozen is None else (step - joint, total - joint)))
        loss = joint_loss(model, batch, texts, step) if frozen is None else image_loss(model, batch, frozen, step)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
        checkpoint.save_if_due(step + 1)
    checkpoint.save(total)


def set_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, total: int) -> None:
    """Sets the learning rate: a linear warmup over 200 iterations times a cosine to zero."""
    rate = peak * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * step / total))
    for group in optimizer.param_groups:
        group["lr"] = rate


if __name__ == "__main__":
    train()

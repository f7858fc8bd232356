"""`python -m recipes.mini.measure`: the quality of the two shipped models as open_clip and diffusers load them."""

import argparse
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from gift_core.layout import shipped_root
from gift_core.mini import world
from gift_core.mini.rendering import COLORS, to_image

DATA = shipped_root() / "data" / "mini"
TEMPLATE = "a photo of a {}."


class MiniClip:
    """The shipped open_clip model with its preprocessing and tokenizer."""

    def __init__(self, folder: Path = DATA / "clip") -> None:
        import open_clip

        name = f"local-dir:{folder}"
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(name)
        self.model.eval()
        self.tokenize: Any = open_clip.get_tokenizer(name)

    @torch.no_grad()
    def images(self, pictures: Iterable[Image.Image]) -> Tensor:
        """Returns unit-norm features [B, D] of RGB pictures."""
        pixels = torch.stack([self.preprocess(picture) for picture in pictures])
        return torch.cat(
            [functional.normalize(self.model.encode_image(part), dim=-1) for part in torch.split(pixels, 256)]
        )

    @torch.no_grad()
    def texts(self, captions: list[str]) -> Tensor:
        """Returns unit-norm features [B, D] of captions."""
        return functional.normalize(self.model.encode_text(self.tokenize(captions)), dim=-1)

    def classifier(self, names: Iterable[str], templates: Iterable[str]) -> Tensor:
        """Returns unit-norm class features [K, D], the mean over the templates."""
        names = list(names)
        mean = torch.stack([self.texts([template.format(name) for name in names]) for template in templates]).mean(0)
        return functional.normalize(mean, dim=-1)


def zero_shot(clip: MiniClip, pictures: list[tuple[Image.Image, int]], class_KD: Tensor) -> float:
    """Returns the top-1 accuracy (0-1)."""
    guess = (clip.images(picture for picture, _ in pictures) @ class_KD.T).argmax(1)
    return float((guess == torch.tensor([label for _, label in pictures])).float().mean())


def base_accuracy(clip: MiniClip, count: int) -> float:
    """Returns the zero-shot accuracy (0-1) on rendered base symbols, among all base symbols."""
    names, draw = world.base_symbols(), world.RENDERERS["symbols"]
    randoms = [np.random.default_rng([7, zlib.crc32(b"base"), 1, index]) for index in range(count)]
    labels = [index % len(names) for index in range(count)]
    pictures = [(to_image(draw(label, random)), label) for label, random in zip(labels, randoms, strict=True)]
    return zero_shot(clip, pictures, clip.classifier(names, [TEMPLATE]))


def task_accuracy(clip: MiniClip, name: str, split: str, count: int) -> float:
    """Returns the zero-shot accuracy (0-1) on a task, class features averaged over its templates."""
    task = world.mini_task(name)
    pictures = list(world.render_task(name, split, min(count, 500 if name == "digits" else count), seed=7))
    return zero_shot(clip, pictures, clip.classifier(task.class_names, task.templates))


def sample_prompts(count: int, seed: int) -> list[str]:
    """Returns `count` different base prompts, sampled by seed."""
    vocabulary = world.base_vocabulary()
    chosen = np.random.default_rng(seed).permutation(len(vocabulary))[:count]
    return [TEMPLATE.format(vocabulary[index]) for index in chosen]


def pick_accuracy(clip: MiniClip, pictures: list[Image.Image], prompts: list[str], choices: int = 64) -> float:
    """Returns how often (0-1) CLIP ranks a picture's own prompt first among `choices` prompts."""
    image_BD, text_BD = clip.images(pictures), clip.texts(prompts)
    hits = [
        (image @ text.T).argmax(1) == torch.arange(len(image))
        for image, text in zip(torch.split(image_BD, choices), torch.split(text_BD, choices), strict=True)
    ]
    return float(torch.cat(hits).float().mean())


def load_pipeline(folder: Path = DATA / "diffusion") -> Any:
    """Returns the shipped diffusion pipeline in fp32, with plain attention, the fastest on a CPU."""
    from diffusers import DiffusionPipeline
    from diffusers.models.attention_processor import AttnProcessor

    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.set_attn_processor(AttnProcessor())
    return pipeline


def generate(pipeline: Any, prompts: list[str], *, steps: int, guidance: float, seed: int) -> list[Image.Image]:
    """Returns one 32 px picture per prompt, generated in batches of 64 with one seeded generator per picture."""
    pictures: list[Image.Image] = []
    for first in range(0, len(prompts), 64):
        batch = prompts[first : first + 64]
        seeds = [torch.Generator().manual_seed(seed + first + index) for index in range(len(batch))]
        call = pipeline(batch, height=32, width=32, num_inference_steps=steps, guidance_scale=guidance, generator=seeds)
        pictures += call.images
    return pictures


def color_accuracy(clip: MiniClip, pipeline: Any, *, steps: int, guidance: float) -> float:
    """Returns how often (0-1) CLIP recognizes the color of generated pictures, such as "a photo of a red anchor."."""
    symbols = world.base_symbols()
    asked = [(ink, symbols[(5 * index) % len(symbols)]) for index, ink in enumerate(list(COLORS) * 16)]
    pictures = generate(
        pipeline, [TEMPLATE.format(f"{ink} {name}") for ink, name in asked], steps=steps, guidance=guidance, seed=3
    )
    labels = [list(COLORS).index(ink) for ink, _ in asked]
    return zero_shot(
        clip, list(zip(pictures, labels, strict=True)), clip.classifier(COLORS, ["a photo of a {} symbol."])
    )


def rendered_for(prompts: list[str]) -> list[Image.Image]:
    """Returns the rendered pictures that base prompts describe. Colors that a prompt does not name are random."""
    from gift_core.mini.rendering import glyphs_of, legible_pairs
    from gift_core.mini.world import base_picture

    pictures = []
    for index, prompt in enumerate(prompts):
        random = np.random.default_rng([11, index])
        scene, _, ground = prompt.removeprefix("a photo of a ").removesuffix(".").partition(" on a ")
        ink, _, rest = scene.partition(" ")
        name = rest if ink in COLORS else scene
        wanted = (ink if ink in COLORS else None, ground.removesuffix(" background") or None)
        pairs = [pair for pair in legible_pairs() if all(w in (None, p) for w, p in zip(wanted, pair, strict=True))]
        glyph = next(glyph for glyph in glyphs_of("base") if glyph.name == name)
        pictures.append(to_image(base_picture(glyph, *pairs[int(random.integers(len(pairs)))], random)))
    return pictures


def psnr(pipeline: Any, pictures: list[Image.Image]) -> float:
    """Returns the autoencoder's peak signal-to-noise ratio in dB, the mean over pictures."""
    pixels = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures]).float() / 127.5 - 1
    with torch.no_grad():
        decoded = pipeline.vae.decode(pipeline.vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    error = (decoded - pixels).square().mean(dim=(1, 2, 3)) / 4
    return float((-10 * error.log10()).mean())


def main() -> None:
    """Prints one figure per line: zero-shot accuracies, then the quality of the generator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="pictures per figure")
    parser.add_argument("--split", default="test", choices=("train", "test"))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1, help="more are slower when the cores are busy")
    parser.add_argument("--clip-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clip = MiniClip()
    _line("base zero-shot", base_accuracy(clip, options.count))
    tasks = {name: task_accuracy(clip, name, options.split, options.count) for name in world.TASKS}
    for name, accuracy in tasks.items():
        _line(f"{name} zero-shot", accuracy)
    _line("mean of the tasks", sum(tasks.values()) / len(tasks))
    prompts = sample_prompts(options.count // 64 * 64 or 64, seed=1)[: 64 * 10]
    _line("pick of 64, rendered", pick_accuracy(clip, rendered_for(prompts), prompts))
    if options.clip_only:
        return
    pipeline = load_pipeline()
    pictures = generate(pipeline, prompts, steps=options.steps, guidance=options.guidance, seed=1)
    _line("pick of 64, generated", pick_accuracy(clip, pictures, prompts))
    _line("color of generated", color_accuracy(clip, pipeline, steps=options.steps, guidance=options.guidance))
    for name in world.TASKS:
        names = world.mini_task(name).class_names
        asked = [world.mini_task(name).templates[0].format(names[index % len(names)]) for index in range(96)]
        generated = generate(pipeline, asked, steps=options.steps, guidance=options.guidance, seed=5)
        labeled = [(picture, index % len(names)) for index, picture in enumerate(generated)]
        _line(f"{name} generated", zero_shot(clip, labeled, clip.classifier(names, world.mini_task(name).templates)))
    sys.stdout.write(f"{'autoencoder PSNR':28} {psnr(pipeline, rendered_for(prompts[:200])):6.1f} dB\n")


def _line(what: str, accuracy: float) -> None:
    sys.stdout.write(f"{what:28} {100 * accuracy:6.1f} %\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

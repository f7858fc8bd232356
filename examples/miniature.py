"""What the examples share: the small CLIP in data/mini/clip, a task of it, pairs to replay, and its accuracy.

In your own project these are your open_clip model, your DataLoader, and images that a diffusion model generated from
prompts. The pairs here are rendered instead, so that the examples run in seconds and without a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch.utils.data import DataLoader

import gift_core
from gift_core.mini import world

DATA = Path(__file__).resolve().parents[1] / "data" / "mini"
MODEL, GENERATOR = f"local-dir:{DATA / 'clip'}", str(DATA / "diffusion")
TEMPLATE = "a photo of a {}."


@dataclass(frozen=True)
class LabeledImages:
    """Images [N, 3, S, S] after the model's transform, their labels [N], and one prompt for each class."""

    images: torch.Tensor
    labels: torch.Tensor
    prompts: list[str]

    def loader(self, batch_size: int) -> DataLoader[Any]:
        """A DataLoader of (images, labels), as you may have one."""
        dataset = torch.utils.data.TensorDataset(self.images, self.labels)
        return DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)


def load_model() -> tuple[Any, Any, Any]:
    """Returns (model, preprocess, tokenizer) by open_clip alone.

    The model is in evaluation mode, also for training: its image tower has BatchNorm, whose statistics should not move.
    """
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL)
    return model.eval(), preprocess, open_clip.get_tokenizer(MODEL)


def task_images(name: str, split: str, count: int, preprocess: Any) -> LabeledImages:
    """Returns images of a task of the miniature world (textures, letters, ...)."""
    pictures = list(world.render_task(name, split, count, seed=1))
    prompts = [TEMPLATE.format(each) for each in world.mini_task(name).class_names]
    return _labeled(pictures, prompts, preprocess)


def base_images(count: int, preprocess: Any, *, seed: int) -> LabeledImages:
    """Returns images of the symbols that the model knows from its pre-training."""
    prompts = [TEMPLATE.format(each) for each in world.base_symbols()]
    return _labeled(list(world.render_task("symbols", "train", count, seed=seed)), prompts, preprocess)


def write_photos(folder: str) -> tuple[str, str]:
    """Writes images as folders of classes, as you may have them: a task, and symbols that the model knows.

    Returns the folder of the task (train/CLASS/*, test/CLASS/*), and that of the symbols (CLASS/*).
    """
    names = world.mini_task("textures").class_names
    for split, count in (("train", 400), ("test", 200)):
        for number, (picture, label) in enumerate(world.render_task("textures", split, count, seed=1)):
            _write(picture, Path(folder, "textures", split, names[label], f"{number}.png"))
    symbols = world.base_symbols()
    for number, (picture, label) in enumerate(world.render_task("symbols", "train", 200, seed=3)):
        _write(picture, Path(folder, "symbols", symbols[label], f"{number}.png"))
    return str(Path(folder, "textures")), str(Path(folder, "symbols"))


def replay_pairs(count: int, preprocess: Any) -> list[tuple[torch.Tensor, str]]:
    """Returns pairs of an image and its prompt, in place of generated ones."""
    known = base_images(count, preprocess, seed=2)
    return [(image, known.prompts[int(label)]) for image, label in zip(known.images, known.labels, strict=True)]


def accuracy(model: Any, tokenizer: Any, data: LabeledImages) -> float:
    """Returns the zero-shot accuracy in percent, among the classes of `data`."""
    return 100 * gift_core.accuracy(model, tokenizer, [(data.images, data.labels)], data.prompts).accuracy


def _labeled(pictures: list[tuple[Any, int]], prompts: list[str], preprocess: Any) -> LabeledImages:
    images = torch.stack([preprocess(picture) for picture, _ in pictures])
    return LabeledImages(images, torch.tensor([label for _, label in pictures]), prompts)


def _write(picture: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)

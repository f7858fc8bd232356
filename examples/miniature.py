"""What the examples share: the small CLIP in data/mini/clip, a task of it, pairs to replay, and its accuracy.

In your own project these are your open_clip model, your DataLoader, and images that a diffusion model generated from
prompts. The pairs here are rendered instead, so that the examples run in seconds and without a network.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def task_rows(name: str, split: str, count: int) -> list[dict[str, Any]]:
    """Returns {"image": a Pillow image, "label": its class} of a task: textures, letters ... (train or test).

    The task "symbols" is what the model knows from its pre-training.
    """
    return [{"image": image, "label": label} for image, label in world.render_task(name, split, count, seed=1)]


def prompts_of(name: str) -> list[str]:
    """Returns one prompt for each class of a task."""
    return [TEMPLATE.format(each) for each in world.mini_task(name).class_names]


def task_images(name: str, split: str, count: int, preprocess: Any) -> LabeledImages:
    """Returns the images of a task, prepared, with the prompts of its classes."""
    rows = task_rows(name, split, count)
    images, labels = [preprocess(row["image"]) for row in rows], [row["label"] for row in rows]
    return LabeledImages(torch.stack(images), torch.tensor(labels), prompts_of(name))


def write_photos(folder: str) -> tuple[str, str]:
    """Writes images as folders of classes, as you may have them: a task, and symbols that the model knows.

    Returns the folder of the task (train/CLASS/*, test/CLASS/*), and that of the symbols (CLASS/*).
    """
    places = {
        ("textures", "train"): "textures/train",
        ("textures", "test"): "textures/test",
        ("symbols", "test"): "symbols",
    }
    for (name, split), place in places.items():
        class_names = world.mini_task(name).class_names
        for number, row in enumerate(task_rows(name, split, 400 if split == "train" else 200)):
            file = Path(folder, place, class_names[row["label"]], f"{number}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            row["image"].save(file)
    return str(Path(folder, "textures")), str(Path(folder, "symbols"))


def replay_pairs(count: int, preprocess: Any, *, of: Sequence[str] = ("symbols",)) -> list[tuple[torch.Tensor, str]]:
    """Returns `count` pairs of an image and its prompt for each of these tasks, in place of generated ones."""
    tasks = [task_images(name, "train", count, preprocess) for name in of]
    return [
        (image, task.prompts[label])
        for task in tasks
        for image, label in zip(task.images, task.labels.tolist(), strict=True)
    ]


def accuracy(model: Any, tokenizer: Any, data: LabeledImages) -> float:
    """Returns the zero-shot accuracy in percent, among the classes of `data`."""
    return 100 * gift_core.accuracy(model, tokenizer, [(data.images, data.labels)], data.prompts).accuracy

"""Data sets and loaders of dictionaries, as Hugging Face's have them, for `finetune` and `accuracy`.

    python examples/dictionaries.py

`finetune` takes batches (images, labels). Where you make the DataLoader, a collate function returns them. Where a
loader of dictionaries exists already, a class with __iter__ translates it: a generator would end after one epoch. It
takes about ten seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import miniature
import torch
from torch.utils.data import DataLoader

import gift_core


def collate(rows: list[dict[str, Any]], *, preprocess: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images [B, 3, S, S] and labels [B] of rows {"image": a Pillow image, "label": its class}."""
    images = torch.stack([preprocess(row["image"].convert("RGB")) for row in rows])
    return images, torch.tensor([row["label"] for row in rows])


class Translated:
    """A loader of {"pixel_values", "labels"} as one of (images, labels)."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in self.loader:
            yield batch["pixel_values"], batch["labels"]


def main() -> None:
    """Trains on rows of dictionaries, and tests on a loader of them."""
    model, preprocess, tokenizer = miniature.load_model()
    rows = miniature.task_rows("textures", "train", 400)  # datasets.load_dataset("owner/name", split="train")
    prompts = miniature.prompts_of("textures")
    loader = DataLoader(rows, batch_size=32, shuffle=True, collate_fn=partial(collate, preprocess=preprocess))

    known_prompts = miniature.prompts_of("symbols")
    known = miniature.task_rows("symbols", "train", 200)  # of generated images a row has the prompt itself
    pairs = [(row["image"], known_prompts[row["label"]]) for row in known]

    images, labels = collate(miniature.task_rows("textures", "test", 200), preprocess=preprocess)
    prepared = [{"pixel_values": image, "labels": label} for image, label in zip(images, labels, strict=True)]
    tests = Translated(DataLoader(prepared, batch_size=50))

    before = gift_core.accuracy(model, tokenizer, tests, prompts)
    gift_core.finetune(
        model,
        tokenizer,
        loader,
        prompts,
        pairs=pairs,
        iterations=25,
        learning_rate=5e-4,  # of the miniature; the default, 1e-5, is for CLIP ViT-B/16
        replay_batch_size=32,
    )
    after = gift_core.accuracy(model, tokenizer, tests, prompts)
    print(f"{after.images} images of textures: {100 * before.accuracy:.1f} % -> {100 * after.accuracy:.1f} %")


if __name__ == "__main__":
    main()

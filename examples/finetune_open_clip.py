"""Ten lines: fine-tune an open_clip model on your own loader, without forgetting.

    python examples/finetune_open_clip.py

It prints the accuracy on the new task and on what the model knew, before and after. It takes about ten seconds.
"""

from __future__ import annotations

import miniature  # the next file; replace it by your own model, loader and pairs

import gift_core


def main() -> None:
    """Trains, and prints two lines."""
    model, preprocess, tokenizer = miniature.load_model()  # open_clip.create_model_and_transforms
    task = miniature.task_images("textures", "train", 400, preprocess)  # your data set
    pairs = miniature.replay_pairs(200, preprocess)  # [(image, "a photo of a cloud."), ...]
    tests = {
        "textures, the new task": miniature.task_images("textures", "test", 200, preprocess),
        "symbols, known before": miniature.task_images("symbols", "test", 200, preprocess),
    }
    before = {name: miniature.accuracy(model, tokenizer, test) for name, test in tests.items()}

    losses = gift_core.finetune(
        model,
        tokenizer,
        task.loader(batch_size=32),
        task.prompts,
        pairs=pairs,
        iterations=25,
        learning_rate=5e-4,  # of the miniature; the default, 1e-5, is for CLIP ViT-B/16
        training=gift_core.Training(replay_batch_size=32),
    )

    print(f"task loss {losses[0]['task']:.2f} -> {losses[-1]['task']:.2f}")
    for name, test in tests.items():
        print(f"{name}: {before[name]:.1f} % -> {miniature.accuracy(model, tokenizer, test):.1f} %")


if __name__ == "__main__":
    main()

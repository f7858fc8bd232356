"""A loss of your own in place of GIFT's distillation, compared with gift and with plain fine-tuning.

    python examples/own_loss.py

The loss is a function in examples/my_losses.py, which params.yaml can name, too. It takes about twenty seconds.
"""

from __future__ import annotations

from typing import Any

import miniature
from my_losses import relations

import gift_core

RATE = 5e-4  # of the miniature, for which the paper's 1e-5 is small


def methods() -> dict[str, Any]:
    """Returns rows of methods: GIFT as in the paper but for the miniature's weights, and one with the new loss."""
    gift = gift_core.method_row("gift") | {"consolidation": {"kind": "adaptive_fisher", "weight": 0.1}}
    own = {"relations": gift_core.WeightedLoss(20.0, relations), "align": gift["losses"]["align"]}
    return {"finetune": "finetune", "gift": gift, "relations": gift | {"losses": own}}


def main() -> None:
    """Trains once with each method from the same model, and prints a table."""
    _, preprocess, _ = miniature.load_model()
    task = miniature.task_images("textures", "train", 400, preprocess)
    textures = miniature.task_images("textures", "test", 200, preprocess)
    known = miniature.task_images("symbols", "test", 200, preprocess)
    pairs = miniature.replay_pairs(200, preprocess)
    print(f"{'method':<12}{'textures':>10}{'known symbols':>15}")
    for name, method in methods().items():
        model, _, tokenizer = miniature.load_model()
        gift_core.finetune(
            model,
            tokenizer,
            task.loader(batch_size=32),
            task.prompts,
            pairs=pairs,
            method=method,
            iterations=20,
            learning_rate=RATE,
            training=gift_core.Training(replay_batch_size=32),
        )
        row = [miniature.accuracy(model, tokenizer, data) for data in (textures, known)]
        print(f"{name:<12}{row[0]:>9.1f}%{row[1]:>14.1f}%")


if __name__ == "__main__":
    main()

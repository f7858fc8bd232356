"""GIFT's losses and its weight consolidation in a LightningModule.

    pip install lightning
    python examples/lightning_module.py

Optimization is manual, because the consolidation observes the gradients of the replay losses before those of the task
loss are added. It takes about fifteen seconds.
"""

from __future__ import annotations

import copy
from typing import Any

import lightning
import miniature
import torch
from torch.utils.data import DataLoader, TensorDataset

import gift_core

ITERATIONS, BATCH_SIZE, RATE = 25, 32, 5e-4


class Gift(lightning.LightningModule):
    """An open_clip model, and a frozen copy of it as the teacher."""

    def __init__(self, model: torch.nn.Module, class_tokens: torch.Tensor) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.teacher = model, copy.deepcopy(model).requires_grad_(False)
        self.model.logit_scale.requires_grad_(False)
        self.register_buffer("class_tokens", class_tokens)
        self.trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.rates = gift_core.learning_rates(ITERATIONS, warmup_iterations=2, peak=RATE)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.trained.values(), weight_decay=0.0)

    def on_train_start(self) -> None:
        self.model.eval()  # BatchNorm keeps its statistics
        self.consolidation = gift_core.AdaptiveFisher(self.trained, weight=0.1)  # remembers the weights as they are now

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        optimizer, scale = self.optimizers(), self.model.logit_scale.exp()
        optimizer.param_groups[0]["lr"] = self.rates[self.global_step]
        optimizer.zero_grad()
        pair_images, pair_tokens = batch["pairs"]
        with torch.no_grad():
            teacher_image, teacher_text, _ = self.teacher(pair_images, pair_tokens)
        student_image, student_text, _ = self.model(pair_images, pair_tokens)  # unit features
        prompt_ids = torch.unique(pair_tokens, dim=0, return_inverse=True)[1]
        distill = gift_core.distill(student_image, student_text, teacher_image, teacher_text, scale=scale)
        align = gift_core.align(student_image, student_text, prompt_ids, scale=scale)
        self.manual_backward(distill + 0.25 * align)
        self.consolidation.observe({name: value.grad for name, value in self.trained.items()})

        images, labels = batch["task"]
        image, text, _ = self.model(images, self.class_tokens)
        task = gift_core.task_loss(image, text, labels_B=labels, scale=scale)
        self.manual_backward(task)
        penalty = self.consolidation.pull(self.trained)
        optimizer.step()
        self.log_dict({"task": task, "distill": distill, "align": align, "penalty": penalty})


def main() -> None:
    """Trains, and prints accuracies before and after."""
    model, preprocess, tokenizer = miniature.load_model()
    task = miniature.task_images("textures", "train", 400, preprocess)
    images, prompts = zip(*miniature.replay_pairs(200, preprocess), strict=True)
    pairs = TensorDataset(torch.stack(images), tokenizer(list(prompts)))
    tests = {name: miniature.task_images(name, "test", 200, preprocess) for name in ("textures", "symbols")}
    before = {name: miniature.accuracy(model, tokenizer, test) for name, test in tests.items()}

    # Lightning cycles through the shorter loader.
    loaders = {"task": task.loader(BATCH_SIZE), "pairs": DataLoader(pairs, BATCH_SIZE, shuffle=True, drop_last=True)}
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_steps=ITERATIONS, enable_model_summary=False, **options)
    trainer.fit(Gift(model, tokenizer(task.prompts)), loaders)

    print("last iteration:", {name: round(float(value), 2) for name, value in trainer.callback_metrics.items()})
    for name, test in tests.items():
        print(f"{name}: {before[name]:.1f} % -> {miniature.accuracy(model, tokenizer, test):.1f} %")


if __name__ == "__main__":
    main()

"""How much is measured at a size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The batch sizes of generation, and the lengths of two trainings whose difference counts."""

    batch_sizes: tuple[int, ...]
    denoising_steps: int
    images: int  # of the task a step, and as many pairs
    few_steps: int
    many_steps: int
    precisions: tuple[str, ...]


PLANS = {
    "full": Plan((1, 4, 8, 16, 32), denoising_steps=50, images=64, few_steps=20, many_steps=120,
                 precisions=("fp32", "amp_bf16")),
    "cut": Plan((1, 2), denoising_steps=2, images=4, few_steps=1, many_steps=3, precisions=("fp32", "amp_bf16")),
}  # fmt: skip

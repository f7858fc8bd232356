"""The amount of work to measure at each size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The batch sizes of generation, and the iterations of two training runs whose difference is used."""

    batch_sizes: tuple[int, ...]
    denoising_steps: int
    images: int  # of the task per iteration, and the same number of pairs
    few_iterations: int
    many_iterations: int
    precisions: tuple[str, ...]


PLANS = {
    "full": Plan((1, 4, 8, 16, 32), denoising_steps=50, images=64, few_iterations=20, many_iterations=120,
                 precisions=("fp32", "amp_bf16")),
    "cut": Plan((1, 2), denoising_steps=2, images=4, few_iterations=1, many_iterations=3,
                precisions=("fp32", "amp_bf16")),
}  # fmt: skip

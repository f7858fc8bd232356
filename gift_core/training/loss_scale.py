"""Scaling of losses, so that small gradients survive float16: by powers of two, which lose nothing on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from gift_core.errors import UserError

FIRST_SCALE = 2.0**16
GROWTH_INTERVAL = 2000  # steps without an overflow after which the scale doubles
MOST_SKIPS = 24  # in a row: by then the scale is far below 1, so that it is not the scale that overflows


class LossScale(Protocol):
    """What a step's losses are multiplied with, and whether its gradients may be used."""

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss to go back from."""
        ...

    def restore(self, gradients: Sequence[torch.Tensor]) -> None:
        """Scale gradients in place that `unscale` has divided, so that those of another scaled loss may be added."""
        ...

    def unscale(self, gradients: Sequence[torch.Tensor]) -> bool:
        """Divide in place; return whether all are finite."""
        ...

    def update(self, finite: bool) -> dict[str, float]:
        """End a step whose gradients were finite or not; return what its row of losses says of it beside them."""
        ...


class NoScale:
    """The null object: float32 and bfloat16 reach as far as gradients go."""

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss as it is."""
        return loss

    def restore(self, gradients: Sequence[torch.Tensor]) -> None:
        """Nothing."""

    def unscale(self, gradients: Sequence[torch.Tensor]) -> bool:
        """Nothing; gradients are taken as they are."""
        return True

    def update(self, finite: bool) -> dict[str, float]:
        """Nothing to say."""
        return {}


class DynamicScale:
    """torch.amp.GradScaler's rule: half the scale after an overflow, twice after GROWTH_INTERVAL steps without one.

    Written anew because the anchor must see unscaled gradients in the middle of a step, where GradScaler refuses to
    unscale twice, and because a skipped step must be told. UserError after MOST_SKIPS skipped steps in a row.
    """

    def __init__(self, scale: float = FIRST_SCALE, growth_interval: int = GROWTH_INTERVAL) -> None:
        self.scale, self._growth_interval = scale, growth_interval
        self._good = self._skipped = 0

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss times the scale."""
        return loss * self.scale

    @torch.no_grad()
    def restore(self, gradients: Sequence[torch.Tensor]) -> None:
        """Times the scale."""
        if gradients:
            torch._foreach_mul_(list(gradients), self.scale)

    @torch.no_grad()
    def unscale(self, gradients: Sequence[torch.Tensor]) -> bool:
        """Over the scale; False where a gradient is infinite or no number."""
        if not gradients:
            return True
        torch._foreach_mul_(list(gradients), 1 / self.scale)
        largest = torch.stack(list(torch._foreach_norm(list(gradients), torch.inf)))
        return bool(largest.isfinite().all())

    def update(self, finite: bool) -> dict[str, float]:
        """{"skipped": 0 or 1}."""
        self._skipped = 0 if finite else self._skipped + 1
        self._good = self._good + 1 if finite else 0
        if self._skipped == MOST_SKIPS:
            raise UserError(
                f"model.precision: amp_fp16: the gradients of {MOST_SKIPS} steps in a row were not finite, down to a "
                f"loss scale of {self.scale:g}. No model is written. Set model.precision to amp_bf16 or fp32."
            )
        if not finite:
            self.scale /= 2
        elif self._good == self._growth_interval:
            self.scale, self._good = self.scale * 2, 0
        return {"skipped": float(not finite)}


# By the name of model.precision in params.yaml.
LOSS_SCALES = {"fp32": NoScale, "amp_bf16": NoScale, "amp_fp16": DynamicScale}

"""The rows of losses of a training run: read from the device, checked and reported. A GPU does not wait for that."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from gift_core.artifacts.model_folder import ENTROPY
from gift_core.errors import UserError
from gift_core.overlap import copied_to_cpu

if TYPE_CHECKING:
    from gift_core.training.loop import LossRow, WeightUpdate


@dataclass
class LossRows:
    """Updates the weights after each iteration, and collects the rows in `rows`.

    With `late` 0 the losses are checked before the weights are updated. With `late` 1 they are read when the next
    iteration is queued, so that the GPU always has work. The rows and the error of a loss that is not finite are the
    same. Weights that were updated after such a loss are never written, because every loss is read before that.
    """

    update: WeightUpdate
    on_iteration: Callable[[LossRow], None]
    late: int
    rows: list[LossRow] = field(default_factory=list)
    unread: deque[Callable[[], LossRow]] = field(default_factory=deque)

    def add(self, row: LossRow, losses: Mapping[str, torch.Tensor]) -> None:
        """Updates the weights. `row` has the iteration and the learning rate."""
        read = copied_to_cpu(torch.stack([loss.detach().float() for loss in losses.values()]))

        def complete() -> LossRow:
            return with_total({**row, **dict(zip(losses, read().tolist(), strict=True))})

        if self.late:
            self.update(row, earlier=self.rows)
            self.unread.append(complete)
        else:
            updated = self.update(complete(), earlier=self.rows)
            self.unread.append(lambda: updated)

    def report(self, *, unread: int = 0) -> None:
        """Reads, checks and reports all rows but the last `unread`. UserError for a loss that is not finite."""
        while len(self.unread) > unread:
            row = self.unread.popleft()()
            require_finite(row, self.rows)
            self.rows.append(row)
            self.on_iteration(row)


def with_total(row: LossRow) -> LossRow:
    """Returns the row with the sum of its losses in the column total."""
    others = ("iteration", "learning_rate", "total")
    losses = [value for name, value in row.items() if name not in others and not name.endswith(ENTROPY)]
    return {**row, "total": math.fsum(losses)}


def require_finite(row: LossRow, rows: Sequence[LossRow]) -> None:
    """Raises UserError for a loss that is not finite, with the last of `rows` as the last good values."""
    broken = [name for name, value in row.items() if not math.isfinite(value) and name != "total"]
    if broken:
        last = rows[-1] if rows else "none"
        raise UserError(
            f"training stopped at iteration {int(row['iteration'])}: {', '.join(broken)} became {row[broken[0]]}. Last "
            f"good values: {last}. No model is written. Lower the learning rate ({row['learning_rate']:.3g} at this "
            "iteration), or set model.precision to fp32 if it is not."
        )

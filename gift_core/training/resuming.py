"""The whole state of a training run between two iterations, as a snapshot from which it continues to the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gift_core.artifacts.snapshot import Saved, Snapshot
from gift_core.averaging import WeightAveraging
from gift_core.consolidation import Consolidation

if TYPE_CHECKING:
    from gift_core.training.loop import WeightUpdate
    from gift_core.training.loss_rows import LossRows

LOSSES = "losses"


@dataclass(frozen=True)
class TrainingState:
    """Everything that an iteration changes. Batches are not part of it: they depend on their iteration alone.

    Nor are the buffers of the model and the start weights, which training leaves as they were loaded. `losses` has
    the rows of the iterations done.
    """

    parameters: Mapping[str, torch.nn.Parameter]
    update: WeightUpdate
    consolidation: Consolidation
    averages: Sequence[WeightAveraging]
    losses: LossRows

    def resume(self, snapshot: Snapshot, iterations: int) -> int:
        """Sets the state to that of the interrupted run, if there is one; returns the number of iterations done."""
        saved = snapshot.read()
        if saved is None:
            return 0
        self._restore(saved)
        done = len(self.losses.rows)
        snapshot.say(f"continues at iteration {done} of {iterations}")
        return done

    def save(self) -> Saved:
        """Returns the state now. Its tensors are those of the run, and not copies."""
        self.losses.report()  # what is stored is checked before
        rows = self.losses.rows
        tensors = {
            **self._tensors(),
            **{
                f"optimizer.{name}.{index}": value
                for index, values in self.update.optimizer.state_dict()["state"].items()
                for name, value in values.items()
            },
            **{f"random.{name}": state for name, state in random_states(self._device).items()},
            LOSSES: torch.tensor([list(row.values()) for row in rows], dtype=torch.float64),
        }
        note = {
            "columns": list(rows[0]),
            "scaler": self.update.scaler.state_dict(),
            "skipped_in_a_row": self.update.skipped_in_a_row,
        }
        return Saved(tensors, note)

    @torch.no_grad()
    def _restore(self, saved: Saved) -> None:
        for name, tensor in self._tensors().items():
            tensor.copy_(saved.tensors[name])
        optimizer: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in saved.tensors.items():
            if key.startswith("optimizer."):
                _, name, index = key.split(".")
                optimizer.setdefault(int(index), {})[name] = tensor
        self.update.optimizer.load_state_dict({**self.update.optimizer.state_dict(), "state": optimizer})
        self.update.scaler.load_state_dict(saved.note["scaler"])
        self.update.skipped_in_a_row = saved.note["skipped_in_a_row"]
        for generator in random_states(self._device):
            set_random_state(generator, saved.tensors[f"random.{generator}"], self._device)
        for values in saved.tensors[LOSSES].tolist():
            row = dict(zip(saved.note["columns"], values, strict=True))
            self.losses.rows.append({**row, "iteration": int(row["iteration"])})

    def _tensors(self) -> dict[str, torch.Tensor]:
        """The tensors that exist from the start."""
        lists = {"consolidation": self.consolidation.state()}
        lists |= {f"average {number}": average.state() for number, average in enumerate(self.averages)}
        return {f"weight.{name}": value.detach() for name, value in self.parameters.items()} | {
            f"{name}.{index}": value for name, values in lists.items() for index, value in enumerate(values)
        }

    @property
    def _device(self) -> torch.device:
        return next(iter(self.parameters.values())).device


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Returns the state of torch's generators by kind of device: that of the CPU, and that of `device`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(generator: str, state: torch.Tensor, device: torch.device) -> None:
    """Sets one of the generators of `random_states`."""
    if generator == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif generator == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)

"""Drives a training run (gift_core.method.training.loop). A training is one chain, so its state is one snapshot.

Batches are prefetched, a GPU does not wait until losses are read, and several processes can train together.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import torch

from gift_core.computation import State
from gift_core.driving.processes import ALONE, Processes
from gift_core.errors import UserError
from gift_core.progress import progress
from gift_core.seeds import seed_for
from gift_core.torch_devices import random_states, set_random_states
from gift_core.work.overlap import copied_to_cpu, prefetched
from gift_core.work.resumable import keep_state, read_state

if TYPE_CHECKING:
    from gift_core.method.training.loop import Iteration, LossRow, Sampled, TrainingRun

logger = logging.getLogger(__name__)
CHECKED_EVERY = 100  # iterations, between two comparisons of the weights of several processes
# Seconds between two snapshots. That of ViT-B/16 has 1.8 GB, which disks take in 2 to 13 s. A shorter run writes none.
INTERVAL = 120.0


def drive(
    run: TrainingRun,
    batches_from: Callable[[int], Iterable[Sampled]],
    *,
    on_iteration: Callable[[LossRow], None] = lambda row: None,
    snapshot: Path | None = None,
    processes: Processes = ALONE,
) -> None:
    """Trains to the last of the run's rates, with the batches that `batches_from` yields from an iteration on.

    Training continues from the file `snapshot` if an interrupted run left one, to the same weights and rows as without
    the interruption. The file is replaced every INTERVAL. `on_iteration` gets the rows that this call computes. Where
    several `processes` train together, each calls this with the same arguments, and the first one writes the snapshots.
    UserError as in the loop, and where the weights of the processes differ.
    """
    if processes.count == 1 and torch.distributed.is_initialized():
        problem = "this process is in a group of torch.distributed, so it would decode its share of each batch alone"
        raise UserError(f"fine-tuning: {problem}. Call torch.distributed.destroy_process_group() first.")
    parameters = run.parameters
    device = run.clip.device
    total = len(run.rates)
    seed = torch.initial_seed()
    saved = None if snapshot is None else read_state(snapshot)
    if saved is not None:
        _restore(run, saved)
        logger.info(f"continues at iteration {len(run.rows)} of {total}")
    done = len(run.rows)
    processes.require_equal(parameters, done)

    def begun(batches: Iterable[Sampled]) -> Iterator[Sampled]:
        for index, batch in enumerate(batches, start=done):
            # Random layers: each process has its own numbers, which no snapshot of the first one could hold.
            if processes.count > 1:
                torch.manual_seed(seed_for("finetune", seed, "iteration", index, "process", processes.rank))
            if index % CHECKED_EVERY == 0:
                processes.require_equal(parameters, index)
            yield batch

    with closing(prefetched(batches_from(done), device=device)) as batches:
        rows = _rows(run, begun(batches), snapshot if processes.is_first else None, late=_late(run))
        for row in progress(rows, total, "iterations", done=done):
            on_iteration(row)
    processes.require_equal(parameters, len(run.rows))


def _rows(run: TrainingRun, batches: Iterable[Sampled], snapshot: Path | None, *, late: int) -> Iterator[LossRow]:
    """Yields the row of each iteration. The last `late` ones are read when the next is queued: a GPU always has work.

    Where a snapshot cannot be written, it is tried again when the next one is due. Weights that were updated after a
    loss that is not finite are never written, since every loss is read before that.
    """
    unread: deque[tuple[Iteration, Callable[[], torch.Tensor]]] = deque()
    kept_at = monotonic()

    def read_to(most: int) -> Iterator[LossRow]:
        while len(unread) > most:
            queued, copied = unread.popleft()
            yield run.add(replace(queued, losses=copied()))

    for iteration in run.iterations(batches):
        unread.append((iteration, copied_to_cpu(iteration.losses)))
        yield from read_to(late)
        if snapshot is not None and monotonic() - kept_at >= INTERVAL and iteration.index + 1 < len(run.rates):
            yield from read_to(0)  # what is stored is checked before
            keep_state(snapshot, _state(run))
            kept_at = monotonic()
    yield from read_to(0)


def _late(run: TrainingRun) -> int:
    """How many iterations the losses may be read late: 0 or 1. Under amp_fp16 a step waits for its gradients anyway."""
    return 0 if run.clip.device.type == "cpu" or run.update.scaler.is_enabled() else 1


def _state(run: TrainingRun) -> State:
    """All that an iteration changes. Its tensors are those of the run, and not copies.

    Batches are not part of it: they depend on their iteration alone. Nor are the buffers of the model and the start
    weights, which training leaves as they were loaded.
    """
    update = run.update
    tensors = _tensors(run) | {
        f"optimizer.{name}.{index}": value
        for index, values in update.optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    tensors |= {f"random.{name}": state for name, state in random_states(run.clip.device).items()}
    scaler, skipped = update.scaler.state_dict(), update.skipped_in_a_row
    return State(tensors, {"rows": run.rows, "scaler": scaler, "skipped_in_a_row": skipped})


@torch.no_grad()
def _restore(run: TrainingRun, saved: State) -> None:
    update, device = run.update, run.clip.device
    for name, tensor in _tensors(run).items():
        tensor.copy_(saved.tensors[name])
    optimizer: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in saved.tensors.items():
        if key.startswith("optimizer."):
            _, name, index = key.split(".")
            optimizer.setdefault(int(index), {})[name] = tensor
    update.optimizer.load_state_dict({**update.optimizer.state_dict(), "state": optimizer})
    update.scaler.load_state_dict(saved.note["scaler"])
    update.skipped_in_a_row = saved.note["skipped_in_a_row"]
    set_random_states(device, {name: saved.tensors[f"random.{name}"] for name in random_states(device)})
    run.rows.extend(saved.note["rows"])


def _tensors(run: TrainingRun) -> dict[str, torch.Tensor]:
    """The tensors that exist from the start."""
    lists = {"consolidation": run.consolidation.state()}
    lists |= {f"average {number}": average.state() for number, average in enumerate(run.averages)}
    weights = {f"weight.{name}": value.detach() for name, value in run.parameters.items()}
    return weights | {f"{name}.{index}": value for name, values in lists.items() for index, value in enumerate(values)}

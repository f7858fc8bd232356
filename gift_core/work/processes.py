"""Data-parallel training: several processes share the rows of each batch, and sum their gradients.

Each process has the whole model and computes the whole loss. N rows of images or texts, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import distributed

from gift_core.computation import groups, own_share, share_of
from gift_core.errors import UserError
from gift_core.seeds import seed_for

if TYPE_CHECKING:
    from gift_core.clip.model import Clip
    from gift_core.method.training.encoders import Encode, EncoderStrategy

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
TIMEOUT = timedelta(hours=1)  # of a wait for another process. The launcher notices at once when one has ended
CHECKED_EVERY = 100  # iterations, between two comparisons of the weights


@dataclass(frozen=True)
class Processes:
    """One process of those that train a model together, in the default group of torch.distributed.

    All methods are collective: every process calls them, in the same order. A single process has no group.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and reports progress."""
        return self.rank == 0

    def gather(self, own_ND: torch.Tensor, rows: int) -> torch.Tensor:
        """Returns the features [rows, D] of all processes. Those of this one, `own_ND`, keep their graph."""
        padded_ND = own_ND.new_zeros(-(-rows // self.count), own_ND.shape[1])  # all_gather needs equal sizes
        padded_ND[: len(own_ND)] = own_ND.detach()
        gathered = [torch.empty_like(padded_ND) for _ in range(self.count)]
        distributed.all_gather(gathered, padded_ND)
        shares = [share_of(rows, rank, self.count) for rank in range(self.count)]
        parts = [part[: share.stop - share.start] for part, share in zip(gathered, shares, strict=True)]
        parts[self.rank] = own_ND
        return torch.cat(parts)

    @torch.no_grad()
    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each `.grad` by its sum over the processes. One that no process has stays None."""
        values = list(parameters)
        exists = torch.tensor([value.grad is not None for value in values], device=values[0].device).int()
        distributed.all_reduce(exists, distributed.ReduceOp.MAX)
        used = [value for value, there in zip(values, exists.tolist(), strict=True) if there]
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in used]
        for part in groups(gradients) if gradients else ():
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients[part]])
            distributed.all_reduce(flat)
            sums = torch.split(flat, [gradient.numel() for gradient in gradients[part]])
            for gradient, total in zip(gradients[part], sums, strict=True):
                gradient.copy_(total.view(gradient.shape))
        for value, gradient in zip(used, gradients, strict=True):
            value.grad = gradient

    @torch.no_grad()
    def require_equal(self, parameters: Mapping[str, torch.Tensor], iterations: int) -> None:
        """Raises UserError, in every process, if their weights or their numbers of iterations done differ."""
        if self.count == 1:
            return
        bits = [value.reshape(-1).view(torch.int32).sum(dtype=torch.int64) for value in parameters.values()]
        lowest = torch.stack([*bits, torch.full_like(bits[0], iterations)])
        highest = lowest.clone()
        distributed.all_reduce(lowest, distributed.ReduceOp.MIN)
        distributed.all_reduce(highest, distributed.ReduceOp.MAX)
        differing = (lowest != highest).nonzero().flatten().tolist()
        if differing:
            first = [*parameters, "the number of iterations"][differing[0]]
            raise UserError(
                f"training.processes: {self.count}: the processes differ after {iterations} iterations (the first "
                f"difference is in {first}), so their gradients no longer belong together. No model is written. Use "
                "GPUs of one kind, or write training.processes: 1."
            )

    def begin(self, iteration: int, parameters: Mapping[str, torch.Tensor], seed: int) -> None:
        """Seeds the layers that are random in training, and now and then compares the weights (see require_equal).

        Each process has random numbers of its own. They depend on iteration and `seed` alone, so no snapshot has to
        hold the generators of all processes.
        """
        if self.count > 1:
            torch.manual_seed(seed_for("finetune", seed, "iteration", iteration, "process", self.rank))
        if iteration % CHECKED_EVERY == 0:
            self.require_equal(parameters, iteration)

    @contextmanager
    def joined(self, device: torch.device, store: Path) -> Iterator[None]:
        """Within the block the processes are a group that computes on `device`. They meet in the file `store`."""
        distributed.init_process_group(
            BACKENDS[device.type],
            store=distributed.FileStore(str(store), self.count),  # type: ignore[attr-defined]
            rank=self.rank,
            world_size=self.count,
            timeout=TIMEOUT,
        )
        try:
            yield
        finally:
            distributed.destroy_process_group()


ALONE = Processes()


class DataParallel:
    """Each process encodes its share of the rows, with the gradients of the full batch.

    The features of all processes are gathered without a graph, and those of this process keep theirs. So every process
    computes the whole loss, its backward pass gives the part of the gradient that goes through its own rows, and the
    gradient is the sum over the processes. (torch's DistributedDataParallel takes the mean, of losses that each see one
    part of the batch.)
    """

    def __init__(self, clip: Clip, own: EncoderStrategy, processes: Processes) -> None:
        self._clip, self._own, self._processes = clip, own, processes

    def encode_images(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Returns unit features [B, D]. Images of other processes are not read."""
        return self._encode(self._own.encode_images, images_BCHW)

    def encode_tokens(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        """Returns unit features [N, D]."""
        return self._encode(self._own.encode_tokens, tokens_NL)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the sum over the processes to `.grad`, which is equal in all of them before and after."""
        trained = [parameter for parameter in self._clip.model.parameters() if parameter.requires_grad]
        if not self._processes.is_first:  # what `.grad` holds already should count once in the sum
            for parameter in trained:
                parameter.grad = None
        self._own.backward(loss)
        self._processes.sum_gradients(trained)

    def _encode(self, encode: Encode, rows_NX: torch.Tensor) -> torch.Tensor:
        own_NX = rows_NX[own_share(len(rows_NX))]
        # A process without rows encodes one and drops it: its features then have a size and a graph, too.
        own_ND = encode(own_NX if len(own_NX) else rows_NX[:1])[: len(own_NX)]
        return self._processes.gather(own_ND, len(rows_NX))

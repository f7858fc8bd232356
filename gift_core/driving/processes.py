"""Data-parallel training: several processes share the rows of each batch, and sum their gradients.

Each process has the whole model and computes the whole loss. torch.multiprocessing starts and watches them. N rows of
images or texts, D features.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from gift_core.computation import groups, own_share, share_of
from gift_core.errors import GiftError, UserError
from gift_core.process_variables import QUIET

if TYPE_CHECKING:
    from gift_core.clip.model import Clip
    from gift_core.method.training.encoders import Encode, EncoderStrategy

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
TIMEOUT = timedelta(hours=1)  # of a wait for another process. That one has ended is noticed at once
SETTLE_SECONDS = 1.0  # in which those that were interrupted, or lost the connection to one that failed, end themselves
VISIBLE = "CUDA_VISIBLE_DEVICES"
STORE, ERROR = "store", "error.json"  # files: where the group meets, and the error of the process that failed first
# Runs in each process with its Processes and the arguments of run_together: loads what it needs, and returns what
# trains. It is importable, and the arguments can be pickled.
Job = Callable[..., Callable[[], object]]


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
        sums = [value.reshape(-1).view(torch.int32).sum(dtype=torch.int64) for value in parameters.values()]
        state = [iterations, *torch.stack(sums).tolist()]
        states = [None] * self.count
        distributed.all_gather_object(states, state)
        if any(other_state != state for other_state in states):
            problem = (
                f"the processes differ after {iterations} iterations, so their gradients no longer belong together"
            )
            remedy = "No model is written. Use GPUs of one kind, or write training.processes: 1."
            raise UserError(f"training.processes: {self.count}: {problem}. {remedy}")


ALONE = Processes()


class DataParallel:
    """Each process encodes its share of the rows, with the gradients of the full batch.

    The features of all processes are gathered without a graph, and those of this process keep theirs. So every process
    computes the whole loss, its backward pass gives the part of the gradient that goes through its own rows, and the
    gradient is the sum over the processes. (torch's DistributedDataParallel takes the mean, of losses that each see one
    part of the batch.)
    """

    def __init__(self, clip: Clip, strategy: EncoderStrategy, processes: Processes) -> None:
        self._clip = clip
        self._strategy = strategy
        self._processes = processes

    def backward(self, loss: torch.Tensor) -> None:
        """Add the sum over the processes to `.grad`, which is equal in all of them before and after."""
        trained = [parameter for parameter in self._clip.model.parameters() if parameter.requires_grad]
        if not self._processes.is_first:  # what `.grad` holds already should count once in the sum
            for parameter in trained:
                parameter.grad = None
        self._strategy.backward(loss)
        self._processes.sum_gradients(trained)

    def encode(self, encode: Encode, rows_NX: torch.Tensor) -> torch.Tensor:
        """Returns unit features [N, D]. Images of other processes are not read."""
        own_NX = rows_NX[own_share(len(rows_NX))]
        # A process without rows encodes one and drops it: its features then have a size and a graph, too.
        own_ND = self._strategy.encode(encode, own_NX if len(own_NX) else rows_NX[:1])[: len(own_NX)]
        return self._processes.gather(own_ND, len(rows_NX))


def run_together(count: int, device: torch.device, job: Job, arguments: Sequence[Any] = ()) -> None:
    """Runs job(processes, *arguments)() in `count` processes that form a group, a single one in this process.

    On CPUs the threads of this process are divided among them. Whatever ends this process or one of them ends all. The
    error of the process that failed first is raised: a GiftError as UserError, any other as RuntimeError with its
    traceback.
    """
    if count == 1:
        job(ALONE, *arguments)()
        return
    threads = max(1, torch.get_num_threads() // count) if device.type == "cpu" else torch.get_num_threads()
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # the error says what was ended
    with tempfile.TemporaryDirectory(prefix="gift-") as name:
        folder = Path(name)
        # new Pythons, because CUDA does not work in a process that was forked
        started: Any = start_processes(  # type: ignore[no-untyped-call]
            _main, (count, device, folder, threads, job, arguments), nprocs=count, join=False, daemon=True
        )
        try:
            while not started.join(grace_period=SETTLE_SECONDS):
                pass
        except ProcessExitedException as error:
            raise _explanation(error, count, folder / ERROR) from None
        finally:
            living = [process for process in started.processes if process.is_alive()]  # this one was interrupted
            for process in living:
                os.kill(process.pid, signal.SIGINT)
            for process in living:
                process.join(SETTLE_SECONDS)
                process.kill()


def _explanation(error: ProcessExitedException, count: int, file: Path) -> Exception:
    """The error in the file, unless the process was killed."""
    code = error.exit_code
    if code == 1 and file.exists():
        is_ours, text = json.loads(file.read_text(encoding="utf-8"))
        return UserError(text) if is_ours else RuntimeError(f"a process of the training failed:\n{text}")
    end = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
    memory = ". The system ends processes where memory is insufficient: see docs/memory.md" if code == -9 else ""
    return UserError(f"training.processes: process {error.error_index + 1} of {count} {end}{memory}. Run it again.")


def _main(
    rank: int, count: int, device: torch.device, folder: Path, threads: int, job: Job, arguments: Sequence[Any]
) -> None:
    """What each process runs: loads, joins the group, and trains. Ctrl-C reaches all of them."""
    signal.signal(signal.SIGINT, _interrupt_once)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if rank:
        os.environ[QUIET] = "1"
    if device.type == "cuda":  # a GPU of its own, so that it can use no memory of another one
        visible = os.environ.get(VISIBLE) or ",".join(map(str, range(count)))
        os.environ[VISIBLE] = visible.split(",")[rank]
    try:
        torch.set_num_threads(threads)
        train = job(Processes(rank, count), *arguments)
        store = distributed.FileStore(str(folder / STORE), count)  # type: ignore[attr-defined]
        distributed.init_process_group(BACKENDS[device.type], store=store, rank=rank, world_size=count, timeout=TIMEOUT)
        train()
    except BaseException as error:  # written before the others lose the connection, and fail because of that
        content = [True, str(error)] if isinstance(error, GiftError) else [False, traceback.format_exc()]
        with suppress(FileExistsError), (folder / ERROR).open("x", encoding="utf-8") as stream:
            json.dump(content, stream)
        raise SystemExit(1) from None
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _interrupt_once(*_: object) -> None:
    """Ctrl-C comes from the terminal, and again from the first process: that one should not stop this from ending."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Ends this process with the one that started it, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

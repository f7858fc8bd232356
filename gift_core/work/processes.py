"""Data-parallel training: several processes share the rows of each batch, and sum their gradients.

Each process has the whole model and computes the whole loss. The process that calls `started` is the first of them;
torch.multiprocessing starts and watches the others. N rows of images or texts, D features.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from gift_core.computation import groups, own_share, share_of
from gift_core.errors import GiftError, UserError
from gift_core.progress import QUIET
from gift_core.seeds import seed_for

if TYPE_CHECKING:
    from gift_core.clip.model import Clip
    from gift_core.method.training.encoders import Encode, EncoderStrategy

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
TIMEOUT = timedelta(hours=1)  # of a wait for another process. The first process notices at once when one has ended
CHECKED_EVERY = 100  # iterations, between two comparisons of the weights
GRACE_SECONDS = 5.0  # for this process to notice that another one failed, or for another one to end
SETTLE_SECONDS = 1.0  # in which those that lost the connection to a process that failed end by themselves
VISIBLE = "CUDA_VISIBLE_DEVICES"
STORE, ERROR = "store", "error.json"  # files: where the group meets, and the first error of another process
# Runs in each other process with its Processes and the arguments of `started`: loads what it needs, and returns what
# trains. Both are importable, and the arguments can be pickled.
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


@contextmanager
def started(count: int, device: torch.device, job: Job, arguments: Sequence[Any] = ()) -> Iterator[Processes]:
    """Yields the first of `count` processes, after starting the others. Within the block they form a group.

    The others run job(processes, *arguments)(). On CPUs the threads of this process are divided among all. Whatever
    ends the block ends the others. Where another process fails, its error is raised here: a GiftError as UserError,
    anything else as RuntimeError with its traceback.
    """
    if count == 1:
        yield ALONE
        return
    former = torch.get_num_threads()
    threads = max(1, former // count) if device.type == "cpu" else former
    with tempfile.TemporaryDirectory(prefix="gift-") as name:
        folder = Path(name)
        work = count, device, folder, threads, job, arguments
        # new Pythons, because CUDA does not work in a process that was forked
        others: Any = start_processes(  # type: ignore[no-untyped-call]
            _main, work, nprocs=count - 1, join=False, daemon=True, start_method="spawn"
        )
        watch, done = _Watch(others, folder), False
        watch.start()
        try:
            torch.set_num_threads(threads)
            while len(list(folder.glob("*.ready"))) < count - 1 and not watch.failed.wait(0.1):
                pass
            if watch.error is None:
                with Processes(0, count).joined(device, folder / STORE):
                    yield Processes(0, count)
                done = True
        except Exception as error:  # it may be a lost connection, because another process has failed
            if isinstance(error, GiftError) or not watch.failed.wait(GRACE_SECONDS / 2):
                raise
        finally:
            watch.ended.set()
            torch.set_num_threads(former)
            watch.join(GRACE_SECONDS if done else 0)
            for process in others.processes:  # they write nothing, so nothing is left half done
                process.kill()
            watch.join()
        if watch.error is not None and not done:
            raise watch.error


class _Watch(threading.Thread):
    """Waits for the end of the other processes. Where one failed and this one hangs, it ends this one.

    NCCL waits on the GPU for a process that has died, and no Python code runs meanwhile.
    """

    def __init__(self, others: Any, folder: Path) -> None:
        super().__init__(name="processes", daemon=True)
        self._others, self._folder = others, folder
        self.error: Exception | None = None  # of the process that failed first
        self.failed, self.ended = threading.Event(), threading.Event()

    def run(self) -> None:
        """Returns when all are done, or one has failed."""
        try:
            while not self._others.join(grace_period=SETTLE_SECONDS):
                pass
            return
        except ProcessExitedException as error:
            self.error = self._explanation(error.error_index + 1, error.exit_code)
        self.failed.set()
        if not self.ended.wait(GRACE_SECONDS):
            with suppress(OSError):
                os.write(2, f"error: {self.error}\n".encode(errors="backslashreplace"))
            os._exit(1)

    def _explanation(self, rank: int, code: int) -> Exception:
        """The error of another process: the one that it wrote, unless it was killed."""
        if code == 1 and (self._folder / ERROR).exists():
            is_ours, text = json.loads((self._folder / ERROR).read_text(encoding="utf-8"))
            return UserError(text) if is_ours else RuntimeError(f"another process of the training failed:\n{text}")
        end = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        memory = ". The system ends processes where memory is insufficient: see docs/memory.md" if code == -9 else ""
        what = f"training.processes: process {rank + 1} of {len(self._others.processes) + 1} {end}{memory}"
        return UserError(f"{what}. Run it again.")


def _main(
    index: int, count: int, device: torch.device, folder: Path, threads: int, job: Job, arguments: Sequence[Any]
) -> None:
    """What another process runs. It writes nothing, so Ctrl-C ends it at once.

    So does the end of the first process: start_processes asks Linux for the same signal then.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    rank = index + 1
    os.environ[QUIET] = "1"
    if device.type == "cuda":  # a GPU of its own, so that it can use no memory of another one
        visible = os.environ.get(VISIBLE) or ",".join(map(str, range(count)))
        os.environ[VISIBLE] = visible.split(",")[rank]
    processes, error = Processes(rank, count), folder / ERROR
    with _reported(error):
        torch.set_num_threads(threads)
        train = job(processes, *arguments)
        (folder / f"{rank}.ready").touch()
        # what fails in the group is written before the others lose the connection
        with processes.joined(device, folder / STORE), _reported(error):
            train()


@contextmanager
def _reported(file: Path) -> Iterator[None]:
    """Writes the error of the block to the file, unless another process was first, and exits with 1."""
    try:
        yield
    except Exception as error:
        content = [True, str(error)] if isinstance(error, GiftError) else [False, traceback.format_exc()]
        with suppress(FileExistsError), file.open("x", encoding="utf-8") as stream:
            json.dump(content, stream)
        raise SystemExit(1) from None

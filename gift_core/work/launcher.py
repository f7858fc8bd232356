"""Starts the other processes of data-parallel training, ends them, and reports the error of the one that failed first.

The process that calls `started` is the first of them; torch.multiprocessing starts and watches the others.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.errors import GiftError, UserError
from gift_core.progress import QUIET

if TYPE_CHECKING:
    import torch

    from gift_core.work.processes import Processes

# Runs in each other process with its Processes and the arguments of `started`: loads what it needs, and returns what
# trains. Both are importable, and the arguments can be pickled.
Job = Callable[..., Callable[[], object]]
GRACE_SECONDS = 5.0  # for this process to notice that another one failed, or for another one to end
SETTLE_SECONDS = 1.0  # in which those that lost the connection to a process that failed end by themselves
VISIBLE = "CUDA_VISIBLE_DEVICES"
STORE, ERROR = "store", "error.json"  # files: where the group meets, and the first error of another process


@contextmanager
def started(count: int, device: torch.device, job: Job, arguments: Sequence[Any] = ()) -> Iterator[Processes]:
    """Yields the first of `count` processes, after starting the others. Within the block they form a group.

    The others run job(processes, *arguments)(). On CPUs the threads of this process are divided among all. Whatever
    ends the block ends the others. Where another process fails, its error is raised here: a GiftError as UserError,
    anything else as RuntimeError with its traceback.
    """
    from gift_core.work.processes import Processes

    if count == 1:
        yield Processes()
        return
    import torch
    from torch.multiprocessing.spawn import start_processes

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
        from torch.multiprocessing.spawn import ProcessExitedException

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
    """What another process runs. Ctrl-C reaches it through the first process only."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    rank = index + 1
    os.environ[QUIET] = "1"
    if device.type == "cuda":  # a GPU of its own, so that it can use no memory of another one
        visible = os.environ.get(VISIBLE) or ",".join(map(str, range(count)))
        os.environ[VISIBLE] = visible.split(",")[rank]
    import torch

    from gift_core.work.processes import Processes

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


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

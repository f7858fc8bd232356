"""Starts the other processes of data-parallel training, ends them, and reports the error of the one that failed first.

The process that calls `started` is the first of them. torch is imported inside functions, so that the others are ready
for signals before they load it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
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
SETTLE_SECONDS = 0.5
GRACE_SECONDS = 5.0  # for this process to notice that another one failed, or for another one to end
LOG_CHARACTERS = 2000  # of what a process printed before it died
VISIBLE = "CUDA_VISIBLE_DEVICES"
READY, DONE = "ready", "done"


@dataclass
class _Watch:
    """A thread that reads what the other processes report. Where one failed and this one hangs, it ends this one.

    NCCL waits on the GPU for a process that has died, and no Python code runs meanwhile.
    """

    others: dict[Connection, tuple[Any, Path]]  # the process and the file of its output
    error: Exception | None = None  # of the process that failed first
    failed: threading.Event = field(default_factory=threading.Event)
    all_ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Reads until all are done, or one has failed."""
        running, ready = set(self.others), 0
        while running and self.error is None:
            reports = self._reports(running, None)
            if any(isinstance(report, tuple) for report in reports.values()):
                # those that lost the connection to a killed process may be heard before its end is noticed
                reports |= self._reports(running - set(reports), SETTLE_SECONDS)
                failures = [report for report in reports.values() if isinstance(report, tuple)]
                self.error = min(failures, key=lambda failure: failure[0])[1]
            running -= {pipe for pipe, report in reports.items() if report == DONE}
            ready += list(reports.values()).count(READY)
            if ready == len(self.others) or self.error is not None:
                self.all_ready.set()
        if self.error is not None:
            self.failed.set()
            if not self.ended.wait(GRACE_SECONDS):
                with suppress(OSError):
                    os.write(2, f"error: {self.error}\n".encode(errors="backslashreplace"))
                os._exit(1)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Within the block, a lost connection becomes the error of the process that failed."""
        try:
            yield
        except GiftError:
            raise
        except Exception as error:
            if self.failed.wait(GRACE_SECONDS / 2) and self.error is not None:
                raise self.error from error
            raise

    def _reports(self, running: Iterable[Connection], seconds: float | None) -> dict[Any, object]:
        """Waits for reports, at most this long: READY, DONE, or when a process failed and its error."""
        return {pipe: self._report(pipe) for pipe in wait(list(running), seconds)}

    def _report(self, pipe: Any) -> object:
        with suppress(EOFError, OSError):
            return pipe.recv()
        process, log = self.others[pipe]
        process.join()
        printed = log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:].strip()
        end = f"was ended by signal {-process.exitcode}" if process.exitcode < 0 else f"exited with {process.exitcode}"
        memory = ". The system ends processes where memory is insufficient: see docs/memory.md"
        what = f"training.processes: {process.name} {end}{memory if process.exitcode == -9 else ''}"
        # no other failure ends a process without its report, so this is the first one
        return 0.0, UserError(f"{what}. {f'It printed: {printed}' if printed else 'Run it again.'}")


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

    former = torch.get_num_threads()
    threads = max(1, former // count) if device.type == "cpu" else former
    with tempfile.TemporaryDirectory(prefix="gift-") as folder:
        store = Path(folder) / "store"
        others: dict[Connection, tuple[Any, Path]] = {}
        watch, patience = _Watch(others), 0.0
        thread = threading.Thread(target=watch.run, name="processes", daemon=True)
        torch.set_num_threads(threads)
        try:
            for rank in range(1, count):
                work = pickle.dumps((Processes(rank, count), device, store, threads, job, arguments))
                _start(rank, count, work, others, Path(folder), gpu=device.type == "cuda")
            thread.start()
            watch.all_ready.wait()
            if watch.error is not None:
                raise watch.error
            with ExitStack() as group:
                with watch.explained():
                    group.enter_context(Processes(0, count).joined(device, store))
                with watch.explained():
                    yield Processes(0, count)
            patience = GRACE_SECONDS
        finally:
            watch.ended.set()
            torch.set_num_threads(former)
            _end(watch, thread, patience=patience)


def _start(
    rank: int, count: int, work: bytes, others: dict[Connection, tuple[Any, Path]], folder: Path, *, gpu: bool
) -> None:
    """Starts a process. It is a new Python, because CUDA does not work in a process that was forked."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    log = folder / f"{rank}.log"
    visible = os.environ.get(VISIBLE) or ",".join(map(str, range(count)))
    own_gpu = visible.split(",")[rank] if gpu else None  # so that it can use no memory of another one
    name = f"process {rank + 1} of {count}"
    process = context.Process(target=_main, args=(work, sender, str(log), own_gpu), name=name, daemon=True)
    process.start()
    sender.close()
    others[receiver] = process, log


def _end(watch: _Watch, thread: threading.Thread, *, patience: float) -> None:
    """Ends what has not ended within `patience` seconds. The others write nothing, so nothing is left half done."""
    if thread.is_alive():  # not where a process could not be started
        thread.join(patience)
    for process, _ in watch.others.values():
        process.kill()
    if thread.is_alive():
        thread.join()  # only then: two threads cannot wait for one process
    for process, _ in watch.others.values():
        process.join()


def _main(work: bytes, pipe: Connection, log: str, own_gpu: str | None) -> None:
    """What another process runs. Its output goes to `log`, and Ctrl-C reaches it through the first process only."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.environ[QUIET] = "1"
    if own_gpu is not None:
        os.environ[VISIBLE] = own_gpu
    with _reporting(pipe):
        processes, device, store, threads, job, arguments = pickle.loads(work)
        import torch

        torch.set_num_threads(threads)
        train = job(processes, *arguments)
        pipe.send(READY)
        # what fails in the group is reported before the others lose the connection
        with processes.joined(device, store), _reporting(pipe):
            train()
        pipe.send(DONE)


@contextmanager
def _reporting(pipe: Connection) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        text = f"{multiprocessing.current_process().name} failed:\n{traceback.format_exc()}"
        pipe.send((time.time(), UserError(str(error)) if isinstance(error, GiftError) else RuntimeError(text)))
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

"""How a command ends early: Ctrl-C, SIGTERM, a closed terminal, or the end of the `dvc repro` that started it.

DVC does not stop its stage when it is stopped itself, and a killed process cannot. So a stage watches its parents.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from gift_core.process_variables import DVC_STAGE

POLL_SECONDS = 0.5
GRACE_SECONDS = 4.0  # for the current computation and for removing partial files; then the process ends hard
SHELLS = {"sh", "ash", "bash", "dash", "fish", "ksh", "mksh", "tcsh", "csh", "zsh"}  # DVC runs a stage in $SHELL
REASONS = {"SIGINT": "interrupted", "SIGTERM": "stopped by SIGTERM", "SIGHUP": "stopped: the terminal was closed"}
ORPHANED = "stopped: the `dvc repro` that started it has ended"
started_as: int | None = None  # the process that was started as this stage, where the fork server runs it


class Interruption(KeyboardInterrupt):
    """A signal to end. Its arguments say why, and what is kept of the work."""

    def __init__(self, signal_number: int, reason: str, *kept: str) -> None:
        super().__init__(f"{reason}.", *kept)
        self.exit_code = 128 + signal_number


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block a signal to end raises Interruption, once, in the main thread.

    Where the block does not end within GRACE_SECONDS, the process does. A signal that is ignored, as by nohup, stays
    ignored.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    orphaned, raised = threading.Event(), threading.Event()

    def raise_once(number: int, frame: FrameType | None) -> None:
        if not raised.is_set():  # what a second signal would interrupt is the removal of partial files
            raised.set()
            raise Interruption(number, ORPHANED if orphaned.is_set() else REASONS[signal.Signals(number).name])

    former = {number: signal.signal(number, raise_once) for number in _signals()}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, _launchers(), orphaned), name="interruption", daemon=True).start()
    try:
        yield
    finally:
        if raised.is_set():  # it watches until the process has ended, and a second signal is written to the socket, too
            writer.detach()
        else:
            signal.set_wakeup_fd(descriptor)
            for number, handler in former.items():
                signal.signal(number, handler)
            writer.close()  # ends the thread


def _watch(reader: socket.socket, launchers: list[Any] | None, orphaned: threading.Event) -> None:
    """The thread that ends this process when DVC has ended, or when it did not obey a signal within GRACE_SECONDS.

    Python runs its signal handlers between two steps of the main thread, so not while that is in native code. But it
    writes the number of each signal to a socket at once.
    """
    received: list[int] = []
    while not received:
        if launchers is not None and not _are_alive(launchers):
            orphaned.set()
            received.append(signal.SIGTERM)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        elif select.select([reader], [], [], POLL_SECONDS)[0]:
            numbers = reader.recv(64)
            if not numbers:  # the block has ended
                reader.close()
                return
            received = [number for number in numbers if number in _signals()]
    time.sleep(GRACE_SECONDS)
    with suppress(OSError):
        os.write(2, f"It did not end within {GRACE_SECONDS:.0f} s: it was ended at once. Run it again.\n".encode())
    os._exit(128 + received[0])


@contextmanager
def postponed() -> Iterator[threading.Event]:
    """Within the block a signal to end only sets the event that it yields. Interruption is raised after the block.

    For `gift run`, which has to end some processes and to record stages, which may take longer than GRACE_SECONDS.
    """
    stop, received = threading.Event(), []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        stop.set()

    former = {number: signal.signal(number, note) for number in _signals()}
    descriptor = signal.set_wakeup_fd(-1)  # of the thread that would end this process
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in former.items():
            signal.signal(number, handler)
    if received:
        raise Interruption(received[0], REASONS[signal.Signals(received[0]).name], "The finished stages are recorded.")


def _signals() -> list[signal.Signals]:
    known = [signal.Signals[name] for name in REASONS if name in signal.Signals.__members__]  # Windows has no SIGHUP
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def _launchers() -> list[Any] | None:
    """The process that was started as this stage and those above it up to DVC; [] where DVC has ended, None without.

    A stage is in the process group of its DVC. A command that leads a group of its own (of an interactive shell, of
    setsid) was started on purpose, even where it inherited the variables of a stage.
    """
    process = started_as or os.getpid()
    if DVC_STAGE not in os.environ or os.name != "posix" or os.getpgrp() == process:
        return None
    import psutil

    with suppress(psutil.Error, OSError):
        launchers = [psutil.Process(process)]
        for parent in launchers[0].parents():
            launchers.append(parent)
            if parent.name() not in SHELLS:
                return launchers if os.getpgid(parent.pid) == os.getpgrp() else []
    return []


def _are_alive(launchers: list[Any]) -> bool:
    """Whether each process still has the next one as its parent: it gets another parent when that one ends."""
    import psutil

    try:
        return bool(launchers) and all(child.ppid() == parent.pid for child, parent in itertools.pairwise(launchers))
    except psutil.Error:
        return False

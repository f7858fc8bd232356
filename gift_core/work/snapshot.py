"""The newest state of an interrupted computation, in one file below .gift/, from which the stage continues."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gift_core.computation import State
from gift_core.errors import UserError
from gift_core.work.folder import Key, difference, key_beside
from gift_core.work.publishing import require_free_bytes, write_atomically

SHORTEST_INTERVAL = 30.0  # seconds: a shorter run writes nothing, and at least this much work is lost
SHARE_OF_TIME = 0.015  # that writing may take
PROBE_BYTES = 2**25  # 32 MiB, to measure the disk before the first write of a larger state


@dataclass
class Snapshot:
    """The file `path`, which is replaced whenever a new state is due. Without a path nothing is kept.

    The file holds the key of the work folder it is in (gift_core.work.folder): everything that decides the result.
    `say` prints a line for people. `seconds_written` is the time that writing took so far.
    """

    path: Path | None = None
    say: Callable[[str], None] = lambda line: None
    seconds_written: float = 0.0
    _written_at: float = field(default_factory=lambda: monotonic())
    _seconds: float | None = None  # of the last write, or as expected of the first
    _failed: bool = False  # the last write

    def read(self) -> State | None:
        """Returns what an interrupted run left, None if that is nothing (read_state)."""
        state = None if self.path is None else read_state(self.path, self.say)
        if state is not None:
            self._written_at = monotonic()
        return state

    @property
    def is_due(self) -> bool:
        """Whether the last state was written long enough ago."""
        return self.path is not None and monotonic() - self._written_at >= SHORTEST_INTERVAL

    def keep(self, state: Callable[[], State]) -> None:
        """Replaces the file by `state()` where that is due, so that writing takes at most SHARE_OF_TIME of the time.

        If the file cannot be written, for example because the disk is full, the work goes on, and it is tried again
        when the next one is due.
        """
        if self.path is None or not self.is_due:
            return
        due = state()
        size = sum(tensor.nbytes for tensor in due.tensors.values())
        try:
            if self._seconds is None:
                self._seconds = self._timed(_probe) * size / PROBE_BYTES if size > PROBE_BYTES else 0.0
            if monotonic() - self._written_at < self._seconds / SHARE_OF_TIME:
                return
            # as much again stays free for the result, which is never larger
            require_free_bytes(self.path, 2 * size, "the snapshot of unfinished work")
            self._seconds = self._timed(lambda path: write_state(path, due))
            self._failed = False
        except (UserError, OSError, SafetensorError) as error:
            if not self._failed:
                self.say(f"no snapshot could be written, so an interruption loses more. It is tried again: {error}")
            self._failed = True
        self._written_at = monotonic()

    def _timed(self, write: Callable[[Path], None]) -> float:
        assert self.path is not None
        started = monotonic()
        write(self.path)
        seconds = monotonic() - started
        self.seconds_written += seconds
        return seconds


NOT_KEPT = Snapshot()


def _probe(path: Path) -> None:
    """Writes PROBE_BYTES that no disk can compress, and removes them again."""
    probe = path.with_suffix(".probe")
    try:
        with write_atomically(probe) as unfinished:
            unfinished.write_bytes(os.urandom(PROBE_BYTES))
    finally:
        probe.unlink(missing_ok=True)


def write_state(path: Path, state: State) -> None:
    """Writes a state to a file, with its checksums and the key of the work folder that the file is in."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    checksums = {name: _crc32(tensor) for name, tensor in on_cpu.items()}
    text = json.dumps({"key": key_beside(path), "note": state.note, "crc32": checksums})
    with write_atomically(path) as unfinished:
        save_file(on_cpu, unfinished, {"text": text, "crc32": str(zlib.crc32(text.encode()))})


def read_state(path: Path, say: Callable[[str], None] = lambda line: None) -> State | None:
    """Returns the state in a file, with its tensors on the CPU; None if there is no file.

    A damaged file, and one that a run with another key wrote, is renamed, and `say` prints it.
    """
    if not path.is_file():
        return None
    try:
        return _read(path, key_beside(path))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        say(f"{_set_aside(path)} is not used: {error}. This part of the work starts again.")
        return None


def _set_aside(path: Path) -> Path:
    """Renames a file so that the next one does not replace it. The work folder is removed as a whole."""
    aside = path.with_name(f"{path.name}.not_used")
    with suppress(FileNotFoundError):  # another process of the training was faster
        path.rename(aside)
    return aside


def _read(path: Path, key: Key) -> State:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if str(zlib.crc32(metadata["text"].encode())) != metadata["crc32"]:
            raise ValueError("it is damaged, since the checksum of its note differs")
        content = json.loads(metadata["text"])
        if content["key"] != key:
            raise ValueError(f"another run wrote it ({difference(content['key'], key)})")
        # copies: tensors that are mapped to the file would keep its space occupied after it was replaced
        tensors = {name: file.get_tensor(name).clone() for name in content["crc32"]}
    for name, expected in content["crc32"].items():
        if _crc32(tensors[name]) != expected:
            raise ValueError(f"it is damaged, since the checksum of {name} differs")
    return State(tensors, content["note"])


def _crc32(tensor: torch.Tensor) -> int:
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data)

"""States of unfinished computations in files: of units, and of a training, whose newest one is its snapshot.

The state of a training of ViT-B/16 has 1.8 GB, which disks take in 2 to 13 s: 2% to 11% of INTERVAL.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gift_core.computation import State
from gift_core.errors import UserError
from gift_core.work.publishing import require_free_bytes, write_atomically

INTERVAL = 120.0  # seconds: a shorter run writes nothing


@dataclass
class Snapshot:
    """The file `path`, which is replaced every INTERVAL. Without a path nothing is kept. `say` prints a line."""

    path: Path | None = None
    say: Callable[[str], None] = lambda line: None
    _written_at: float = field(default_factory=lambda: monotonic())

    def read(self) -> State | None:
        """Returns what an interrupted run left, None if that is nothing (read_state)."""
        return None if self.path is None else read_state(self.path, self.say)

    @property
    def is_due(self) -> bool:
        """Whether the last state was written long enough ago."""
        return self.path is not None and monotonic() - self._written_at >= INTERVAL

    def keep(self, state: Callable[[], State]) -> None:
        """Replaces the file by `state()` if it is due. If that fails, it is tried again when the next one is due."""
        if self.path is not None and self.is_due:
            keep_state(self.path, state(), self.say)
            self._written_at = monotonic()


NOT_KEPT = Snapshot()


def write_state(path: Path, state: State) -> None:
    """Writes a state to a file in a work folder (gift_core.work.folder), whose key says what decides the state."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    with write_atomically(path) as unfinished:
        save_file(on_cpu, unfinished, {"note": json.dumps(state.note), "names": json.dumps(list(on_cpu))})


def keep_state(path: Path, state: State, say: Callable[[str], None]) -> bool:
    """Writes a state as write_state. Where that fails the work goes on: `say` gets a line. Returns whether it did."""
    try:
        size = sum(tensor.nbytes for tensor in state.tensors.values())
        require_free_bytes(path, 2 * size, "what is kept of unfinished work")  # the result, too, is not larger
        write_state(path, state)
    except (UserError, OSError, SafetensorError) as error:
        say(f"no work could be kept, so an interruption loses more. It is tried again: {error}")
        return False
    return True


def read_state(path: Path, say: Callable[[str], None] = lambda line: None) -> State | None:
    """Returns the state in a file, with its tensors on the CPU; None if there is no file.

    A file that cannot be read is renamed, so that the next one does not replace it, and `say` prints it.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            note, names = (json.loads((file.metadata() or {})[name]) for name in ("note", "names"))
            # copies: tensors that are mapped to the file would keep its space occupied after it was replaced
            return State({name: file.get_tensor(name).clone() for name in names}, note)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        aside = path.with_name(f"{path.name}.not_used")
        with suppress(FileNotFoundError):  # another process of the training was faster
            path.rename(aside)
        say(f"{aside} is not used: {error}. This part of the work starts again.")
        return None

"""Resumes an interrupted stage: its work folder, under a key made of all that decides the result, and its units.

Units that are done are skipped, and helpers compute some (gift_core.work.spread). The state of a unit is a file,
whoever computes it. Units with keys are files in another folder, which stay for later stages. The states of a training
are files of the same kind (gift_core.driving.training).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gift_core.code.versions import running_code
from gift_core.computation import Computation, Compute, State
from gift_core.errors import UserError
from gift_core.progress import progress_bar
from gift_core.provenance import EDITED, environment
from gift_core.untrusted import read_json_file
from gift_core.work.folder import is_unused, kept_folder, work_folder
from gift_core.work.publishing import require_free_bytes, write_atomically
from gift_core.work.spread import spread

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)
T = TypeVar("T")
Filed = tuple[Path, Any]  # a unit with the file of its state
INTERVAL = 30.0  # seconds between two writes: a shorter run writes nothing
THREADS = ".threads.json"  # in a work folder: the numbers of CPU threads of the runs that worked there


@contextmanager
def resumable_runner(
    base: Path, stage: str, device: torch.device, inputs: Mapping[str, Any]
) -> Iterator[ResumableRunner]:
    """Owns a work folder in `base`. What is in it was left by a run that would have had the same result.

    `inputs` are the settings and the hashes of what the stage reads. The rest of the key is the code, read now and not
    from data/code, which may be older, and the environment. The number of CPU threads is no part of it: it only changes
    how sums are rounded, and hours of work would be lost after `gift run`, which sets another number than `dvc repro`.
    The run that continues says so, and threads_of has both numbers.
    """
    computed_with = environment(device)
    key, threads = work_key(stage, computed_with, inputs), computed_with.get("threads")
    with work_folder(base, key) as work:
        former = [] if is_unused(work) else threads_of(work)
        if threads is not None and threads not in former[-1:]:
            with write_atomically(work / THREADS) as temporary:
                temporary.write_text(json.dumps([*former, threads]), encoding="utf-8")
            if former:
                reason = "so the result will not have the same bytes as that of a run with one number of threads"
                remedy = f"To continue with {former[-1]}, stop it and set OMP_NUM_THREADS={former[-1]}."
                logger.warning(f"continues with {threads} threads what ran with {former[-1]}, {reason}. {remedy}")
        yield ResumableRunner(work)


def threads_of(work: Path) -> list[int]:
    """Returns the numbers of CPU threads of the runs that worked in a work folder, in their order; none on a GPU."""
    file = work / THREADS
    return list(read_json_file(file)) if file.is_file() else []


def kept_features(
    base: Path, stage: str, device: torch.device, inputs: Mapping[str, Any]
) -> AbstractContextManager[Path]:
    """Owns the folder where the evaluations of a method keep features for those of later steps.

    The same inputs, code and environment, with its number of threads, gave them. So the results have the same bytes
    with and without them. They are no output of DVC: they are large, and each step needs those of all steps before.
    """
    computed_with = environment(device)
    key = work_key(stage, computed_with, inputs)
    return kept_folder(base, {**key, "threads": computed_with.get("threads")})


def work_key(stage: str, computed_with: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all that decides the result of a stage, but for the number of CPU threads.

    `computed_with` is its environment (gift_core.provenance).
    """
    left_out = (EDITED, "threads")  # what counts of the code is in the key
    kept = {name: value for name, value in computed_with.items() if name not in left_out}
    return {"inputs": inputs, "code": running_code().state(stage), "environment": kept}


@dataclass(frozen=True)
class ResumableRunner:
    """Runs computations (gift_core.computation.UnitRunner) in the work folder `folder`.

    `kept`: the folder of units with keys; those that a computation does not need are removed.
    """

    folder: Path
    kept: Path | None = None

    def __call__(self, computation: Computation[Any]) -> Iterator[State]:
        """Yields the states of all units, the same as without an interruption and without helpers.

        Helpers take units where `gift run` offers some. UserError of a unit, whoever computes it.
        """
        files = [self.folder / f"{computation.name}.{number}.safetensors" for number in range(len(computation.units))]
        interval = INTERVAL
        if self.kept is not None and computation.keys:
            interval = 0.0  # every unit is written: a later stage reads it
            files = [self.kept / f"{key}.safetensors" for key in computation.keys]
            for unneeded in {*self.kept.glob("*.safetensors*")} - {*files}:
                unneeded.unlink()
        filed = zip(files, computation.units, strict=True)
        left = [(file, unit) for file, unit in filed if _read(file, _header) is None]
        done = computation.total - sum(computation.rows(unit) for _, unit in left)
        if done:
            logger.info(f"{computation.noun}: continues at {done} of {computation.total}")
        unwritten = dict[Path, State]()
        due_at = monotonic() + interval
        with (
            progress_bar(computation.total, computation.noun, done=done) as bar,
            spread(
                left,
                None if computation.load is None else partial(_load, computation.load),
                is_done=_is_written,
                helped=lambda unit: bar.update(computation.rows(unit[1])),
                locks=self.folder / f".{computation.name}.locks",
            ) as not_helped,
        ):
            for file, unit in not_helped:
                unwritten[file] = computation.compute(unit, bar.update)
                if monotonic() >= due_at:
                    has_space = all(keep_state(file, state) for file, state in unwritten.items())
                    due_at = monotonic() + (interval if has_space else INTERVAL)
                    if has_space:
                        unwritten = {}
        for file in files:
            state = unwritten.get(file) or read_state(file)
            assert state is not None, f"a helper has written {file}"
            yield state


def _load(load: Callable[[], Compute[Any]]) -> Callable[[Filed], None]:
    """In a helper: returns what computes a unit and writes its state."""
    compute = load()
    return lambda unit: write_state(unit[0], compute(unit[1], lambda rows: None))


def _is_written(unit: Filed) -> bool:
    return unit[0].is_file()


def write_state(path: Path, state: State) -> None:
    """Writes a state to a file in a work folder (gift_core.work.folder), whose key says what decides the state."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    with write_atomically(path) as temporary:
        save_file(on_cpu, temporary, {"note": json.dumps(state.note), "names": json.dumps(list(on_cpu))})


def keep_state(path: Path, state: State) -> bool:
    """Writes a state as write_state. Where that fails the work goes on, with a warning. Returns whether it did."""
    try:
        size = sum(tensor.nbytes for tensor in state.tensors.values())
        require_free_bytes(path, 2 * size, "what is kept of unfinished work")  # the result, too, is not larger
        write_state(path, state)
    except (UserError, OSError, SafetensorError) as error:
        logger.warning(f"no work could be kept, so an interruption loses more. It is tried again: {error}")
        return False
    return True


def read_state(path: Path) -> State | None:
    """Returns the state in a file, with its tensors on the CPU; None if there is no file.

    A file that cannot be read is renamed, so that the next one does not replace it, with a warning.
    """
    return _read(path, _state)


def _header(file: Any) -> tuple[Any, list[str]]:
    """The note, and the names of the tensors in their order. It fails where the file is not as long as it should be."""
    note, names = (json.loads((file.metadata() or {})[name]) for name in ("note", "names"))
    return note, names


def _state(file: Any) -> State:
    note, names = _header(file)
    # copies: tensors that are mapped to the file would keep its space occupied after it was replaced
    return State({name: file.get_tensor(name).clone() for name in names}, note)


def _read(path: Path, take: Callable[[Any], T]) -> T | None:
    """What `take` returns of the open file, and otherwise as in read_state."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return take(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        aside = path.with_name(f"{path.name}.not_used")
        with suppress(FileNotFoundError):  # another process of the training was faster
            path.rename(aside)
        logger.warning(f"{aside} is not used: {error}. This part of the work starts again.")
        return None

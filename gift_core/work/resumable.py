"""The work folder of an interrupted stage, under a key made of all that decides the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.code.fingerprint import running_code
from gift_core.code.revisions import edited, read_table
from gift_core.provenance import EDITED, environment
from gift_core.untrusted import read_json_file
from gift_core.work.folder import kept_folder, work_folder
from gift_core.work.publishing import write_atomically
from gift_core.work.units import ResumableRunner

if TYPE_CHECKING:
    import torch

THREADS = ".threads.json"  # in a work folder: the numbers of CPU threads of the runs that worked there


@contextmanager
def resumable_runner(
    base: Path, stage: str, device: torch.device, inputs: Mapping[str, Any], *, say: Callable[[str], None]
) -> Iterator[ResumableRunner]:
    """Owns a work folder in `base`. What is in it was left by a run that would have had the same result.

    `inputs` are the settings and the hashes of what the stage reads. The rest of the key is the code, read now and not
    from data/code, which may be older, and the environment. The number of CPU threads is no part of it: it only changes
    how sums are rounded, and hours of work would be lost after `gift run`, which sets another number than `dvc repro`.
    The run that continues says so, and threads_of has both numbers.
    """
    key = _key(stage, device, inputs)
    threads = key["environment"].pop("threads", None)
    with work_folder(base, key, say=say) as work:
        former = threads_of(work) if any(path.name[0] != "." for path in work.iterdir()) else []
        if threads is not None and threads not in former[-1:]:
            with write_atomically(work / THREADS) as temporary:
                temporary.write_text(json.dumps([*former, threads]), encoding="utf-8")
            if former:
                say(
                    f"continues with {threads} threads what ran with {former[-1]}, so the result will not have the "
                    f"same bytes as that of a run with one number of threads. To continue with {former[-1]}, stop it "
                    f"and set OMP_NUM_THREADS={former[-1]}."
                )
        yield ResumableRunner(work, say)


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
    return kept_folder(base, _key(stage, device, inputs))


def _key(stage: str, device: torch.device, inputs: Mapping[str, Any]) -> dict[str, Any]:
    computed_with = environment(device)
    computed_with.pop(EDITED, None)  # what counts of the code is in the key
    return {"inputs": inputs, "code": code_of(stage), "environment": computed_with}


@cache
def code_of(stage: str) -> dict[str, Any]:
    """Returns what counts of the code that the stage runs, as this process found it first.

    Of code that resumes work each change counts: it reads what another version may have written.
    """
    code = running_code()
    return {
        "revisions": {part: row["revision"] for part, row in read_table(code).items() if part.split()[0] == stage},
        "edited": edited(code, stage),
        "work": {file: digest for file, digest in code.files.items() if file.startswith("gift_core/work/")},
    }

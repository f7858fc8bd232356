"""What runs in a Ray worker: one stage, and the check of its machine.

Ray gets these functions by value, because a machine without the project cannot import them. So they need the standard
library and psutil alone.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

STOP_SECONDS = 6.0  # a stage ends within 4 seconds of SIGTERM by itself (stages/dvc/interruption.py)
VISIBLE_GPUS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")  # Ray sets them for each worker


@dataclass(frozen=True)
class Job:
    """The commands of a stage, one after another, and where they run.

    `environment` is all of it where `inherits` is false. Otherwise it is added to that of the machine. With
    `picks_gpus` the stage sees only the GPUs that Ray gave to its worker. The output is appended to the file `log`.
    """

    commands: tuple[tuple[str, ...], ...]
    folder: str
    environment: dict[str, str]
    log: str
    inherits: bool = False
    picks_gpus: bool = False


def run_job(job: Job) -> int:
    """Runs the commands until one fails. Returns 0 or its exit code, negative where a signal ended it.

    Where Ray cancels it, the stage is stopped first.
    """
    environment = {**os.environ, **job.environment} if job.inherits else dict(job.environment)
    if job.picks_gpus:
        environment.update({name: os.environ[name] for name in VISIBLE_GPUS if name in os.environ})
    with Path(job.log).open("ab") as log:
        for command in job.commands:
            process = subprocess.Popen(
                command, cwd=job.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            code = None
            try:
                while code is None:
                    with suppress(subprocess.TimeoutExpired):  # Ray cannot cancel an endless wait
                        code = process.wait(timeout=0.5)
            finally:
                if code is None:
                    stop_stage()
            if code:
                return 128 - code if code > 128 else code  # what a shell says of a command that a signal ended
    return 0


def stop_stage() -> None:
    """Ends all processes of the stage: the children of this worker, and what the fork server put into its group."""
    stage = psutil.Process().children(recursive=True)
    if os.getpgrp() == os.getpid():
        for process in psutil.process_iter():
            with suppress(OSError):
                if os.getpgid(process.pid) == os.getpid() != process.pid and process not in stage:
                    stage.append(process)
    for signal in (psutil.Process.terminate, psutil.Process.kill):
        for process in stage:
            with suppress(psutil.Error):
                signal(process)
        stage = psutil.wait_procs(stage, timeout=STOP_SECONDS)[1]


def check_node(command: Sequence[str], folder: str, environment: Mapping[str, str]) -> str:
    """Returns what is wrong with this machine: what the command says when it fails, empty where it does not."""
    try:
        done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    except OSError as error:  # no such folder, no such command
        return str(error)
    return (done.stderr or done.stdout).strip()[-1000:] if done.returncode else ""

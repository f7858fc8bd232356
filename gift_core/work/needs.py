"""What a stage, or a helper of one, asks of a machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gift_core.errors import UserError

CPUS = 1  # of a worker, whatever it runs: the threads of a stage are shared out beside Ray (Capacity.threads)
GPU_STAGES = ("synthesize", "teach", "finetune", "evaluate", "probe")  # all others need a CPU only


@dataclass(frozen=True)
class Capacity:
    """What a cluster has for stages: how many at once, and the CPUs and GPUs of all machines together."""

    workers: int
    cpus: int
    gpus: float

    @property
    def threads(self) -> int:
        """The threads of one stage, so that all workers together use each CPU once."""
        return max(1, self.cpus // self.workers)


def gpus_of(stage: str, gpus_per_stage: float, available: float) -> float:
    """Returns how many GPUs the stage `finetune@gift-step1` gets: 0 where it needs none or there are none.

    `gpus_per_stage` below 1 lets stages share a GPU.
    """
    block = stage.partition("@")[0]
    return gpus_per_stage if available and block in GPU_STAGES else 0


def default_workers(*, cpus: int, gpus: float, gpus_per_stage: float) -> int:
    """Returns the number of stages at once where the user names none.

    With GPUs it is as many stages as these hold, and one more that needs a CPU only. Without, it is one for each CPU.
    """
    return int(gpus // gpus_per_stage) + 1 if gpus else max(1, cpus)


def check_gpus(gpus_per_stage: float, device: str) -> None:
    """Raises UserError if `--gpus-per-stage` or `run.device` of params.yaml does not fit a worker with its own GPUs."""
    is_whole = 1 <= gpus_per_stage < math.inf and gpus_per_stage % 1 == 0
    if not (is_whole or 0 < gpus_per_stage < 1):  # what Ray accepts
        raise UserError(f"--gpus-per-stage {gpus_per_stage:g}: should be a whole number, or a share between 0 and 1.")
    kind, _, number = device.partition(":")
    if kind == "cuda" and number not in ("", "0"):
        raise UserError(
            f"params.yaml: run.device: {device}: each stage of gift run sees its own GPU only, as cuda:0. "
            "Change it to auto or cuda."
        )

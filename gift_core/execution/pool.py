"""Workers for stages: Ray on this machine, or a Ray cluster that runs already."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gift_core.errors import UserError
from gift_core.execution import on_node
from gift_core.execution.machine_facts import local_facts
from gift_core.execution.on_node import Job
from gift_core.process_variables import FORK_SERVER
from gift_core.stage_facts import facts_of
from gift_core.tracking import VARIABLES
from gift_core.work.os_errors import socket_folder

CPUS = 1  # of a worker, whatever it runs: the threads of a stage are shared out beside Ray (_capacity)
OBJECT_STORE_BYTES = 100_000_000  # nothing but exit codes travels through it
# The variables that stages on other machines get from this one. Secrets stay here.
PASSED = ("DVC_", "GIFT_", "HF_", "LANG", "LC_", "OMP_", "PATH", "PYTHON", *VARIABLES)
SECRETS = ("TOKEN", "KEY", "SECRET", "PASSWORD")
CONNECT_SECONDS = 10.0
CHECK_SECONDS = 300.0
# Ray on this machine listens on the loopback interface alone, wants its token there, and does not report its use.
# Its processes have the priority of this one: they are stages and their helpers, which Ray would run with niceness 15.
LOCAL_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}
# Waits for the end of the process that started it. If Ray's folder is still there, that process was killed: what works
# in the folder is ended, and the folder removed. Ray's agents would live for another minute, a stage for 5 seconds.
AFTER_A_KILL = """
import os, shutil, sys, time
import psutil
folder = os.path.realpath(sys.argv[1])
sys.stdin.read()
if os.path.isdir(folder):
    time.sleep(5)
    for process in psutil.process_iter():
        try:
            if any(file.path.startswith(folder) for file in process.open_files()):
                process.kill()
        except psutil.Error:
            pass
    shutil.rmtree(folder, ignore_errors=True)
"""
QUIET_SETTINGS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # without a warning about what changes one day


def check_gpus(gpus_per_stage: float, device: str) -> None:
    """Raises UserError if `--gpus-per-stage` or `run.device` of params.yaml does not fit a worker with its own GPUs."""
    is_whole = 1 <= gpus_per_stage < math.inf and gpus_per_stage % 1 == 0
    if not (is_whole or 0 < gpus_per_stage < 1):  # what Ray accepts
        raise UserError(f"--gpus-per-stage {gpus_per_stage:g}: should be a whole number, or a share between 0 and 1.")
    kind, _, number = device.partition(":")
    if kind == "cuda" and number not in ("", "0"):
        problem = "each stage of gift run sees its own GPU only, as cuda:0. Change it to auto or cuda."
        raise UserError(f"params.yaml: run.device: {device}: {problem}")


def is_passed(name: str) -> bool:
    """Returns whether processes on other machines get this variable."""
    return name.startswith(PASSED) and name != FORK_SERVER and not any(word in name for word in SECRETS)


@dataclass(frozen=True)
class Ended:
    """How a stage ended: its exit code, None where its worker was lost, and in words what ended it."""

    name: str
    code: int | None
    reason: str


class Pool:
    """Runs jobs on a cluster, `workers` at once. `gpus`: of all machines together.

    `environment` is all of that of a stage where the pool `is_local`, and is added to that of its machine otherwise.
    """

    def __init__(
        self, ray: Any, workers: int, *, gpus: float, gpus_per_stage: float, environment: dict[str, str], is_local: bool
    ) -> None:
        self.workers, self.gpus = workers, gpus
        self.environment, self.is_local = environment, is_local
        self._ray = ray
        self._gpus_per_stage = gpus_per_stage if gpus else 0.0
        self._task = ray.remote(on_node.run_job)
        self._running: dict[Any, tuple[str, float]] = {}

    def _gpus_of(self, stage: str) -> float:
        """The GPUs of the stage `finetune@gift-step1`: 0 where it needs none or there are none."""
        return self._gpus_per_stage if facts_of(stage).computes else 0.0

    def has_room(self, stage: str) -> bool:
        """Whether the stage could start now."""
        taken = sum(gpus for _, gpus in self._running.values()) + self._gpus_of(stage)
        return len(self._running) < self.workers and taken <= self.gpus + 1e-6

    def submit(self, name: str, stage: str, job: Job) -> None:
        """Starts the job of a stage or its helper, whose variables come beside those of `environment`.

        `wait` tells when it has ended.
        """
        gpus = self._gpus_of(stage)
        hidden = dict.fromkeys(on_node.VISIBLE_GPUS, "") if self.gpus and not gpus else {}
        environment = {**self.environment, **job.environment, **hidden}
        job = replace(job, environment=environment, inherits=not self.is_local, picks_gpus=gpus > 0)
        task = self._task.options(num_cpus=CPUS, num_gpus=gpus, max_retries=0, name=name).remote(job)
        self._running[task] = (name, gpus)

    def cancel(self, name: str) -> None:
        """Ends a job. `wait` tells when it has ended."""
        for task, (running, _) in self._running.items():
            if running == name:
                self._ray.cancel(task, force=False)

    def wait(self, seconds: float) -> list[Ended]:
        """Returns the first job that ends within `seconds`, and those that have ended when it does."""
        from ray.exceptions import RayError, RayTaskError

        ended: list[Ended] = []
        while self._running:
            done, _ = self._ray.wait(list(self._running), timeout=seconds, fetch_local=False)
            if not done:
                break
            name, _ = self._running.pop(done[0])
            seconds = 0.0  # after the first one, those that have ended already
            try:
                code = int(self._ray.get(done[0]))
                ended.append(Ended(name, code, f"exit code {code}"))
            except RayTaskError as error:
                ended.append(Ended(name, 1, str(error.cause if isinstance(error.cause, OSError) else error)))
            except RayError as error:
                ended.append(Ended(name, None, f"its worker was lost: {first_line(error)}"))
        return ended

    def stop(self) -> list[Ended]:
        """Stops all running jobs, and returns those that had already ended."""
        ended = self.wait(0)
        for task in self._running:
            self._ray.cancel(task, force=False)
        end = time.monotonic() + on_node.STOP_SECONDS + 4
        while self._running and time.monotonic() < end:
            self.wait(max(0.0, end - time.monotonic()))
        return ended


@contextmanager
def open_pool(address: str | None, workers: int | None, *, gpus_per_stage: float, use_gpus: bool) -> Iterator[Pool]:
    """Yields workers on the cluster at `address`. Without one, or with "local", Ray runs here until the block ends.

    UserError without Ray, without a cluster at `address`, where the cluster has fewer GPUs than a stage asks for, and
    where a machine of it has not the same project, code and libraries.
    """
    is_local = address in (None, "", "local")
    environment = dict(os.environ)  # before Ray adds to it
    ray = _import_ray(local=is_local)
    with socket_folder("gift-ray-") as folder, ExitStack() as resources:
        if is_local:
            cleaner = [sys.executable, "-c", AFTER_A_KILL, folder]
            resources.enter_context(subprocess.Popen(cleaner, stdin=subprocess.PIPE, start_new_session=True))
        try:
            if is_local:
                _start_local(ray, workers, folder, use_gpus=use_gpus)
            else:
                _connect(ray, str(address))
            count, gpus, cpus = _capacity(ray, workers, gpus_per_stage, use_gpus=use_gpus)
            environment.setdefault("OMP_NUM_THREADS", str(cpus))  # all workers together use each CPU once
            if not is_local:
                environment = {name: value for name, value in environment.items() if is_passed(name)}
                _check_nodes(ray, Path().absolute(), environment)
            yield Pool(ray, count, gpus=gpus, gpus_per_stage=gpus_per_stage, environment=environment, is_local=is_local)
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _import_ray(*, local: bool) -> Any:
    os.environ |= QUIET_SETTINGS | (LOCAL_SETTINGS if local else {})  # Ray reads them when it is imported
    try:
        import ray
    except ImportError:
        remedy = "Install it: pip install 'gift-pipeline[ray]' (in a clone: make setup EXTRAS=ray)"
        raise UserError(f"gift run needs Ray, which is not installed. {remedy}") from None
    ray.cloudpickle.register_pickle_by_value(on_node)
    return ray


def _start_local(ray: Any, workers: int | None, folder: str, *, use_gpus: bool) -> None:
    """Starts Ray for this process alone. It ends with the process, however that ends. UserError if it cannot start."""
    try:
        ray.init(
            address="local",
            num_cpus=workers or core_count(),
            num_gpus=None if use_gpus else 0,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
    except Exception as error:  # Ray raises many types, also Exception itself
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
            raise  # a full disk, for example
        reason = f"{type(error).__name__}: {first_line(error).partition('. ')[0]}"
        remedy = "Run it again. If it fails again, free memory, or use one worker: --workers 1"
        raise UserError(f"gift run: Ray did not start, or a process of it was killed ({reason}). {remedy}.") from error


def _connect(ray: Any, address: str) -> None:
    if address.startswith("ray://"):
        remedy = "gift run works on a machine of the cluster. Start it there with --address auto."
        raise UserError(f"--address {address}: {remedy}")
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        problem = f"--address {address}: no Ray cluster answers ({first_line(error)})"
        raise UserError(f"{problem}. See docs/scaling.md.") from None


def _capacity(ray: Any, workers: int | None, gpus_per_stage: float, *, use_gpus: bool) -> tuple[int, float, int]:
    """Returns how many stages run at once, the GPUs of all machines together, and the CPUs of a stage."""
    resources = ray.cluster_resources()
    gpus = float(resources.get("GPU", 0)) if use_gpus else 0.0
    cpus = int(resources.get("CPU", 1)) if ray.nodes()[1:] else core_count()
    if gpus and gpus < gpus_per_stage:
        raise UserError(f"--gpus-per-stage {gpus_per_stage:g}: the cluster has {gpus:g} GPUs. Ask for at most so many.")
    if not workers:  # with GPUs as many stages as these hold, and one more that needs a CPU only
        workers = int(gpus // gpus_per_stage) + 1 if gpus else max(1, cpus)
    return workers, gpus, max(1, cpus // workers)


def core_count() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_nodes(ray: Any, folder: Path, environment: Mapping[str, str]) -> None:
    """Raises UserError unless each machine of the cluster has the project `folder`, its code and its libraries."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token = folder / ".gift" / f"cluster-{uuid.uuid4().hex}"
    token.parent.mkdir(parents=True, exist_ok=True)
    token.touch()
    command = ("python", "-m", "gift_core.execution.machine_facts", json.dumps(local_facts()), str(token))
    task = ray.remote(on_node.check_node)
    lines = []
    try:
        pending = {
            f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})": task.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(command, str(folder), dict(environment))
            for node in ray.nodes()
            if node["Alive"]
        }
        for name, answer in sorted(pending.items()):
            try:
                lines += [f"  {name}: {line}" for line in ray.get(answer, timeout=CHECK_SECONDS).splitlines()]
            except ray.exceptions.RayError as error:
                lines.append(f"  {name}: {first_line(error)}")
    finally:
        token.unlink(missing_ok=True)
    if lines:
        remedy = "All of them need the project in the same folder and the same environment (docs/scaling.md)."
        raise UserError("\n".join(["gift run: the machines of the cluster differ:", *lines, remedy]))


def first_line(error: BaseException) -> str:
    """Returns the first line of the message, the name of the type if it is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""Runs the checks in order, first those of this machine. No check ends in a traceback."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gift_core.config.checks import ADD_TASK, NO_TASK
from gift_core.config.loading import load_config, parse_config
from gift_core.config.presets import complete_text
from gift_core.doctor.distinct_classes import check_classes
from gift_core.doctor.finding import Finding, Mark, Project
from gift_core.doctor.inputs import (
    check_data,
    check_generator,
    check_model,
    check_own_code,
    check_reference,
    check_trained,
)
from gift_core.doctor.measured_needs import check_disk, check_memory, check_time, memory_of
from gift_core.doctor.storage import check_dvc
from gift_core.errors import GiftError, UserError
from gift_core.quantities import byte_size, plural


def check_environment() -> Iterator[Finding]:
    """Yields what does not depend on the experiment: Python, torch, and each GPU or else the CPU."""
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    import torch

    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    yield Finding("torch", "ok", f"{torch.__version__}, {cuda}")
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    devices += [torch.device("mps")] if torch.backends.mps.is_available() else []
    for device in devices:
        memory = memory_of(device)
        yield Finding(str(device), "ok", f"{memory.name}, {byte_size(memory.total)}, {byte_size(memory.free)} free")
    if not devices:
        yield Finding("device", "info", f"CPU only, {plural(torch.get_num_threads(), 'thread')}")


def check_device(project: Project) -> Iterator[Finding]:
    """Yields whether there are as many GPUs as settings ask for, and a warning of float16 images on a CPU."""
    config = project.config
    generates = any(config.methods[name].replay.reads == "synthetic" for name in config.run.methods)
    in_half = generates and config.generator.dtype == "float16"
    if not in_half and config.training.processes == 1:
        return
    from gift_core.torch_devices import require_devices, resolve_device

    device = resolve_device(config.run.device)
    try:
        require_devices(device, config.training.processes)
    except UserError as error:
        yield Finding("training.processes", "fail", str(error))
    if in_half and device.type == "cpu":
        slow = "generator.dtype is float16, which is very slow on a CPU: such an experiment takes days"
        remedy = "Use a GPU, or try photos on a CPU (gift use laptop), or the miniature (gift use mini)."
        yield Finding("device", "warn", slow, remedy)


MACHINE = "This machine"
EXPERIMENT = "The experiment"
MODELS = "Models"
DATA = "Data"
DEVICE = "Device"
MEMORY = "Memory and disk"
TIME = "Time"
SHARING = "DVC and its remote"
CHECKS: tuple[tuple[str, Callable[[Project], Iterable[Finding]]], ...] = (
    (MODELS, check_model), (MODELS, check_generator), (MODELS, check_trained), (MODELS, check_own_code),
    (DATA, check_data), (DATA, check_classes), (DATA, check_reference),
    (DEVICE, check_device), (MEMORY, check_memory), (MEMORY, check_disk), (TIME, check_time),
)  # fmt: skip


def examine(root: Path, preset: Path | None = None, *, quick: bool = False) -> Iterator[Finding]:
    """Yields all findings about this machine and root/params.yaml. Takes seconds, mostly to import torch.

    `preset` is the file of a preset that is checked in place of params.yaml. The findings of a group follow each other.
    `quick`: only problems that `dvc repro` would find while it runs: params.yaml, missing data, damaged models.
    """
    if not quick:
        yield from _guarded("environment", MACHINE, check_environment)
    yield from examine_experiment(root, preset, {MODELS, DATA, DEVICE, TIME} | (set() if quick else {MEMORY}), quick)
    if not quick:
        yield from _guarded("dvc", SHARING, partial(check_dvc, root))


def summarize(findings: Sequence[Finding]) -> tuple[str, str]:
    """Returns "3 problems, 2 warnings, 14 ok", and the first problem or else the first warning with its remedy.

    The groups are in the order in which they are mended: without a valid params.yaml, the rest is a guess.
    The second text is empty if all is well.
    """
    problems = [finding for finding in findings if finding.mark == "fail"]
    warnings = [finding for finding in findings if finding.mark == "warn"]
    ok = sum(finding.mark == "ok" for finding in findings)  # what is only information counts as nothing
    counts = f"{plural(len(problems), 'problem')}, {plural(len(warnings), 'warning')}, {ok} ok"
    first = next(iter([*problems, *warnings]), None)
    return counts, f"{first.subject}: {first.sentence}" if first else ""


def examine_experiment(root: Path, preset: Path | None, groups: set[str], quick: bool = False) -> Iterator[Finding]:
    """Yields whether params.yaml or the preset is valid, and the findings of some groups of CHECKS."""
    name = f"preset {preset.stem}" if preset else "params.yaml"
    try:
        params = root / "params.yaml"
        config = load_config(params) if preset is None else parse_config(complete_text(preset), preset.name)
    except GiftError as error:
        fault = str(error).replace("params.yaml: ", "")  # the subject of the finding
        yield Finding(name, "fail", fault, "Or choose a preset: gift presets.", EXPERIMENT)
        return
    project = Project(root, config, is_active=preset is None, quick=quick)
    if not config.sequence:
        mark: Mark = "info" if preset else "fail"
        yield Finding(name, mark, f"{config.experiment}: {NO_TASK}", f"Add one: {ADD_TASK}", EXPERIMENT)
    else:
        size = f"{plural(len(config.sequence), 'task')}, {plural(len(config.run.methods), 'method')}"
        yield Finding(name, "ok", f"{config.experiment}: {size}", group=EXPERIMENT)
    if not config.evaluation.probes and not quick:
        gap = "nothing measures what the model forgets of everything else"
        yield Finding("probes", "info", gap, f"Add a task that no step learns: {ADD_TASK} --probe", EXPERIMENT)
    for group, check in CHECKS:
        if group in groups:
            yield from _guarded(check.__name__.removeprefix("check_"), group, partial(check, project))


def _guarded(subject: str, group: str, run: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yields the findings of a check. An error in the check becomes a finding, and the other checks still run."""
    try:
        yield from (replace(finding, group=group) for finding in run())
    except GiftError as error:
        yield Finding(subject, "fail", str(error), group=group)
    except Exception as error:  # drivers, the hub or a broken installation can raise anything
        crash = f"the check crashed ({type(error).__name__}: {error})"
        yield Finding(subject, "fail", crash, "Please report this.", group)

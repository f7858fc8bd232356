"""Runs the checks in order. No check ends in a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from gift_core.config.loading import load_config
from gift_core.doctor.data_checks import check_data_sets, check_folders
from gift_core.doctor.environment import check_environment
from gift_core.doctor.finding import Check, Finding, Project
from gift_core.doctor.memory_estimate import check_memory
from gift_core.doctor.model_checks import check_clip, check_generator, check_local_models
from gift_core.doctor.storage import check_disk, check_dvc
from gift_core.errors import GiftError

QUICK: tuple[Check, ...] = (check_local_models, check_folders)
THOROUGH: tuple[Check, ...] = (check_clip, check_generator, check_data_sets, check_memory, check_disk)


def examine(root: Path) -> Iterator[Finding]:
    """Yields all findings about this machine and root/params.yaml. Takes seconds, mostly to import torch."""
    yield from _guarded("environment", check_environment)
    yield from _examine_experiment(root, THOROUGH)
    yield from _guarded("dvc", partial(check_dvc, root))


def examine_quickly(root: Path) -> Iterator[Finding]:
    """Yields problems that `dvc repro` would only find while it runs: params.yaml, missing data, damaged models."""
    yield from _examine_experiment(root, QUICK)


def _examine_experiment(root: Path, checks: tuple[Check, ...]) -> Iterator[Finding]:
    params = root / "params.yaml"
    try:
        project = Project(root, load_config(params))
    except GiftError as error:
        yield Finding("params.yaml", "fail", str(error), "Correct it, or choose a preset: gift presets.")
        return
    steps, methods = len(project.config.sequence), len(project.config.run.methods)
    yield Finding("params.yaml", "ok", f"{project.config.experiment}: {steps} tasks, {methods} methods")
    for check in checks:
        yield from _guarded(check.__name__.removeprefix("check_").replace("_", " "), partial(check, project))


def _guarded(subject: str, run: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yields the findings of a check. An error in the check becomes a finding, and the other checks still run."""
    try:
        yield from run()
    except GiftError as error:
        yield Finding(subject, "fail", str(error))
    except Exception as error:  # drivers, the hub or a broken installation can raise anything
        yield Finding(subject, "fail", f"the check crashed ({type(error).__name__}: {error})", "Please report this.")

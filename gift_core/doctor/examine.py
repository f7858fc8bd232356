"""The checks in their order, and the promise that none of them ends in a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from gift_core.config.loading import load_config
from gift_core.doctor.data import check_data_sets, check_folders
from gift_core.doctor.disk import check_disk
from gift_core.doctor.environment import check_environment
from gift_core.doctor.finding import Check, Finding, Scene
from gift_core.doctor.memory_check import check_memory
from gift_core.doctor.models import check_clip, check_generator, check_local_models
from gift_core.doctor.store import check_store
from gift_core.errors import GiftError

Report = Callable[[], Iterable[Finding]]
QUICK: tuple[Check, ...] = (check_local_models, check_folders)
THOROUGH: tuple[Check, ...] = (check_clip, check_generator, check_data_sets, check_memory, check_disk)


def examine(root: Path) -> Iterator[Finding]:
    """Yields every finding on this machine and on root/params.yaml, as it is made; seconds, most of them for torch."""
    yield from _guarded("environment", check_environment)
    yield from _examine_experiment(root, THOROUGH)
    yield from _guarded("dvc", partial(check_store, root))


def examine_quickly(root: Path) -> Iterator[Finding]:
    """Yields what a `dvc repro` would fail on after it began: params.yaml, missing data, damaged local models."""
    yield from _examine_experiment(root, QUICK)


def _examine_experiment(root: Path, checks: tuple[Check, ...]) -> Iterator[Finding]:
    params = root / "params.yaml"
    try:
        scene = Scene(root, load_config(params))
    except GiftError as error:
        yield Finding("params.yaml", "fail", str(error), "Correct it, or choose a preset: gift presets.")
        return
    steps, methods = len(scene.config.sequence), len(scene.config.run.methods)
    found = f"{scene.config.experiment}: {steps} tasks, {methods} methods"
    yield Finding("params.yaml", "ok", found)
    for check in checks:
        yield from _guarded(check.__name__.removeprefix("check_").replace("_", " "), partial(check, scene))


def _guarded(subject: str, report: Report) -> Iterator[Finding]:
    """The findings of a report; one more, a fail, where it breaks: a doctor who falls ill must say so, and go on."""
    try:
        yield from report()
    except GiftError as error:
        yield Finding(subject, "fail", str(error))
    except Exception as error:  # whatever a driver, a hub or a broken installation raises
        yield Finding(subject, "fail", f"the check broke off ({type(error).__name__}: {error})", "Please report this.")

"""A preset from `gift use` to its report, as a user runs it, in a small world (world.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gift_core.config.presets import find_presets
from tests.clone import Clone, copy_of_repository
from tests.imports import ROOT
from tests.presets.world import STEPS, make_world
from tests.report.browser import CHROMIUM, MISSING, evaluate
from tests.stages.experiment import gift

# A test file each, because files run side by side.
FAMILIES = {"benchmarks": ("eight_", "mtil_", "xtail_"), "class_incremental": ("cil_",)}


def family_of(preset: str) -> str:
    """Returns the family that a preset's name begins with, or "others"."""
    return next((family for family, starts in FAMILIES.items() if preset.startswith(starts)), "others")


def presets_of(family: str) -> list[str]:
    """Returns the names of the presets of a family, sorted."""
    return [name for name in find_presets(ROOT) if family_of(name) == family]


def rehearse(preset: str, *, steps: int = STEPS, methods: Sequence[str] = ()) -> None:
    """Runs every stage of the preset in a new project, the working folder, and looks at what came of it.

    Its first `steps` are learned, with `methods` of those that it runs; with all of them if there are none.
    """
    project = Clone(copy_of_repository(Path.cwd()))
    project.run("git", "init", "--quiet")
    gift("use", preset)
    make_world(project.folder, steps=steps, methods=methods)
    gift("doctor", "--quick")
    ran = project.repro()
    assert len(ran) == len({*ran}) == number_of_stages(project.params), ran
    assert project.repro() == []

    rows = {"zero_shot", *project.params["run"]["methods"]}
    assert set(project.metrics()) == rows
    shown = gift("show").output
    assert [name for name in rows if name not in shown] == []
    if not CHROMIUM:
        pytest.skip(f"every stage ran, but the report was not opened: {MISSING}")
    script = '[errors, document.querySelector("#result table").querySelectorAll("th[scope=row]").length]'
    assert evaluate(project.folder / "reports" / "index.html", script) == [[], len(rows)]


def number_of_stages(params: dict[str, Any]) -> int:
    """How many stages an experiment has: four that run once, and those of tasks, probes, steps and methods."""
    steps, methods = len(params["sequence"]), len(params["run"]["methods"])
    of_tasks = len(params["tasks"]) + len(params["evaluation"]["probes"])
    return 4 + of_tasks + 2 * steps + 3 * steps * methods

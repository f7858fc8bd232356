"""The probe of `make revisions`: nothing that runs in a stage is missed, and an edit of it is seen."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gift_core.code.fingerprint import COUNTS, REVISIONS, CodeBase, category
from gift_core.code.revisions import Code
from recipes.revisions.decide import Change, PartsOf, decide, functions_that_ran, missed
from recipes.revisions.experiments import experiments
from recipes.revisions.probe import OF_METHODS, Outcome, Probe
from tests.clone import Clone, commit, edit_function, new_project
from tests.imports import ROOT

MUTANTS = 60
# Between them every consolidation, average and kind of replay. `make revisions` goes through all.
METHODS = (
    "averages", "ewc", "gift", "gift_frozen_fisher", "gift_vocabulary", "icarl", "lwf_vr", "replay_reference",
)  # fmt: skip


@dataclass(frozen=True)
class Probed:
    """An outcome of the probe, and the options of its stage."""

    outcome: Outcome
    options: tuple[str, ...]


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> list[Probed]:
    folder = tmp_path_factory.mktemp("probe") / "probe"
    return list(run_probe(folder))


def run_probe(folder: Path) -> Iterator[Probed]:
    probe = Probe(folder, ROOT)
    for experiment in experiments():
        parts = PartsOf(folder / experiment.name)
        for outcome in probe.run(
            experiment, lambda each: each.stage not in (*OF_METHODS, "report") or each.owner in METHODS
        ):
            yield Probed(outcome, tuple(parts.options(outcome.instance)))


def test_every_stage_of_the_probe_runs_and_is_continued_after_an_interruption(probed: list[Probed]) -> None:
    assert [f"{each.outcome.instance}: {each.outcome.difference}" for each in probed if each.outcome.difference] == []
    assert len(probed) > 80


def test_every_function_that_runs_is_one_that_the_stage_depends_on(probed: list[Probed]) -> None:
    code = Code(CodeBase(ROOT))
    lost = {key: str(each.outcome.instance) for each in probed for key in missed(code, each.outcome, each.options)}
    assert lost == {}


def test_an_edit_of_a_function_that_ran_makes_every_stage_stale_in_which_it_ran(
    probed: list[Probed], tmp_path: Path
) -> None:
    code = CodeBase(ROOT)
    users: dict[tuple[str, str], set[tuple[str, tuple[str, ...]]]] = {}
    for each in probed:
        for file, name in functions_that_ran(ROOT, each.outcome):
            if not category(file) and f"{file}: {name}" not in COUNTS:
                users.setdefault((file, name), set()).add((each.outcome.instance.stage, each.options))
    before = states(Code(code), {use for uses in users.values() for use in uses})
    for name in ("gift_core", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for key in random.Random(25).sample(sorted(users), MUTANTS):
        file, name = key
        text = (tmp_path / file).read_text(encoding="utf-8")
        edit_function(tmp_path, file, name)
        edited = CodeBase(tmp_path, _modules={each: module for each, module in code._modules.items() if each != file})
        after = states(Code(edited), users[key])
        assert [use for use in users[key] if after[use] == before[use]] == [], key
        (tmp_path / file).write_text(text, encoding="utf-8")


def states(code: Code, uses: set[tuple[str, tuple[str, ...]]]) -> Mapping[tuple[str, tuple[str, ...]], object]:
    """What data/code has for these stages with their options."""
    return {use: code.state(*use) for use in uses}


READER = "gift_core/datasets/image_folder.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The project as a git repository, whose table fits its code."""
    return new_project(tmp_path_factory.mktemp("decided") / "project")


def decided(project: Clone, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What `make revisions` prints, and the row of the reader of folders."""
    printed = project.run(sys.executable, "-m", "recipes.revisions", *arguments, PYTHONPATH=str(project.folder))
    return printed, json.loads((project.folder / REVISIONS).read_text(encoding="utf-8"))["ingest source.folder"]


def test_a_harmless_edit_keeps_the_revision_and_another_raises_it_with_the_reason(project: Clone) -> None:
    assert decided(project)[0] == "The code is the verified one: there is nothing to do.\n"
    edit_function(project.folder, READER, "list_folder")
    before = json.loads((ROOT / REVISIONS).read_text(encoding="utf-8"))["ingest source.folder"]
    printed, row = decided(project)
    assert row == before
    assert re.search(r"1 of \d+ parts changed: ingest source.folder\n", printed)
    assert "settings: ingest shapes: same bytes\n1 changed parts keep their revision, 0 rise" in printed
    commit(project, "a harmless edit")
    project.edit(READER, "Listing([*samples, *held", "Listing([*samples[::-1], *held")
    printed, row = decided(project)
    number = before["revision"] + 1
    reason = row["reasons"][str(number)]
    assert row["revision"] == number and reason.startswith("ingest shapes: bytes of data/1_tasks/shapes/")
    changelog = (project.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"### Runs again\n\n- ingest source.folder: {reason}\n" in changelog
    assert f"ingest source.folder: revision {number}: {reason}\n" in printed
    data = {"ingest": Change("ingest", frozenset({"gift_core/rows/food.yaml"}), frozenset())}
    assert dict(decide(ROOT, data, [], ())) == {"ingest": "gift_core/rows/food.yaml changed"}


def test_a_part_that_no_machine_can_run_is_kept_with_a_reason(project: Clone) -> None:
    commit(project, "a new order")
    project.edit(READER, "Listing([*samples[::-1], *held", "Listing([*samples, *held")
    _, row = decided(project, "--keep", "ingest source.folder", "--reason", "it is the order of before")
    before = json.loads((ROOT / REVISIONS).read_text(encoding="utf-8"))["ingest source.folder"]
    assert (row["revision"], row["kept"][-1]) == (before["revision"] + 1, "it is the order of before")

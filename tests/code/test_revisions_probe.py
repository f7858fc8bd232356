"""The probe of `make revisions`: nothing that runs in a stage is missed; and what it decides."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from gift_core.code.fingerprint import REVISIONS, CodeBase
from gift_core.code.revisions import Code
from recipes.revisions.decide import Change, PartsOf, decide, missed
from recipes.revisions.experiments import experiments
from recipes.revisions.probe import OF_METHODS, Outcome, Probe
from tests.clone import Clone, commit, edit_function, new_project
from tests.imports import ROOT

# Between them every consolidation, average and kind of replay. `make revisions` goes through all.
METHODS = (
    "averages", "ewc", "gift", "gift_frozen_fisher", "gift_vocabulary", "icarl", "lwf_vr", "replay_reference",
)  # fmt: skip


def test_every_stage_of_the_probe_is_continued_and_depends_on_every_function_that_runs(tmp_path: Path) -> None:
    probe, code, outcomes, lost = Probe(tmp_path / "probe", ROOT), Code(CodeBase(ROOT)), list[Outcome](), list[str]()
    for experiment in experiments():
        parts = PartsOf(tmp_path / "probe" / experiment.name)
        for outcome in probe.run(
            experiment, lambda each: each.stage not in (*OF_METHODS, "report") or each.owner in METHODS
        ):
            outcomes.append(outcome)
            options = parts.options(outcome.instance)
            lost += [f"{outcome.instance}: {key}" for key in missed(code, outcome, options)]
    assert [f"{each.instance}: {each.difference}" for each in outcomes if each.difference] == []
    assert lost == [] and len(outcomes) > 80


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

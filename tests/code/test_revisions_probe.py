"""The probe of `make revisions`: nothing that runs in a stage is missed; and what it decides."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gift_core.code.fingerprint import NEVER, REVISIONS, Code
from recipes.revisions.decide import missed
from recipes.revisions.experiments import EXPERIMENTS
from recipes.revisions.probe import Probe
from recipes.revisions.tracing import RESUMED
from tests.clone import commit, copy_of_repository, edit_function, new_project
from tests.imports import ROOT

# Between them every consolidation, average and kind of replay. `make revisions` goes through all.
METHODS = (
    "ewc", "gift", "gift_frozen_fisher", "gift_vocabulary", "icarl", "lwf_vr", "of_all_slots", "of_reference",
)  # fmt: skip


def test_every_stage_of_the_probe_is_continued_and_depends_on_every_function_that_runs(tmp_path: Path) -> None:
    code, outcomes, lost, options = Code(ROOT), 0, list[str](), set[str]()
    for experiment in EXPERIMENTS:
        folder = tmp_path / experiment
        probe = Probe(copy_of_repository(folder), experiment)
        options |= {option for use in probe.uses for option in use.options}
        own = tuple(f"@{method}-*" for method in METHODS)
        uses = [use for use in probe.uses if not use.names.endswith("-*") or use.names.endswith(own)]
        for use in probe.run([use for use in uses if use.stage != "report"]):
            outcomes += 1
            assert use.difference == "" and use.ran
            lost += [f"{use.names}: {key}" for key in missed(code, use)]
        assert {path.name for path in (folder / "notes").glob("* was *")} == {
            f"{block} was interrupted" for block in RESUMED
        }
    assert lost == [] and outcomes > 60
    every = {unit.option for file in code.files if file.endswith(".py") for unit in code.module(file).values()}
    assert options >= every - {"", NEVER}


READER = "gift_core/datasets/image_folder.py"
PART = "ingest source.folder"


def test_a_harmless_edit_keeps_the_revision_and_another_raises_it(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")  # a git repository, whose record fits its code

    def decided() -> tuple[str, dict[str, Any]]:
        """What `make revisions` prints, and the row of the reader of folders."""
        printed = project.run(sys.executable, "-m", "recipes.revisions", PYTHONPATH=str(project.folder))
        return printed, json.loads((project.folder / REVISIONS).read_text(encoding="utf-8"))[PART]

    printed, before = decided()
    assert printed.startswith("0 changed parts keep their revision, 0 rise")
    edit_function(project.folder, READER, "list_folder")
    printed, row = decided()
    assert row == before
    assert "settings: ingest@shapes: same bytes\n1 changed parts keep their revision, 0 rise" in printed
    commit(project, "a harmless edit")
    project.edit(READER, "Listing(samples, location", "Listing(samples[::-1], location")
    printed, row = decided()
    number, reason = before["revision"] + 1, "ingest@shapes: bytes of data/1_tasks/shapes differ"
    assert (row["revision"], row["reasons"][str(number)]) == (number, reason)
    assert f"{PART}: revision {number}: {reason}\n" in printed
    assert f"### Runs again\n\n- {PART}: {reason}\n" in (project.folder / "CHANGELOG.md").read_text(encoding="utf-8")

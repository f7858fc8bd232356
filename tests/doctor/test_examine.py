"""All checks together: their order, and that none ends in a traceback. The packages that are needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gift_core.doctor import examine as module
from gift_core.doctor.examine import check_packages, examine, examine_quickly
from gift_core.doctor.finding import Finding, Project
from tests.doctor.projects import link_models, make_project, own_project


def test_the_miniature_has_no_problems(tmp_path: Path) -> None:
    link_models(tmp_path)
    make_project(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")
    found = list(examine(tmp_path))
    assert "fail" not in {finding.mark for finding in found}
    subjects = [finding.subject for finding in found]
    assert (subjects[0], subjects[-2:]) == ("python", ["dvc", "dvc remote"])
    wanted = ["params.yaml", "model", "generator", "data", "generation memory", "disk", "time of finetune", "time"]
    assert [subject for subject in dict.fromkeys(subjects) if subject in wanted] == wanted


def test_the_quick_check_finds_missing_data_and_models(tmp_path: Path) -> None:
    def marks() -> dict[str, str]:
        return {finding.subject: finding.mark for finding in examine_quickly(tmp_path)}

    own_project(tmp_path, run__device="cpu")
    assert marks() == {"params.yaml": "ok", "data my_task": "fail", "time": "fail"}
    make_project(tmp_path, "bring_your_own")
    assert marks() == {"params.yaml": "fail"}  # there is no task
    make_project(tmp_path)  # its models are missing
    assert marks() == {"params.yaml": "ok", "model": "fail", "generator": "fail"}


LORA = {"kind": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.0}
FILTERS: dict[str, Any] = {"scorer": {"name": "local-dir:data/0_raw/generators/no", "pretrained": None}}
FILTERS |= {"min_clip_score": 0.2, "max_similarity": None, "max_redraws": 1}
WRONG = {
    "methods.finetune: trains.blocks: 99: the image tower has 4 blocks": {"kind": "last_blocks", "blocks": 99},
    "methods.finetune: trains.targets: no layer's name ends with 'fc1'": LORA | {"targets": ["fc1"]},
    "generator.filters.scorer.name: there is no data/0_raw/generators/no": FILTERS,
    "generator.filters.aesthetic.head: there is no": FILTERS
    | {"aesthetic": {"head": "data/0_raw/generators/h.pt", "min_score": 1.0}},
    "generator.filters.safety_checker: there is no": FILTERS | {"safety_checker": "data/0_raw/generators/no"},
}


@pytest.mark.parametrize("message", WRONG)
def test_the_quick_check_finds_what_a_stage_would_refuse_after_hours(message: str, tmp_path: Path) -> None:
    link_models(tmp_path)
    value = WRONG[message]
    section = "generator__filters" if value.keys() > {"scorer"} else "methods__finetune__trains"
    make_project(tmp_path, **{section: value})
    found = [f"{each.subject}: {each.found}" for each in examine_quickly(tmp_path) if each.mark == "fail"]
    assert any(each.startswith(message) for each in found), found


def test_a_missing_or_invalid_params_yaml_is_one_fail_and_the_other_checks_run(tmp_path: Path) -> None:
    (finding,) = examine_quickly(tmp_path)
    assert (finding.mark, "no such file" in finding.found) == ("fail", True)
    (tmp_path / "params.yaml").write_text("experimnt: mini\n", encoding="utf-8")
    found = list(examine(tmp_path))
    (fault,) = (finding for finding in found if finding.subject == "params.yaml")
    assert fault.mark == "fail" and "params.yaml: " not in fault.found and "\nexperimnt: unknown key" in fault.found
    assert "miniature" not in str(found)
    assert {"python", "torch", "dvc"} <= {finding.subject for finding in found}


def test_a_check_that_crashes_is_a_fail_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_first(project: Project) -> Iterator[Finding]:
        yield Finding("first", "ok", "begun")
        raise RuntimeError("driver")

    def check_second(project: Project) -> Iterator[Finding]:
        yield Finding("second", "ok", "fine")

    monkeypatch.setattr(module, "CHECKS", ((module.DATA, check_first), (module.DATA, check_second)))
    make_project(tmp_path)
    found = list(examine_quickly(tmp_path))
    assert [finding.subject for finding in found] == ["params.yaml", "first", "first", "second"]
    assert (found[2].mark, "RuntimeError: driver" in found[2].found) == ("fail", True)


def test_required_packages_are_in_range_and_those_for_developers_and_other_systems_are_not_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [finding.mark for finding in check_packages("gift-pipeline")] == ["ok"]
    monkeypatch.syspath_prepend(str(tmp_path))
    metadata = tmp_path / "toy-1.0.dist-info" / "METADATA"  # of a distribution that is installed
    metadata.parent.mkdir()

    def checked(*requirements: str) -> list[Finding]:
        lines = ["Metadata-Version: 2.1", "Name: toy", "Version: 1.0", *map("Requires-Dist: {}".format, requirements)]
        metadata.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return list(check_packages("toy"))

    first, second = checked("numpy>=999", "no-such-package>=1", "typer>=0.1")
    assert (first.mark, first.found) == ("fail", f"numpy {np.__version__} is out of range (numpy>=999)")
    assert first.remedy == "Run: make setup"
    assert second.found == "no-such-package is missing (no-such-package>=1)"
    (found,) = checked('no-such-package; extra == "dev"', 'no-such-package; sys_platform == "amiga"', "numpy")
    assert found.mark == "ok"

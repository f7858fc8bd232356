"""One real `dvc repro` of a small miniature, in a second clone, and by two workers. Changes: test_changes.py."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest

from tests.clone import PRINTED, PROBE, TASKS, Clone, copy_of_repository, small, stages_in

pytestmark = pytest.mark.end_to_end


def test_a_bare_clone_runs_every_stage_once(first_result: Path) -> None:
    expected = {"check", "import_model", "write_vocabulary", "report", f"probe@{PROBE}"}
    expected |= {f"ingest@{task}" for task in (*TASKS, PROBE)}
    steps = [f"{method}-step{step}" for method in ("gift", "finetune") for step in (0, 1)]
    expected |= {f"{stage}@{step}" for stage in ("write_prompts", "synthesize") for step in (0, 1)}
    expected |= {f"{stage}@{step}" for stage in ("teach", "finetune", "evaluate") for step in steps}
    printed = (first_result / PRINTED).read_text(encoding="utf-8")
    ran = stages_in(printed)
    assert ran[0] == "check"
    assert set(ran) == expected
    assert len(ran) == len(expected)
    announced = re.findall(r"^stage (\d+) of (\d+), about .* left$", printed, re.MULTILINE)
    numbers = range(2, len(ran) + 1)  # check does not know it yet
    assert announced == [(str(number), str(len(ran))) for number in numbers]


def test_a_second_clone_that_pulls_has_nothing_to_run_and_the_same_report(clone: Clone, tmp_path: Path) -> None:
    clone.run("dvc", "remote", "add", "--local", "--force", "store", str(tmp_path / "store"))
    clone.run("dvc", "push", "--remote", "store")
    clone.run("git", "clone", "--quiet", str(clone.folder), str(tmp_path / "second"))
    second = Clone(tmp_path / "second")
    second.run("dvc", "remote", "add", "--local", "store", str(tmp_path / "store"))
    second.run("dvc", "pull", "--remote", "store")
    assert second.repro() == []
    assert second.report() == clone.report()
    # rendered again, in other surroundings
    second.environment |= {"TZ": "Pacific/Auckland", "LC_ALL": "C", "OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    assert "Running stage 'report'" in second.run("dvc", "repro", "--single-item", "--force", "report")
    assert second.report() == clone.report()
    assert second.run("git", "status", "--porcelain") == ""


def test_an_edited_comment_and_docstring_and_another_evaluation_batch_size_run_check_alone(clone: Clone) -> None:
    file = clone.folder / "gift_core/artifacts/contract.py"
    text = file.read_text(encoding="utf-8")
    assert text.startswith('"""')
    file.write_text(f'# another comment\n"""Another docstring. {text[3:]}', encoding="utf-8")
    params = clone.params
    params["evaluation"]["batch_size"] = 50
    clone.write_params(params)
    assert clone.repro() == ["check"]
    clone.undo()
    assert clone.repro() == ["check"]


def hashes(clone: Clone) -> dict[str, str]:
    """Returns {path: hash} of every output, of dvc.lock, and of the runs in the run cache."""
    files = [clone.folder / name for name in (*clone.outputs(), "dvc.lock")]
    runs = (clone.folder / ".dvc" / "cache" / "runs").glob("*/*/*")
    found = {str(file.relative_to(clone.folder)): file.read_bytes() for file in (*files, *runs)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def test_two_workers_write_the_bytes_and_the_lock_file_of_dvc_repro(first_result: Path, tmp_path: Path) -> None:
    clone = Clone(copy_of_repository(tmp_path / "fresh"))
    clone.write_params(small(clone.params))
    clone.run("git", "init", "--quiet")
    assert "24 done" in clone.run(sys.executable, "-m", "stages", "run", "--workers", "2")
    assert hashes(clone) == hashes(Clone(first_result / "gift"))
    assert clone.repro() == []

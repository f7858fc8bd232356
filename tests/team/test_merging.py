"""Two clones change the experiment, and git merges their branches: which stages run afterwards."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from gift_core.errors import UserError
from gift_core.team.lock_merge import merge_locks
from tests.clone import Clone, clone_of, stages_in
from tests.team.toy import change, gift, toy_clone, use_store

METHOD = "  - finetune\n"


@pytest.fixture
def clones(first: Clone, tmp_path: Path) -> tuple[Clone, Clone]:
    """Two clones with the same result and one remote."""
    second = toy_clone(clone_of(first, tmp_path / "second").folder)
    use_store(second, tmp_path / "store")
    shutil.copytree(first.folder / "data", second.folder / "data")
    return first, second


def merge(ours: Clone, theirs: Clone, *, expect: int) -> str:
    ours.run("git", "remote", "add", "colleague", str(theirs.folder))
    ours.run("git", "fetch", "--quiet", "colleague")
    return ours.run("git", "merge", "--no-edit", "colleague/main", expect=expect)


def finish(clone: Clone) -> set[str]:
    """Commits the merge and runs the one command of docs/team.md. Returns the stages that ran."""
    if (clone.folder / ".git" / "MERGE_HEAD").exists():
        clone.run("git", "commit", "--quiet", "--no-edit")
    ran = set(stages_in(clone.run("dvc", "repro", "--pull")))
    assert clone.repro() == []
    return ran


def test_without_the_driver_one_command_merges_the_results_of_two_methods(clones: tuple[Clone, Clone]) -> None:
    first, second = clones
    said = second.run("python", "-m", "stages", "merge-lock", expect=1)
    assert "dvc.lock: is not in conflict. Run this during a git merge that stopped at dvc.lock." in said
    assert change(first, (METHOD, f"{METHOD}  - gift\n")) == ["check", "finetune@gift-step0", "report"]
    change(second, (METHOD, f"{METHOD}  - joint\n"))
    merge(first, second, expect=1)
    conflicts = first.run("git", "diff", "--name-only", "--diff-filter=U").split()
    assert conflicts == ["dvc.lock", "params.yaml", "reports/metrics.json"]
    said = first.run("python", "-m", "stages", "merge-lock")
    assert "params.yaml is still in conflict. Edit it, then: git add params.yaml" in said
    params = first.folder / "params.yaml"  # both sides are kept
    text = re.sub(r"^(<{7}|={7}|>{7}).*\n", "", params.read_text(encoding="utf-8"), flags=re.MULTILINE)
    params.write_text(text, encoding="utf-8")
    first.run("git", "add", "params.yaml")
    assert finish(first) == {"check", "report"}
    assert first.metrics().keys() == {"finetune", "gift", "joint"}


def lock(**stages: str) -> str:
    return "schema: '2.0'\nstages:\n" + "".join(f"  {name}:\n    cmd: {cmd}\n" for name, cmd in stages.items())


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged", "both"),
    [
        (lock(a="1"), lock(a="1", b="1"), lock(a="1", c="1"), lock(a="1", b="1", c="1"), ()),
        (lock(a="1", b="1"), lock(a="2", b="1"), lock(a="1", b="2"), lock(a="2", b="2"), ()),
        (lock(a="1", b="1"), lock(a="1"), lock(a="1", b="1", c="1"), lock(a="1", c="1"), ()),
        (lock(a="1"), lock(a="2"), lock(a="3"), lock(a="2"), ("a",)),
        (lock(a="1", b="1"), lock(b="1"), lock(a="2", b="1"), lock(b="1", a="2"), ("a",)),
        ("", lock(a="1"), lock(b="1"), lock(a="1", b="1"), ()),
    ],
)
def test_stages_of_both_sides_are_kept(base: str, ours: str, theirs: str, merged: str, both: tuple[str, ...]) -> None:
    found = merge_locks(base, ours, theirs)
    assert (found.text, found.both) == (merged, both)


def test_a_damaged_side_is_refused_and_our_file_stays(tmp_path: Path) -> None:
    for text in ("<<<<<<< ours\n", lock(a="1").replace("2.0", "3.0"), "a: 1\n", lock(), lock(a="1")[:-5]):
        with pytest.raises(UserError, match=r"dvc.lock \(theirs\): is not as DVC writes it"):
            merge_locks("", lock(a="1"), text)
    files = [tmp_path / name for name in ("base", "ours", "theirs")]
    for file in files:
        file.write_text(lock(a="1"), encoding="utf-8")
    files[2].write_text("<<<<<<< ours\n", encoding="utf-8")
    assert "error: dvc.lock (theirs): is not as DVC writes it" in gift("merge-lock", *files, expect=1).stderr
    assert files[1].read_text(encoding="utf-8") == lock(a="1")

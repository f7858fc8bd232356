"""Two versions of dvc.lock are merged stage by stage. tests/team/test_protocols.py merges branches."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.errors import UserError
from gift_core.team.sharing import merge_locks
from tests.stages.experiment import gift


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
    assert merge_locks(base, ours, theirs) == (merged, [*both])


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

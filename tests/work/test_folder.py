"""A folder for unfinished work: it survives a crash, has one owner, and is gone when the work is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gift_core.errors import UserError
from gift_core.work.folder import remove_work, unfinished_works, work_folder

OWN = """
import sys, time
from pathlib import Path
from gift_core.work.folder import work_folder
with work_folder(Path(sys.argv[1]), {"seed": 1}) as folder:
    (folder / "half").write_text("half")
    print("owned", flush=True)
    time.sleep(60)
"""


@contextmanager
def owned(base: Path) -> Iterator[subprocess.Popen[str]]:
    """Within the block a process owns the work in `base`. Then it is killed."""
    with subprocess.Popen([sys.executable, "-c", OWN, str(base)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        yield process
        process.kill()


def interrupted(base: Path, seed: int, *, say: Callable[[str], None] = lambda line: None) -> None:
    with suppress(RuntimeError), work_folder(base, {"inputs": {"seed": seed}}, say=say) as folder:
        (folder / "half").write_text(str(seed))
        raise RuntimeError("interrupted")


def test_the_newest_work_of_other_keys_stays_and_the_run_says_why_it_starts_over(tmp_path: Path) -> None:
    base = tmp_path / "birds"
    for seed in range(5):
        interrupted(base, seed)
    assert [(work.folder / "half").read_text() for work in unfinished_works(base)] == ["2", "3", "4"]
    said: list[str] = []
    interrupted(base, 5, say=said.append)
    assert len(said) == 1
    assert "starts from the beginning." in said[0]
    assert "(inputs.seed 4, now 5)" in said[0]
    interrupted(base, 4, say=said.append)  # goes on
    assert len(said) == 1
    with work_folder(base, {"inputs": {"seed": 4}}) as folder:
        assert (folder / "half").read_text() == "4"
    assert [(work.folder / "half").read_text() for work in unfinished_works(base)] == ["3", "5"]


def test_what_this_program_did_not_write_stays(tmp_path: Path) -> None:
    base = tmp_path / "birds"
    (base / "photos").mkdir(parents=True)
    (base / "photos" / "one.jpg").write_text("precious")
    with work_folder(base, {"seed": 1}) as folder:
        (folder / "link").symlink_to(base / "photos")
    assert [path.name for path in base.iterdir()] == ["photos"]
    remove_work(base)
    assert (base / "photos" / "one.jpg").read_text() == "precious"


def test_an_interruption_says_that_work_is_kept_only_if_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as nothing, work_folder(tmp_path / "birds", {"seed": 1}):
        raise KeyboardInterrupt("interrupted.")
    assert nothing.value.args == ("interrupted.",)
    with pytest.raises(KeyboardInterrupt) as some, work_folder(tmp_path / "birds", {"seed": 1}) as folder:
        (folder / "shard").write_text("made")
        raise KeyboardInterrupt("interrupted.")
    told = f"What is finished is kept in {tmp_path / 'birds'}, and the next run continues from there."
    assert some.value.args == ("interrupted.", told)


def test_a_second_process_is_refused_with_the_owner_and_a_killed_owner_releases(tmp_path: Path) -> None:
    base = tmp_path / "birds"
    with owned(base) as owner:
        told = f"birds: process {owner.pid} on .* has worked on it since 2.* or stop it with: kill {owner.pid}"
        with pytest.raises(UserError, match=told), work_folder(base, {"seed": 1}, wait_seconds=0.1):
            pass
    with work_folder(base, {"seed": 1}) as folder:
        assert (folder / "half").read_text() == "half"

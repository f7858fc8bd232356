"""A folder for unfinished work: it survives a crash, has one owner, and is gone when the work is done."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gift_core.errors import UserError
from gift_core.work_folder import work_folder

OWN = """
import sys, time
from pathlib import Path
from gift_core.work_folder import work_folder
with work_folder(Path(sys.argv[1]), "key") as folder:
    (folder / "half").write_text("half")
    print("owned", flush=True)
    time.sleep(60)
"""


def test_unfinished_work_of_the_same_key_is_found_again(tmp_path: Path) -> None:
    base = tmp_path / "synthesize" / "birds"
    with pytest.raises(RuntimeError), work_folder(base, "one") as folder:
        (folder / "shard").write_text("made")
        raise RuntimeError("interrupted")
    with pytest.raises(RuntimeError), work_folder(base, "one") as folder:
        assert (folder / "shard").read_text() == "made"
        raise RuntimeError("interrupted")


def test_work_for_another_key_is_removed(tmp_path: Path) -> None:
    base = tmp_path / "birds"
    (base / "old").mkdir(parents=True)
    (base / "stray").write_text("")
    with work_folder(base, "new") as folder:
        assert sorted(base.iterdir()) == [folder]


def test_an_interruption_says_that_work_is_kept_only_if_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as nothing, work_folder(tmp_path / "birds", "key"):
        raise KeyboardInterrupt("interrupted.")
    assert nothing.value.args == ("interrupted.",)
    with pytest.raises(KeyboardInterrupt) as some, work_folder(tmp_path / "birds", "key") as folder:
        (folder / "shard").write_text("made")
        raise KeyboardInterrupt("interrupted.")
    told = f"What is finished is kept in {tmp_path / 'birds'}, and the next run continues from there."
    assert some.value.args == ("interrupted.", told)


def test_nothing_is_left_after_success(tmp_path: Path) -> None:
    with work_folder(tmp_path / "birds", "key"):
        pass
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_second_process_is_refused_with_the_owner_and_a_killed_owner_releases(tmp_path: Path) -> None:
    base = tmp_path / "birds"
    owner = subprocess.Popen([sys.executable, "-c", OWN, str(base)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "owned\n"
    told = f"birds: process {owner.pid} on .* has worked on it since 2.* or stop it with: kill {owner.pid}"
    with pytest.raises(UserError, match=told), work_folder(base, "key", wait_seconds=0.1):
        pass
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    started = time.monotonic()
    with work_folder(base, "key") as folder:
        assert (folder / "half").read_text() == "half"
    assert time.monotonic() - started < 5

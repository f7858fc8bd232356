"""Unfinished work: its folder, its snapshots, and its units, which are the same whoever does them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from gift_core.computation import Advance, Computation, State, ranges
from gift_core.errors import UserError
from gift_core.work import folder, resumable
from gift_core.work.folder import remove_work, unfinished_works, work_folder
from gift_core.work.resumable import ResumableRunner, keep_state, read_state, write_state
from tests.mounts import small_disk

STATE = State(
    {"a": torch.tensor([[1.0, -2.5], [0.1, 3e-38]]), "count": torch.tensor(7), "none": torch.empty(0, 3)},
    {"iteration": 12, "names": ["a", "ä"]},
)


def test_on_a_full_disk_the_work_goes_on_and_the_former_snapshot_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", 300) as disk:
        write_state(path := disk / "state.safetensors", STATE)
        for _ in range(2):
            assert not keep_state(path, State({"a": torch.zeros(100_000)}, {}))
            monkeypatch.setattr(resumable, "require_free_bytes", lambda *given: None)  # others fill it meanwhile
        assert len(caplog.messages) == 2
        assert caplog.messages[0].startswith("no work could be kept, so an interruption loses more.")
        assert [file.name for file in disk.iterdir()] == ["state.safetensors"]
        found = read_state(path)
        assert found is not None and found.note == STATE.note
        assert keep_state(path, State({}, {"smaller": True}))  # it is tried again
        assert (again := read_state(path)) is not None and again.note == {"smaller": True}


COUNT = 6


def compute(stop_at: int, done: list[int], rows: range, advance: Advance) -> State:
    """The tensor of each unit is its number. The unit `stop_at` interrupts the run."""
    if rows.start == stop_at:
        raise KeyboardInterrupt
    done.append(rows.start)
    advance(len(rows))
    return State({f"{rows.start}": torch.tensor([float(rows.start)])}, {f"{rows.start}": rows.stop})


def computation(stop_at: int, done: list[int]) -> Computation[range]:
    return Computation("numbers", ranges(COUNT, 1), partial(compute, stop_at, done))


def numbers_of(states: Iterable[State]) -> list[float]:
    return [float(tensor) for state in states for tensor in state.tensors.values()]


@pytest.mark.usefixtures("every_snapshot")
@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_no_sound_unit_is_computed_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture, stop_at: int) -> None:
    done, damaged = list[int](), tmp_path / "numbers.0.safetensors"
    run = ResumableRunner(tmp_path)
    for numbers, length in ((range(stop_at), -1), ([0], 0)):
        with pytest.raises(KeyboardInterrupt):
            numbers_of(run(computation(stop_at, done)))
        assert done == [*numbers]
        done.clear()
        damaged.write_bytes(damaged.read_bytes()[:length])
    assert numbers_of(run(computation(-1, done))) == [*range(COUNT)]
    assert done == [0, *range(stop_at, COUNT)]
    assert caplog.messages[0].startswith(f"{damaged}.not_used is not used: ")


@pytest.mark.usefixtures("every_snapshot")
def test_a_finished_unit_is_read_once_and_not_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, run = list[int](), ResumableRunner(tmp_path)
    numbers_of(run(computation(-1, done)))
    assert done == [*range(COUNT)]
    read = Mock(wraps=State)
    monkeypatch.setattr(resumable, "State", read)
    assert numbers_of(run(computation(-1, done))) == [*range(COUNT)]
    assert (len(done), read.call_count) == (COUNT, COUNT)


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
        assert process.stdout is not None and process.stdout.readline() == "owned\n"
        yield process
        process.kill()


def interrupted(base: Path, seed: int) -> None:
    with suppress(RuntimeError), work_folder(base, {"inputs": {"seed": seed}}) as work:
        (work / "half").write_text(str(seed))
        raise RuntimeError("interrupted")


def test_the_newest_work_of_other_keys_stays_and_the_run_says_why_it_starts_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = tmp_path / "birds"
    for seed in range(5):
        interrupted(base, seed)
    assert [(work.folder / "half").read_text() for work in unfinished_works(base)] == ["2", "3", "4"]
    caplog.clear()
    interrupted(base, 5)
    interrupted(base, 4)  # goes on
    (said,) = caplog.messages
    assert "starts from the beginning." in said and "(inputs.seed 4, now 5)" in said
    with work_folder(base, {"inputs": {"seed": 4}}) as work:
        assert (work / "half").read_text() == "4"
    assert [(work.folder / "half").read_text() for work in unfinished_works(base)] == ["3", "5"]


@pytest.mark.parametrize(("goes", "sizes"), [("half", [15]), ("", [])])
def test_what_the_owner_removes_while_it_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes: str, sizes: list[int]
) -> None:
    """A file, or the whole folder."""
    interrupted(tmp_path / "birds", 1)
    (work,) = unfinished_works(tmp_path / "birds")
    assert work.size == len((work.folder / folder.KEY).read_text()) + 1
    (work.folder / "half").write_text("half")
    (work.folder / folder.KEY).write_text('{"inputs": {}} ')
    status = Path.lstat

    def removed_before(path: Path) -> os.stat_result:
        if path == work.folder / "half":
            (path.unlink if goes else partial(shutil.rmtree, work.folder))()
        return status(path)

    monkeypatch.setattr(Path, "lstat", removed_before)
    assert [each.size for each in unfinished_works(tmp_path / "birds")] == sizes


def test_what_this_program_did_not_write_stays(tmp_path: Path) -> None:
    base = tmp_path / "birds"
    (base / "photos").mkdir(parents=True)
    (base / "photos" / "one.jpg").write_text("precious")
    with work_folder(base, {"seed": 1}) as work:
        (work / "link").symlink_to(base / "photos")
    assert [path.name for path in base.iterdir()] == ["photos"]
    remove_work(base)
    assert (base / "photos" / "one.jpg").read_text() == "precious"


def test_a_second_process_is_refused_until_the_owner_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "WAIT_SECONDS", 0.1)
    base = tmp_path / "birds"
    with owned(base) as owner:
        told = f"birds: process {owner.pid} on .* has worked on it since 2.* or stop it with: kill {owner.pid}"
        with pytest.raises(UserError, match=told), work_folder(base, {"seed": 1}):
            pass
    with work_folder(base, {"seed": 1}) as work:
        assert (work / "half").read_text() == "half"

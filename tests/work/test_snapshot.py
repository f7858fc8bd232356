"""A snapshot comes back as it was written, is seldom enough to cost little, and never stops the work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gift_core.computation import State
from gift_core.work import snapshot as snapshots
from gift_core.work.folder import KEY
from gift_core.work.snapshot import Snapshot
from tests.mounts import small_disk

STATE = State(
    {"a": torch.tensor([[1.0, -2.5], [0.1, 3e-38]]), "count": torch.tensor(7), "none": torch.empty(0, 3)},
    {"iteration": 12, "names": ["a", "ä"]},
)


def written(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))
    Snapshot(path).keep(lambda: STATE)
    return path


def test_what_was_written_is_read_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Snapshot(written(tmp_path / "state.safetensors", monkeypatch)).read()
    assert found is not None
    assert found.note == STATE.note
    assert list(found.tensors) == list(STATE.tensors)
    assert all(torch.equal(found.tensors[name], value) for name, value in STATE.tensors.items())


def damages(content: bytes) -> Iterator[bytes]:
    yield b""
    yield b"not a snapshot"
    yield content[: len(content) // 2]
    yield content + b"\0"
    for position in range(0, len(content), 29):
        yield content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def test_a_damaged_snapshot_is_ignored_and_a_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "state.safetensors", monkeypatch)
    content = path.read_bytes()
    for damaged in damages(content):
        path.write_bytes(damaged)
        said: list[str] = []
        found = Snapshot(path, said.append).read()
        if found is None:
            (line,) = said
            assert line.startswith(f"{path}.not_used is not used: ")
            assert line.endswith(" This part of the work starts again.")
            assert not path.exists()
        else:  # a space in the header's padding
            assert found.note == STATE.note
            assert all(torch.equal(found.tensors[name], value) for name, value in STATE.tensors.items())


def test_it_is_written_after_half_a_minute_and_not_again_until_as_much_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, path = [1000.0], tmp_path / "state.safetensors"
    monkeypatch.setattr(snapshots, "monotonic", lambda: now[0])
    snapshot, found = Snapshot(path), []
    for seconds in (29.9, 0.2, 29.9, 0.2):
        now[0] += seconds
        snapshot.keep(lambda: STATE)
        found.append(path.exists())
        path.unlink(missing_ok=True)
    assert found == [False, True, False, True]


@pytest.mark.parametrize("foreseen", [True, False])
def test_on_a_full_disk_the_work_goes_on_and_the_former_snapshot_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreseen: bool
) -> None:
    if not foreseen:  # another process fills the disk meanwhile
        monkeypatch.setattr(snapshots, "require_free_bytes", lambda path, needed, purpose: None)
    said: list[str] = []
    with small_disk(tmp_path / "disk", 300) as disk:
        path = written(disk / "state.safetensors", monkeypatch)
        snapshot = Snapshot(path, said.append)
        for _ in range(2):
            snapshot.keep(lambda: State({"a": torch.zeros(100_000)}, {}))
        assert len(said) == 1 and said[0].startswith("no snapshot could be written, so an interruption loses more.")
        assert [file.name for file in disk.iterdir()] == ["state.safetensors"]
        found = Snapshot(path).read()
        assert found is not None and found.note == STATE.note
        snapshot.keep(lambda: State({}, {"smaller": True}))  # it is tried again
        assert (again := Snapshot(path).read()) is not None and again.note == {"smaller": True}


def test_a_snapshot_of_another_run_is_set_aside_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        key = {"inputs": {"seed": seed, "task": "games"}}
        (tmp_path / str(seed) / KEY).write_text(json.dumps(key))
    path = tmp_path / "2" / "state.safetensors"
    written(tmp_path / "1" / "state.safetensors", monkeypatch).rename(path)
    said: list[str] = []
    assert Snapshot(path, said.append).read() is None
    assert said == [
        f"{path}.not_used is not used: another run wrote it (inputs.seed 1, now 2). This part of the work starts again."
    ]
    assert Path(f"{path}.not_used").is_file()

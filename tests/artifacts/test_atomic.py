"""What appears at a path is whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gift_core.artifacts.atomic import build_folder, require_free_bytes, require_hash, sha256_of, write_atomically
from gift_core.errors import ContractError, UserError

WRITER = """
import sys, time
from pathlib import Path
from gift_core.artifacts.atomic import build_folder, write_atomically
kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "file":
    with write_atomically(path) as temporary:
        with temporary.open("w") as file:
            file.write("half")
            file.flush()
            print("half-written", flush=True)
            time.sleep(60)
else:
    with build_folder(path) as temporary:
        (temporary / "half").write_text("half")
        print("half-written", flush=True)
        time.sleep(60)
"""


def kill_a_writer(kind: str, path: Path, project: Path) -> None:
    """Starts a process that writes to `path`, and kills it while it does."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, kind, str(path)], stdout=subprocess.PIPE, cwd=project)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"half-written\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()


def test_a_killed_writer_leaves_no_file_and_the_next_one_cleans_up(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "table.parquet"
    kill_a_writer("file", path, project)
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with write_atomically(path) as temporary:
        temporary.write_text("whole")
    assert [found.name for found in tmp_path.iterdir()] == ["table.parquet"]
    assert path.read_text() == "whole"


def test_a_killed_writer_keeps_the_file_that_stood_there(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_text("old")
    kill_a_writer("file", path, project)
    assert path.read_text() == "old"


def test_a_killed_builder_leaves_no_folder_and_the_next_one_cleans_up(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "task"
    kill_a_writer("folder", path, project)
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with build_folder(path) as temporary:
        (temporary / "whole").write_text("whole")
    assert [found.name for found in tmp_path.iterdir()] == ["task"]
    assert [found.name for found in path.iterdir()] == ["whole"]


def test_the_half_written_work_of_a_living_writer_is_left_alone(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "table.parquet"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, "file", str(path)], stdout=subprocess.PIPE, cwd=project)
    assert writer.stdout is not None
    try:
        writer.stdout.readline()
        with write_atomically(path) as temporary:
            temporary.write_text("ours")
        assert len(list(tmp_path.iterdir())) == 2
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


def test_an_error_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("old")
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(ValueError, match="stop"), write_atomically(file) as temporary:
        temporary.write_text("new")
        raise ValueError("stop")
    with pytest.raises(ValueError, match="stop"), build_folder(folder) as temporary:
        (temporary / "new").touch()
        raise ValueError("stop")
    assert file.read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_built_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").touch()
    with build_folder(folder) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    with build_folder(folder) as temporary:
        (temporary / "new").touch()
        assert not folder.exists()
    assert (folder / "new").is_file()


def test_too_little_disk_is_refused_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_000_000))
    require_free_bytes(tmp_path / "not" / "yet" / "there", 2_000_000, "ingest birds")
    with pytest.raises(UserError) as caught:
        require_free_bytes(tmp_path / "birds", 3_500_000_000, "ingest birds")
    expected = (
        f"ingest birds: 3.5 GB are needed in {tmp_path / 'birds'}, but only 2.0 MB are free. Free some space there"
    )
    assert str(caught.value).startswith(expected)


def test_a_changed_file_is_named_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"abc")
    sha256_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(path) == sha256_of_abc
    require_hash(path, sha256_of_abc, "ingest")
    path.write_bytes(b"abd")
    with pytest.raises(
        ContractError,
        match=r"a\.tar: its sha256 should be ba7816bf8f01\.\.\., .*dvc repro ingest$",
    ):
        require_hash(path, sha256_of_abc, "ingest")


def test_weights_can_be_read_by_others_as_the_umask_allows(tmp_path: Path) -> None:
    """The library safetensors lets only their owner read them."""
    before = os.umask(0o027)
    try:
        with build_folder(tmp_path / "model") as folder, write_atomically(tmp_path / "file") as file:
            save_file({"a": np.zeros(1)}, folder / "weights")
            save_file({"a": np.zeros(1)}, file)
    finally:
        os.umask(before)
    for path in (tmp_path / "model" / "weights", tmp_path / "file"):
        assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("path", [".", "..", "../deep", "/"])
def test_the_working_folder_is_not_replaced(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    with pytest.raises(UserError, match="the working folder is in it"), build_folder(Path(path)):
        raise AssertionError("the work should not begin")
    assert [each.name for each in tmp_path.rglob("*")] == ["deep"]

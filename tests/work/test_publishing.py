"""What appears at a path is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gift_core.artifacts.contract import write_json
from gift_core.errors import UserError
from gift_core.work.publishing import build_folder, require_free_bytes, write_atomically


def test_the_half_written_work_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with write_atomically(path) as slow:
        slow.write_text("half")
        with write_atomically(path) as quick:
            quick.write_text("quick")
        assert (slow.read_text(), path.read_text()) == ("half", "quick")
        slow.write_text("whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


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


def test_too_little_disk_is_refused_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_000_000))
    require_free_bytes(tmp_path / "not" / "yet" / "there", 2_000_000, "ingest birds")
    told = f"ingest birds: 3.5 GB are needed in {tmp_path / 'birds'}, but only 2.0 MB are free"
    with pytest.raises(UserError, match=told):
        require_free_bytes(tmp_path / "birds", 3_500_000_000, "ingest birds")


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """The permissions of all in a folder, and of the folder itself (".")."""
    return {path.relative_to(folder).as_posix(): path.stat().st_mode & 0o7777 for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("umask", [0o002, 0o077], indirect=True)
def test_files_and_folders_have_the_modes_that_the_umask_gives(umask: int, tmp_path: Path) -> None:
    """safetensors and mkstemp let only the owner read, and copies have the modes of their sources."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "read-only").touch(0o400)
    with build_folder(tmp_path / "new" / "model") as folder, write_atomically(tmp_path / "new" / "file") as file:
        save_file({"a": np.zeros(1)}, folder / "weights")
        save_file({"a": np.zeros(1)}, file)
        shutil.copy2(source / "read-only", folder / "copy")
        os.close(tempfile.mkstemp(dir=folder, prefix="mkstemp", suffix="")[0])
        (folder / "program").touch(0o777)
        (folder / "deep").mkdir(0o700)
        write_json(folder / "deep" / "a.json", 1)
        os.link(source / "read-only", folder / "link")
    found = modes(tmp_path / "new")
    assert found.pop("model/link") == 0o400  # another name of a file elsewhere
    assert len(found) == 9
    expected = {name: (0o777 if (tmp_path / "new" / name).is_dir() else 0o666) & ~umask for name in found}
    assert found == expected


def test_what_is_written_again_keeps_its_mode(tmp_path: Path) -> None:
    file, folder = tmp_path / "params.yaml", tmp_path / "model"
    file.touch()
    folder.mkdir()
    for of_file, of_folder in ((0o600, 0o700), (0o755, 0o2775)):
        file.chmod(of_file)
        folder.chmod(of_folder)
        write_json(file, 1)
        with build_folder(folder) as built:
            (built / "deep").mkdir(0o700)
        assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o7777) == (of_file, of_folder)


def test_a_file_that_dvc_protects_is_replaced_by_one_that_can_be_written(tmp_path: Path) -> None:
    """With cache.type hardlink, an output is the object in the cache, which nobody may write."""
    cache = tmp_path / "object"
    cache.write_text("1")
    cache.chmod(0o444)
    for link in (os.link, os.symlink):
        link(cache, tmp_path / "output")
        write_json(tmp_path / "output", 2)
        assert (tmp_path / "output").stat().st_mode & 0o777 == 0o666 & ~current_umask()
        assert (cache.stat().st_mode & 0o777, cache.read_text()) == (0o444, "1")
        (tmp_path / "output").unlink()


def current_umask() -> int:
    os.umask(umask := os.umask(0))
    return umask


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to any group")
def test_a_file_that_is_written_again_keeps_its_group(tmp_path: Path) -> None:
    write_json(tmp_path / "params.yaml", 1)
    os.chown(tmp_path / "params.yaml", -1, 12345)
    write_json(tmp_path / "params.yaml", 2)
    assert (tmp_path / "params.yaml").stat().st_gid == 12345


def test_a_folder_whose_group_is_inherited_passes_it_on(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    with build_folder(tmp_path / "shared" / "model") as folder:
        (folder / "deep").mkdir(0o700)
    assert modes(tmp_path / "shared" / "model") == {name: 0o2777 & ~current_umask() for name in (".", "deep")}


@pytest.mark.parametrize("path", [".", ".."])
def test_the_working_folder_is_not_replaced(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    with pytest.raises(UserError, match="the working folder is in it"), build_folder(Path(path)):
        raise AssertionError("the work should not begin")
    assert [each.name for each in tmp_path.rglob("*")] == ["deep"]

"""What appears at a path is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gift_core.artifacts.contract import write_json
from gift_core.errors import UserError
from gift_core.work.publishing import build_folder, write_atomically


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


@pytest.mark.parametrize("path", [".", ".."])
def test_the_working_folder_is_not_replaced(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    with pytest.raises(UserError, match="the working folder is in it"), build_folder(Path(path)):
        raise AssertionError("the work should not begin")
    assert [each.name for each in tmp_path.rglob("*")] == ["deep"]

"""What appears at a path is whole: also a writer that is killed at any moment leaves the old result or the new one."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from filelock import FileLock

from gift_core.artifacts.contract import write_json
from gift_core.work.publishing import build_folder, write_atomically

# Runs a writer in a child, which kills itself before its n-th file-system event, for each n until one survives.
# What each child leaves stays as it is, in a folder of its own.
CRASHES = """
import os, signal, sys
from pathlib import Path
from gift_core.artifacts.contract import write_json
from gift_core.work import publishing

root, kind, old = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "old"
EVENTS = ("open", "os.", "shutil.", "pathlib.")

def old_result(path):
    if kind == "file":
        path.write_text("old")
    else:
        path.mkdir()
        (path / "part").write_text("old")
        (path / "only old").write_text("old")

def write(path):
    if kind == "file":
        with publishing.write_atomically(path) as temporary, temporary.open("w") as file:
            file.write("ne")
            file.flush()
            os.listdir(path.parent)  # an event while it is half-written
            file.write("w")
    else:
        with publishing.build_folder(path) as folder:
            (folder / "part").write_text("new")
            write_json(folder / "deep.json", ["new"])

for number in range(1, 1000):
    path = root / str(number) / "result"
    path.parent.mkdir()
    if old:
        old_result(path)
    child = os.fork()
    if child == 0:
        left = number
        def count(event, arguments):
            global left
            if event.startswith(EVENTS):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        write(path)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(number)
        break
"""
OLD_FOLDER = {"part": "old", "only old": "old"}
NEW_FOLDER = {"part": "new", "deep.json": '[\n  "new"\n]\n'}
CONTENTS: dict[str, list[Any]] = {"file": ["old", "new"], "folder": [OLD_FOLDER, NEW_FOLDER]}


def content(path: Path) -> Any:
    """The text of a file, {name: text} of a folder, None where there is nothing."""
    if path.is_dir():
        return {file.name: file.read_text() for file in path.iterdir()}
    return path.read_text() if path.exists() else None


@pytest.mark.parametrize("has_old", [False, True], ids=["none before", "over another"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writer_leaves_the_old_or_the_new(kind: str, has_old: bool, tmp_path: Path, project: Path) -> None:
    old, new = CONTENTS[kind]
    before = old if has_old else None
    command = [sys.executable, "-c", CRASHES, str(tmp_path), kind, "old" if has_old else "none"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    paths = [tmp_path / str(number) / "result" for number in range(1, int(done.stdout) + 1)]
    assert len(paths) > 10, "the events of the writer were not seen"
    assert content(paths[-1]) == new and sorted(file.name for file in paths[-1].parent.iterdir()) == ["result"]
    found = [content(path) for path in paths]
    assert found[0] == before and all(each in (before, new) for each in found if each is not None)
    missing = [path for path, each in zip(paths, found, strict=True) if each is None and before is not None]
    assert (len(missing) > 0) == (kind == "folder" and has_old), "between the two renames there is none"
    assert sum(any(path.parent.glob(".*.partial")) for path in paths) > 5
    for path in paths:
        if kind == "file":
            with write_atomically(path) as temporary:
                temporary.write_text("next")
        else:
            with build_folder(path) as folder:
                (folder / "next").write_text("next")
        assert content(path) == ("next" if kind == "file" else {"next": "next"})
        assert [file.name for file in path.parent.iterdir()] == ["result"]


def test_a_result_is_written_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=refusal))
    with write_atomically(tmp_path / "result") as temporary:
        temporary.write_text("new")
    assert content(tmp_path / "result") == "new" and [file.name for file in tmp_path.iterdir()] == ["result"]


def test_a_second_writer_of_a_path_leaves_a_folder_alone_that_was_made_but_not_locked_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one waits between the two until the second is about to remove something, for a second at most."""
    about_to_remove, locked = threading.Event(), threading.Event()
    acquire, remove = FileLock.acquire, shutil.rmtree

    def acquire_late(lock: FileLock, *given: Any, **options: Any) -> Any:
        if second.ident is None:
            second.start()
            about_to_remove.wait(1)
        return acquire(lock, *given, **options)

    def remove_late(folder: Path, **options: Any) -> None:
        if threading.current_thread() is second and not options:
            about_to_remove.set()
            locked.wait(1)
        remove(folder, **options)

    def write(text: str) -> None:
        with write_atomically(tmp_path / "result") as temporary:
            locked.set()
            if text == "first":
                second.join(2)
            temporary.write_text(text)

    second = threading.Thread(target=write, args=["second"])
    monkeypatch.setattr(FileLock, "acquire", acquire_late)
    monkeypatch.setattr(shutil, "rmtree", remove_late)
    write("first")
    assert content(tmp_path / "result") == "first" and [file.name for file in tmp_path.iterdir()] == ["result"]


def test_a_linked_folder_is_replaced_where_it_is_and_a_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk" / "there").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "there")
    with build_folder(tmp_path / "link") as folder:
        (folder / "new").touch()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "there" / "new").is_file()
    (tmp_path / "dangling").symlink_to(tmp_path / "unmounted" / "there")
    with pytest.raises(FileExistsError), build_folder(tmp_path / "dangling"):
        raise AssertionError("the work should not begin")
    assert not (tmp_path / "unmounted").exists()
    with write_atomically(tmp_path / "dangling") as temporary:  # a file replaces the link, as DVC's links are replaced
        temporary.touch()
    assert (tmp_path / "dangling").is_file() and not (tmp_path / "dangling").is_symlink()


@pytest.mark.parametrize("writer", [write_atomically, build_folder])
def test_an_error_leaves_nothing(writer: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), writer(tmp_path / "result") as temporary:
        (temporary / "part" if temporary.is_dir() else temporary).write_text("new")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_dvc_protects_is_replaced_by_one_that_can_be_written(tmp_path: Path) -> None:
    """With cache.type hardlink, an output is the object in the cache, which nobody may write."""
    (new := tmp_path / "new").touch()
    cache = tmp_path / "object"
    cache.write_text("1")
    cache.chmod(0o444)
    for link in (os.link, os.symlink):
        link(cache, tmp_path / "output")
        write_json(tmp_path / "output", 2)
        assert (tmp_path / "output").stat().st_mode == new.stat().st_mode
        assert (cache.stat().st_mode & 0o777, cache.read_text()) == (0o444, "1")
        (tmp_path / "output").unlink()


def test_members_of_a_group_may_replace_what_another_one_wrote_with_the_umask_of_docs_team(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with build_folder(tmp_path / "model") as folder:
            write_json(folder / "rows.json", [1])
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")} == {
        "model": 0o775, "rows.json": 0o664,
    }  # fmt: skip

"""Tars of samples: byte-stable, readable by WebDataset, and never read when damaged."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset

from gift_core.artifacts.tars import index_tar, stored_samples, write_tar
from tests.artifacts.damage import broken_message, cut

SAMPLES = [("000", {"txt": b"a snowman", "png": b"pixels"}), ("001", {"png": b"more", "txt": b"a spade"})]


def test_what_is_written_is_read_also_by_webdataset(tmp_path: Path) -> None:
    path = tmp_path / "größe {1..3}" / "a.tar"
    write_tar(path, SAMPLES)
    found = stored_samples(path, "ingest")
    assert [(key, {extension: file.read() for extension, file in files.items()}) for key, files in found] == SAMPLES
    samples = webdataset.WebDataset(path.rename(tmp_path / "a.tar").as_posix(), shardshuffle=False)
    assert list(samples.to_tuple("__key__", "txt")) == [("000", b"a snowman"), ("001", b"a spade")]


def test_the_same_samples_give_the_same_bytes_without_time_and_owner(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", SAMPLES)
    write_tar(tmp_path / "b.tar", [(key, dict(sorted(files.items()))) for key, files in SAMPLES])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["000.png", "000.txt", "001.png", "001.txt"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_hidden_files_folders_and_reserved_names_are_skipped(tmp_path: Path) -> None:
    names = ["._a.jpg", "__meta__.json", "sub/", "sub/a.b.JPG", "sub/a.cls", "sub/.b.jpg", "readme", "c.cls"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            tar.addfile(member)
    found = [(key, list(files)) for key, files in index_tar(tmp_path / "a.tar")]
    assert found == [("sub/a", ["b.jpg", "cls"]), ("c", ["cls"])]


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_whole_tars_of_other_programs_are_read(kind: int, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=kind) as tar:
        for name in ("é/0001.png", "é/0001.cls", "x" * 120 + "/1.png", "x" * 120 + "/1.json"):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = 3, {"comment": "x" * 30, "GNU.sparse.major": "1", "mtime": "1.5"}
            tar.addfile(info, io.BytesIO(b"abc"))
    found = [(len(key), list(files)) for key, files in index_tar(tmp_path / "a.tar")]
    assert found == [(6, ["png", "cls"]), (122, ["png", "json"])]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: cut(path, 0.3),
        lambda path: path.write_bytes(path.read_bytes()[: 3 * 3584]),  # between two files
        lambda path: path.write_bytes(2 * path.read_bytes()),  # joined
        lambda path: path.write_bytes(gzip.compress(bytes(2**24))),
        Path.unlink,
    ],
)
def test_a_truncated_joined_compressed_or_missing_tar_is_refused(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, [(f"{number:03d}", {"png": bytes(3000)}) for number in range(5)])
    damage(path)
    broken_message(lambda: list(stored_samples(path, "synthesize")), path, "synthesize")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.png", "1.cls", "1.CLS"], "sample 1 has two files .cls"),
        (["1.png", "1.cls", "2.png", "1.png"], "sample 1 occurs twice"),
    ],
)
def test_files_of_a_sample_that_are_not_side_by_side_are_refused(
    names: list[str], expected: str, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(tarfile.ReadError, match=expected):
        list(index_tar(tmp_path / "a.tar"))

"""Tars of samples: byte-stable, readable by WebDataset, and never read when damaged."""

from __future__ import annotations

import gzip
import resource
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from gift_core.artifacts.tars import image_extension, index_tar, read_tar, write_tar
from tests.artifacts.damage import broken_message, cut, tree_hash
from tests.artifacts.hostile_tars import HOSTILE, damaged_tars, sample, whole_tars, write_blocks

SAMPLES = [("000", {"txt": b"a snowman", "png": b"pixels"}), ("001", {"png": b"more", "txt": b"a spade"})]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", SAMPLES)
    found = list(read_tar(tmp_path / "a.tar", "ingest"))
    assert [(key, files) for key, files, _ in found] == SAMPLES
    assert [{extension: file.read() for extension, file in stored.items()} for *_, stored in found] == [
        files for _, files in SAMPLES
    ]


def test_webdataset_itself_reads_the_tar(tmp_path: Path) -> None:
    import webdataset as wds

    write_tar(tmp_path / "a.tar", SAMPLES)
    samples = list(wds.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False).to_tuple("__key__", "txt"))
    assert samples == [("000", b"a snowman"), ("001", b"a spade")]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    reordered = [(key, dict(sorted(files.items()))) for key, files in SAMPLES]
    write_tar(tmp_path / "a.tar", SAMPLES)
    write_tar(tmp_path / "b.tar", reordered)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_members_have_no_time_and_no_owner(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", SAMPLES)
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["000.png", "000.txt", "001.png", "001.txt"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_the_index_says_where_every_file_lies(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", SAMPLES)
    index = [(key, {name: file.read() for name, file in files.items()}) for key, files in index_tar(tmp_path / "a.tar")]
    assert index == SAMPLES


def test_hidden_files_folders_and_reserved_names_are_skipped(tmp_path: Path) -> None:
    names = ["._a.jpg", "__meta__.json", "sub/", "sub/a.b.JPG", "sub/a.cls", "sub/.b.jpg", "readme", "c.cls"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            tar.addfile(member)
    found = [(key, list(files)) for key, files in index_tar(tmp_path / "a.tar")]
    assert found == [("sub/a", ["b.jpg", "cls"]), ("c", ["cls"])]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
        tar.addfile(tarfile.TarInfo("a.JPG"))
    with pytest.raises(tarfile.ReadError, match=r"sample a has two files \.jpg"):
        list(index_tar(tmp_path / "a.tar"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_refused_within_bounds(name: str, tmp_path: Path) -> None:
    blocks, expected = HOSTILE[name]
    path = write_blocks(tmp_path / "a.tar", *blocks)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(tarfile.ReadError) as caught:
        list(index_tar(path))
    assert expected in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB, so 64 MiB
    assert "whole tar of samples" in broken_message(lambda: list(read_tar(path, "ingest")), path, "ingest")


def test_a_tar_that_was_cut_between_two_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(sample(1) + sample(2))
    with pytest.raises(tarfile.ReadError, match="the mark at its end is missing: the tar is cut short"):
        list(index_tar(path))


def test_a_compressed_tar_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(gzip.compress(bytes(2**24)))
    broken_message(lambda: list(read_tar(path, "ingest")), path, "ingest")


def test_whole_tars_of_other_programs_are_read(tmp_path: Path) -> None:
    for data in whole_tars():
        (tmp_path / "a.tar").write_bytes(data)
        assert [sorted(files) for _, files in index_tar(tmp_path / "a.tar")] == [["cls", "json", "png"]] * 4


def read_damaged(path: Path, count: int, *, seed: int) -> Counter[str]:
    """Indexes and reads damaged tars. Any error but the documented ones fails the test."""
    found: Counter[str] = Counter()
    for number, data in enumerate(damaged_tars(count, seed=seed)):
        path.write_bytes(data)
        try:
            for _, files in index_tar(path):
                for file in files.values():
                    file.read()
        except (tarfile.TarError, OSError):
            found["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"seed {seed}, number {number}: {error!r}") from error
        else:
            found["read"] += 1
    return found


def test_damaged_tars_raise_documented_errors(tmp_path: Path) -> None:
    found = read_damaged(tmp_path / "a.tar", 500, seed=1)
    assert found["refused"] > 100 and found["read"] > 20


@pytest.mark.hostile
@pytest.mark.parametrize("seed", range(10, 15))
def test_many_damaged_tars_raise_documented_errors(seed: int, tmp_path: Path) -> None:
    assert read_damaged(tmp_path / "a.tar", 4000, seed=seed).total() == 4000


def test_an_images_extension_is_that_of_its_bytes() -> None:
    assert image_extension(b"\x89PNG\r\n\x1a\n...") == "png"
    assert image_extension(b"\xff\xd8\xff\xe0") == "jpg"
    with pytest.raises(ValueError, match="neither PNG nor JPEG"):
        image_extension(b"GIF89a")


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5])
def test_a_truncated_tar_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, [(f"{number:03d}", {"png": bytes(3000)}) for number in range(5)])
    cut(path, share)
    message = broken_message(lambda: list(read_tar(path, "synthesize")), path, "synthesize")
    assert "it should be a whole tar of samples" in message


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"no tar" * 200)
    broken_message(lambda: list(read_tar(path, "ingest")), path, "ingest")


def test_a_missing_tar_is_refused(tmp_path: Path) -> None:
    broken_message(lambda: list(read_tar(tmp_path / "a.tar", "ingest")), tmp_path / "a.tar", "ingest")


@pytest.mark.parametrize("name", ["with space", "with:colon", "with{1..3}", "größe"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "a.tar"
    write_tar(path, SAMPLES)
    assert len(list(read_tar(path, "ingest"))) == 2


@pytest.mark.parametrize("key", ["a.b", "a/b", "__a", ""])
def test_a_key_that_webdataset_reads_otherwise_is_an_assertion_error(key: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not a WebDataset key"):
        write_tar(tmp_path / "a.tar", [(key, {"png": b"x"})])
    assert tree_hash(tmp_path) == {}


def test_a_duplicate_key_is_an_assertion_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="is a duplicate"):
        write_tar(tmp_path / "a.tar", [SAMPLES[0], SAMPLES[0]])

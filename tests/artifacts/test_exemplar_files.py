"""The images kept of earlier tasks."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pyarrow.parquet as pq

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.exemplar_files import Exemplar, read_exemplars, write_exemplars
from gift_core.artifacts.tars import write_tar
from tests.artifacts.damage import broken_message, cut, png, tree_hash

JPG = b"\xff\xd8\xff" + b"a picture"
EXEMPLARS = [
    Exemplar("birds-0000-0000", "birds", 0, "great tit", "a photo of a great tit.", 0, png(0)),
    Exemplar("birds-0000-0001", "birds", 0, "great tit", "a photo of a great tit.", 1, JPG),
    Exemplar("birds-0001-0000", "birds", 1, "wren", "a photo of a wren.", 0, png(2)),
    Exemplar("digits-0000-0000", "digits", 0, "zero", "the digit zero.", 0, png(0)),
]


def make(folder: Path) -> Path:
    write_exemplars(folder, EXEMPLARS)
    return folder


def test_what_is_written_is_read_from_a_tar_and_a_table_with_its_hash(tmp_path: Path) -> None:
    assert tree_hash(make(tmp_path / "a" / "x")) == tree_hash(make(tmp_path / "b" / "x"))
    assert read_exemplars(make(tmp_path)) == EXEMPLARS
    with tarfile.open(tmp_path / "exemplars.tar") as tar:
        assert tar.getnames() == [f"{each.key}.{'jpg' if each.image == JPG else 'png'}" for each in EXEMPLARS]
    table = pq.read_table(tmp_path / "exemplars.parquet")
    assert table.column_names == ["key", "task", "label", "class_name", "prompt", "rank"]
    assert table.schema.metadata[b"tar_sha256"] == sha256_of(tmp_path / "exemplars.tar").encode()


def test_a_missing_tar_and_one_of_another_run_and_a_damaged_table_are_refused(tmp_path: Path) -> None:
    tar, table = tmp_path / "exemplars.tar", make(tmp_path) / "exemplars.parquet"
    tar.unlink()
    broken_message(lambda: read_exemplars(tmp_path), tar, "teach")
    write_tar(tar, [("birds-0000-0000", {"png": png(9)})])
    assert "its sha256" in broken_message(lambda: read_exemplars(tmp_path), tar, "teach")
    cut(table)
    broken_message(lambda: read_exemplars(tmp_path), table, "teach")

"""The teacher's features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gift_core.artifacts.features import read_features, write_features
from gift_core.errors import ContractError
from tests.artifacts.damage import broken_message, cut, rewrite_table

KEYS = ["000000000", "000000001"]
IMAGE_MD = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
TEXT_MD = np.array([[1.0, 0.0, 0.0], [0.0, -0.8, 0.6]], dtype=np.float32)
METADATA = {"model": "abc", "precision": "fp32"}


def make(path: Path) -> Path:
    write_features(path, KEYS, IMAGE_MD, TEXT_MD, METADATA)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    features = read_features(make(tmp_path / "features.parquet"))
    assert features.keys == tuple(KEYS)
    assert features.metadata == METADATA
    np.testing.assert_array_equal(features.image_MD, IMAGE_MD)
    np.testing.assert_array_equal(features.text_MD, TEXT_MD)
    assert features.image_MD.dtype == np.float32


def test_the_columns_are_fixed_size_lists_of_float32(tmp_path: Path) -> None:
    schema = pq.read_schema(make(tmp_path / "features.parquet"))
    assert schema.names == ["key", "image_emb", "text_emb"]
    assert schema.field("image_emb").type == pa.list_(pa.float32(), 3)
    assert schema.field("text_emb").type == pa.list_(pa.float32(), 3)


def test_writing_twice_gives_the_same_bytes_whatever_the_order_of_the_metadata(tmp_path: Path) -> None:
    make(tmp_path / "a")
    write_features(tmp_path / "b", KEYS, IMAGE_MD, TEXT_MD, dict(reversed(METADATA.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_that_are_not_contiguous_are_written_in_their_order(tmp_path: Path) -> None:
    write_features(tmp_path / "f", KEYS, np.asfortranarray(IMAGE_MD), TEXT_MD[:, ::-1], METADATA)
    np.testing.assert_array_equal(read_features(tmp_path / "f").image_MD, IMAGE_MD)
    np.testing.assert_array_equal(read_features(tmp_path / "f").text_MD, TEXT_MD[:, ::-1])


@pytest.mark.parametrize(
    ("keys", "image_MD", "expected"),
    [
        (KEYS, IMAGE_MD * 2, r"rows of image_emb should have norm 1; 2 have not, the first is 000000000 with 2\.0000"),
        (KEYS, IMAGE_MD * np.float32(np.nan), "rows of image_emb should have norm 1"),
        (KEYS, IMAGE_MD.astype(np.float64), r"image_emb should be float32 \[2, D\], it is float64"),
        (KEYS, IMAGE_MD[:1], r"image_emb should be float32 \[2, D\], it is float32 \(1, 3\)"),
        (["a", "a"], IMAGE_MD, "there should be keys, each once; 2 keys, 1 different"),
        ([], IMAGE_MD[:0], "there should be keys, each once; 0 keys"),
        (KEYS, IMAGE_MD[:, :0], "image_emb and text_emb should be of one size, they are 0 and 3"),
    ],
)
def test_unsound_features_are_refused_on_write(
    keys: list[str], image_MD: np.ndarray, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match=expected):
        write_features(tmp_path / "features.parquet", keys, image_MD, TEXT_MD[: len(keys)], METADATA)
    assert list(tmp_path.iterdir()) == []


def test_towers_of_different_sizes_are_refused(tmp_path: Path) -> None:
    text_MD = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    with pytest.raises(ContractError, match="image_emb and text_emb should be of one size, they are 3 and 2"):
        write_features(tmp_path / "features.parquet", KEYS, IMAGE_MD, text_MD, METADATA)


def replace_images(values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(1, "image_emb", values)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda table: table.drop_columns(["text_emb"]), "text_emb is missing"),
        (lambda table: table.drop_columns(["image_emb"]), "image_emb is missing"),
        (replace_images(pa.array([[1.0], [1.0]], pa.list_(pa.float32()))), "column image_emb should be"),
        (replace_images(pa.array([[1.0] * 3] * 2, pa.list_(pa.float64(), 3))), "column image_emb should be"),
        (replace_images(pa.array([[1.0] * 3] * 2, pa.list_(pa.float32(), 3))), "should have norm 1"),
        (replace_images(pa.array([[1.0] * 2] * 2, pa.list_(pa.float32(), 2))), "column text_emb should be"),
        (lambda table: table.slice(0, 0), "there should be keys, each once; 0 keys"),
    ],
)
def test_a_damaged_file_is_refused(change: Callable[[pa.Table], pa.Table], expected: str, tmp_path: Path) -> None:
    path = make(tmp_path / "features.parquet")
    rewrite_table(path, change)
    assert expected in broken_message(lambda: read_features(path), path, "teach")


def test_an_empty_cell_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "features.parquet")
    rewrite_table(path, replace_images(pa.array([[1.0, 0.0, 0.0], None], pa.list_(pa.float32(), 3))))
    broken_message(lambda: read_features(path), path, "teach")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "features.parquet")
    cut(path)
    broken_message(lambda: read_features(path), path, "teach")

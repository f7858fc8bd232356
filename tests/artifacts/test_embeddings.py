"""The teacher's features of images and texts that are not pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gift_core.artifacts.embeddings import (
    ImageFeatures,
    TextFeatures,
    read_image_features,
    read_text_features,
    write_image_features,
    write_text_features,
)
from gift_core.errors import ContractError
from tests.artifacts.damage import broken_message, cut, rewrite_table

METADATA = {"model": "abc", "precision": "fp32"}
IMAGE_ND = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0], [0.6, 0.0, 0.8]], dtype=np.float32)
TOKENS_PL = np.array([[7, 1, 2, 8], [7, 2, 1, 8]], dtype=np.int64)
TEXT_PD = np.array([[1.0, 0.0, 0.0], [0.0, -0.8, 0.6]], dtype=np.float32)
IMAGES = ImageFeatures(("a", "b", "c"), IMAGE_ND, METADATA)
TEXTS = TextFeatures(("random", "random"), TOKENS_PL, TEXT_PD, METADATA)
VECTORS = pa.list_(pa.float32(), 3)


def make_images(folder: Path) -> Path:
    write_image_features(folder / "image_features.parquet", IMAGES)
    return folder / "image_features.parquet"


def make_texts(folder: Path) -> Path:
    write_text_features(folder / "text_features.parquet", TEXTS)
    return folder / "text_features.parquet"


def test_the_images_features_come_back_in_their_order(tmp_path: Path) -> None:
    features = read_image_features(make_images(tmp_path))
    assert (features.keys, features.metadata) == (IMAGES.keys, METADATA)
    assert features.image_ND.dtype == np.float32
    np.testing.assert_array_equal(features.image_ND, IMAGE_ND)


def test_the_texts_come_back_with_their_token_rows(tmp_path: Path) -> None:
    features = read_text_features(make_texts(tmp_path))
    assert (features.texts, features.metadata) == (TEXTS.texts, METADATA)
    assert features.tokens_PL.dtype == np.int64
    np.testing.assert_array_equal(features.tokens_PL, TOKENS_PL)
    np.testing.assert_array_equal(features.text_PD, TEXT_PD)


def test_the_columns_have_the_types_of_the_contract(tmp_path: Path) -> None:
    images, texts = pq.read_schema(make_images(tmp_path)), pq.read_schema(make_texts(tmp_path))
    assert dict(zip(images.names, images.types, strict=True)) == {"key": pa.string(), "image_emb": VECTORS}
    expected = {"text": pa.string(), "tokens": pa.list_(pa.int64()), "text_emb": VECTORS}
    assert dict(zip(texts.names, texts.types, strict=True)) == expected


@pytest.mark.parametrize("make", [make_images, make_texts])
def test_writing_twice_gives_the_same_bytes(make: Callable[[Path], Path], tmp_path: Path) -> None:
    assert make(tmp_path / "a").read_bytes() == make(tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image_ND": IMAGE_ND * 2}, r"rows of image_emb should have norm 1; 3 have not, the first is a with 2\.0000"),
        ({"image_ND": IMAGE_ND[:2]}, r"image_emb should be float32 \[3, D\], it is float32 \(2, 3\)"),
        ({"keys": ("a", "b", "a")}, "each key should come once; 3 keys, 2 different"),
        ({"keys": (), "image_ND": IMAGE_ND[:0]}, "there should be rows, each with a key; 0 rows"),
    ],
)
def test_unsound_image_features_are_refused_on_write(changes: dict[str, object], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=expected):
        write_image_features(tmp_path / "f.parquet", dataclasses.replace(IMAGES, **changes))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"text_PD": TEXT_PD * 2}, "rows of text_emb should have norm 1; 2 have not, the first is random"),
        ({"tokens_PL": TOKENS_PL.astype(np.int32)}, r"tokens should be int64 \[2, L\], they are int32 \(2, 4\)"),
        ({"tokens_PL": TOKENS_PL[:1]}, r"tokens should be int64 \[2, L\], they are int64 \(1, 4\)"),
        ({"texts": ()}, "there should be rows, each with a text; 0 rows"),
    ],
)
def test_unsound_text_features_are_refused_on_write(changes: dict[str, object], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=expected):
        write_text_features(tmp_path / "f.parquet", dataclasses.replace(TEXTS, **changes))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def put(column: int, name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(column, name, values)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda table: table.drop_columns(["image_emb"]), "image_emb is missing"),
        (put(1, "image_emb", pa.array([[1.0] * 3] * 3, pa.list_(pa.float32()))), "column image_emb should be"),
        (put(1, "image_emb", pa.array([[1.0] * 3] * 3, VECTORS)), "should have norm 1"),
        (put(1, "image_emb", pa.array([[1.0, 0.0, 0.0], None, None], VECTORS)), r"should be float32 [3, D]"),
        (put(0, "key", pa.array(["a", None, "c"])), "there should be rows, each with a key"),
        (lambda table: table.slice(0, 0), "there should be rows, each with a key; 0 rows"),
    ],
)
def test_damaged_image_features_are_refused(
    change: Callable[[pa.Table], pa.Table], expected: str, tmp_path: Path
) -> None:
    path = make_images(tmp_path)
    rewrite_table(path, change)
    assert expected in broken_message(lambda: read_image_features(path), path, "teach")


def tokens(rows: list[list[int | None] | None]) -> Callable[[pa.Table], pa.Table]:
    return put(1, "tokens", pa.array(rows, pa.list_(pa.int64())))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda table: table.drop_columns(["tokens"]), "tokens is missing"),
        (tokens([[7, 1, 8], [7, 8]]), "tokens should be rows of one length, there are rows of [3, 2] tokens"),
        (tokens([[7, 1, 8], None]), "tokens should be rows of one length"),
        (tokens([[], []]), "tokens should be rows of one length"),
        (tokens([[7, 1, 8], [7, None, 8]]), "tokens should be int64 [2, L], they are float64"),
        (lambda table: table.slice(0, 0), "there are rows of no tokens"),
    ],
)
def test_damaged_text_features_are_refused(
    change: Callable[[pa.Table], pa.Table], expected: str, tmp_path: Path
) -> None:
    path = make_texts(tmp_path)
    rewrite_table(path, change)
    assert expected in broken_message(lambda: read_text_features(path), path, "teach")


def test_truncated_and_missing_files_are_refused(tmp_path: Path) -> None:
    images, texts = make_images(tmp_path), make_texts(tmp_path)
    cut(images)
    texts.unlink()
    broken_message(lambda: read_image_features(images), images, "teach")
    broken_message(lambda: read_text_features(texts), texts, "teach")

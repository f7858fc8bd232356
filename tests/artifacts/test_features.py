"""The features that the teacher computed for replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gift_core.artifacts.features import (
    ImageFeatures,
    TextFeatures,
    read_features,
    read_image_features,
    read_text_features,
    write_features,
    write_image_features,
    write_text_features,
)
from tests.artifacts.damage import broken_message, rewrite_table

KEYS = ["000000000", "000000001"]
IMAGE_MD = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
TEXT_MD = np.array([[1.0, 0.0, 0.0], [0.0, -0.8, 0.6]], dtype=np.float32)
METADATA = {"model": "abc", "precision": "fp32"}


def make(path: Path) -> Path:
    write_features(path, KEYS, IMAGE_MD, TEXT_MD, METADATA)
    return path


def test_what_is_written_is_read_and_has_the_same_bytes_again(tmp_path: Path) -> None:
    path, again = make(tmp_path / "features.parquet"), tmp_path / "again"
    features = read_features(path)
    assert features.keys == tuple(KEYS)
    assert features.metadata == METADATA
    np.testing.assert_array_equal(features.image_MD, IMAGE_MD)
    np.testing.assert_array_equal(features.text_MD, TEXT_MD)
    assert features.image_MD.dtype == np.float32
    write_features(again, KEYS, np.asfortranarray(IMAGE_MD), TEXT_MD, dict(reversed(METADATA.items())))
    assert path.read_bytes() == again.read_bytes()


VECTORS = pa.list_(pa.float32(), 3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda table: table.drop_columns(["text_emb"]),
            "its columns should be key, image_emb, text_emb, they are key, image_emb",
        ),
        (lambda table: table.set_column(1, "image_emb", pa.array([[1.0] * 3] * 2, VECTORS)), "should have norm 1"),
        (lambda table: table.set_column(1, "image_emb", pa.array([[1.0, 0.0, 0.0], None], VECTORS)), "1 empty cells"),
        (lambda table: table.set_column(0, "key", pa.array(["a", "a"])), "each with a key of its own"),
    ],
)
def test_a_damaged_file_is_refused(change: Callable[[pa.Table], pa.Table], expected: str, tmp_path: Path) -> None:
    path = make(tmp_path / "features.parquet")
    rewrite_table(path, change)
    assert expected in broken_message(lambda: read_features(path), path, "teach")


IMAGE_ND = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0], [0.6, 0.0, 0.8]], dtype=np.float32)
TOKENS_PL = np.array([[7, 1, 2, 8], [7, 2, 1, 8]], dtype=np.int64)
TEXT_PD = np.array([[1.0, 0.0, 0.0], [0.0, -0.8, 0.6]], dtype=np.float32)
IMAGES = ImageFeatures(("a", "b", "c"), IMAGE_ND, METADATA)
TEXTS = TextFeatures(("random", "random"), TOKENS_PL, TEXT_PD, METADATA)


def make_images(folder: Path) -> Path:
    write_image_features(folder / "image_features.parquet", IMAGES)
    return folder / "image_features.parquet"


def make_texts(folder: Path) -> Path:
    write_text_features(folder / "text_features.parquet", TEXTS)
    return folder / "text_features.parquet"


def test_features_of_images_and_of_texts_come_back_in_their_order(tmp_path: Path) -> None:
    for make in (make_images, make_texts):
        assert make(tmp_path).read_bytes() == make(tmp_path / "again").read_bytes()
    schemas = [pq.read_schema(make(tmp_path)) for make in (make_images, make_texts)]
    assert [dict(zip(each.names, each.types, strict=True)) for each in schemas] == [
        {"key": pa.string(), "image_emb": VECTORS},
        {"text": pa.string(), "tokens": pa.list_(pa.int64()), "text_emb": VECTORS},
    ]
    images, texts = read_image_features(make_images(tmp_path)), read_text_features(make_texts(tmp_path))
    assert (images.keys, images.metadata) == (IMAGES.keys, METADATA)
    assert (texts.texts, texts.metadata) == (TEXTS.texts, METADATA)
    assert (images.image_ND.dtype, texts.tokens_PL.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(images.image_ND, IMAGE_ND)
    np.testing.assert_array_equal(texts.tokens_PL, TOKENS_PL)
    np.testing.assert_array_equal(texts.text_PD, TEXT_PD)

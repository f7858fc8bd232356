"""What teach writes: the features of the teacher, the Fisher information, and the images kept of earlier tasks."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.tars import write_tar
from gift_core.artifacts.teacher_files import (
    Exemplar,
    Features,
    Fisher,
    ImageFeatures,
    TextFeatures,
    read_exemplars,
    read_features,
    read_fisher,
    write_exemplars,
    write_features,
    write_fisher,
)
from gift_core.errors import ContractError
from tests.artifacts.damage import broken_message, cut, png, rewrite_table, tree_hash

KEYS = ["000000000", "000000001"]
IMAGE_MD = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
TEXT_MD = np.array([[1.0, 0.0, 0.0], [0.0, -0.8, 0.6]], dtype=np.float32)
METADATA = {"model": "abc", "precision": "fp32"}


def make(path: Path) -> Path:
    write_features(path, Features(tuple(KEYS), IMAGE_MD, TEXT_MD, METADATA))
    return path


def test_what_is_written_is_read_and_has_the_same_bytes_again(tmp_path: Path) -> None:
    path, again = make(tmp_path / "features.parquet"), tmp_path / "again"
    features = read_features(path, Features)
    assert features.keys == tuple(KEYS)
    assert features.metadata == METADATA
    np.testing.assert_array_equal(features.image_MD, IMAGE_MD)
    np.testing.assert_array_equal(features.text_MD, TEXT_MD)
    assert features.image_MD.dtype == np.float32
    fortran = np.asfortranarray(IMAGE_MD)
    write_features(again, Features(tuple(KEYS), fortran, TEXT_MD, dict(reversed(METADATA.items()))))
    assert path.read_bytes() == again.read_bytes()


VECTORS = pa.list_(pa.float32(), 3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda table: table.drop_columns(["text_emb"]),
            "they are key string, image_emb fixed_size_list",
        ),
        (
            lambda table: table.set_column(1, "image_emb", pa.array([[1.0, 0.0, 0.0], None], VECTORS)),
            "without empty cells",
        ),
        (lambda table: table.set_column(0, "key", pa.array([1, 2])), "its columns should be key string, image_emb"),
        (None, "it should be a whole Parquet file"),
    ],
)
def test_a_damaged_table_is_refused(
    change: Callable[[pa.Table], pa.Table] | None, expected: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "features.parquet")
    if change is None:
        cut(path)
    else:
        rewrite_table(path, change)
    assert expected in broken_message(lambda: read_features(path, Features), path, "teach")


IMAGE_ND = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0], [0.6, 0.0, 0.8]], dtype=np.float32)
TOKENS_PL = np.array([[7, 1, 2, 8], [7, 2, 1, 8]], dtype=np.int64)
TEXT_PD = np.array([[1.0, 0.0, 0.0], [0.0, -0.8, 0.6]], dtype=np.float32)
IMAGES = ImageFeatures(("a", "b", "c"), IMAGE_ND, METADATA)
TEXTS = TextFeatures(("random", "random"), TOKENS_PL, TEXT_PD, METADATA)


def test_features_of_images_and_of_texts_come_back_in_their_order(tmp_path: Path) -> None:
    image_file, text_file = tmp_path / "image_features.parquet", tmp_path / "text_features.parquet"
    write_features(image_file, IMAGES)
    write_features(text_file, TEXTS)
    schemas = [pq.read_schema(file) for file in (image_file, text_file)]
    assert [dict(zip(each.names, each.types, strict=True)) for each in schemas] == [
        {"key": pa.string(), "image_emb": VECTORS},
        {"text": pa.string(), "tokens": pa.list_(pa.int64()), "text_emb": VECTORS},
    ]
    images, texts = read_features(image_file, ImageFeatures), read_features(text_file, TextFeatures)
    assert (images.keys, images.metadata, texts.texts, texts.metadata) == (IMAGES.keys, METADATA, TEXTS.texts, METADATA)
    for found, expected in ((images.image_ND, IMAGE_ND), (texts.tokens_PL, TOKENS_PL), (texts.text_PD, TEXT_PD)):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


DIAGONALS = {
    "visual.weight": np.array([[0.0, 1.5], [2.0, 0.25]], dtype=np.float32),
    "text.bias": np.array([3.0], dtype=np.float32),
}
FISHER = Fisher(DIAGONALS, estimator="per_sample", model="ab" * 32)


def test_what_is_written_is_read_with_names_shapes_and_estimator(tmp_path: Path) -> None:
    write_fisher(tmp_path / "fisher.safetensors", FISHER)
    write_fisher(tmp_path / "b", Fisher(dict(reversed(DIAGONALS.items())), FISHER.estimator, FISHER.model))
    assert (tmp_path / "fisher.safetensors").read_bytes() == (tmp_path / "b").read_bytes()
    found = read_fisher(tmp_path / "fisher.safetensors")
    assert (found.estimator, found.model) == ("per_sample", "ab" * 32)
    assert list(found.diagonals) == ["text.bias", "visual.weight"]
    for name, values in DIAGONALS.items():
        np.testing.assert_array_equal(found.diagonals[name], values)
    assert set(load_file(tmp_path / "fisher.safetensors")) == set(DIAGONALS)  # plain safetensors for anyone


def test_a_file_without_estimator_and_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fisher.safetensors"
    save_file(DIAGONALS, path)
    with pytest.raises(ContractError, match="estimator and a model in its metadata"):
        read_fisher(path)


JPG = b"\xff\xd8\xff" + b"a picture"
EXEMPLARS = [
    Exemplar("birds-0000-0000", "birds", 0, "great tit", "a photo of a great tit.", 0, png(0)),
    Exemplar("birds-0000-0001", "birds", 0, "great tit", "a photo of a great tit.", 1, JPG),
    Exemplar("birds-0001-0000", "birds", 1, "wren", "a photo of a wren.", 0, png(2)),
    Exemplar("digits-0000-0000", "digits", 0, "zero", "the digit zero.", 0, png(0)),
]


def make_exemplars(folder: Path) -> Path:
    write_exemplars(folder, EXEMPLARS)
    return folder


def test_what_is_written_is_read_from_a_tar_and_a_table_with_its_hash(tmp_path: Path) -> None:
    assert tree_hash(make_exemplars(tmp_path / "a" / "x")) == tree_hash(make_exemplars(tmp_path / "b" / "x"))
    assert read_exemplars(make_exemplars(tmp_path)) == EXEMPLARS
    with tarfile.open(tmp_path / "exemplars.tar") as tar:
        assert tar.getnames() == [f"{each.key}.{'jpg' if each.image == JPG else 'png'}" for each in EXEMPLARS]
    table = pq.read_table(tmp_path / "exemplars.parquet")
    assert table.column_names == ["key", "task", "label", "class_name", "prompt", "rank"]
    assert table.schema.metadata[b"tar_sha256"] == sha256_of(tmp_path / "exemplars.tar").encode()


def test_a_tar_of_another_run_is_refused(tmp_path: Path) -> None:
    tar = make_exemplars(tmp_path) / "exemplars.tar"
    write_tar(tar, [("birds-0000-0000", {"png": png(9)})])
    assert "its sha256" in broken_message(lambda: read_exemplars(tmp_path), tar, "teach")

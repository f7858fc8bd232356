"""What the stages write besides tasks, shards and models: it is read as it was, and equal contents have equal bytes."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.contract import sha256_of, write_json
from gift_core.artifacts.model_folder import read_losses, write_losses
from gift_core.artifacts.predictions import prediction_rows, read_predictions, retrieval_rows, write_predictions
from gift_core.artifacts.prompt_files import (
    VocabularyEntry,
    read_prompts,
    read_vocabulary,
    write_prompts,
    write_vocabulary,
)
from gift_core.artifacts.report_json import one_decimal, read_metrics, rounded
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
from tests.artifacts.damage import broken_message, cut, png, rewrite_table, tree_hash

NOTES = {"model": "abc", "precision": "fp32"}
REVERSED = dict(reversed(NOTES.items()))
PROMPTS = pd.DataFrame({
    "prompt_id": [0, 1],
    "source_task": ["base", "birds"],
    "class_name": ["snowman", "wren"],
    "template": ["a photo of a {}.", "a {}, a bird."],
    "prompt": ["a photo of a snowman.", "a wren, a bird."],
    "seed": [5, 2**62],
})  # fmt: skip
VOCABULARY = [
    VocabularyEntry("base", "Möwe", ("a photo of a {}.",)),
    VocabularyEntry("birds", "wren", ("a {}, a bird.", "the {}.")),
]
IMAGES = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
TEXTS = np.array([[1.0, 0.0, 0.0], [0.0, -0.8, 0.6]], dtype=np.float32)
TOKENS = np.array([[7, 1, 2, 8], [7, 2, 1, 8]], dtype=np.int64)
FEATURES = Features(("0", "1"), IMAGES, TEXTS, NOTES)
DIAGONALS = {"text.bias": np.array([3.0], dtype=np.float32), "visual.weight": np.eye(2, dtype=np.float32)}
JPG = b"\xff\xd8\xff" + b"a picture"
EXEMPLARS = [
    Exemplar("birds-0000-0000", "birds", 0, "great tit", "a photo of a great tit.", 0, png(0)),
    Exemplar("birds-0000-0001", "birds", 0, "great tit", "a photo of a great tit.", 1, JPG),
    Exemplar("digits-0000-0000", "digits", 0, "zero", "the digit zero.", 0, png(0)),
]
OWN = {"method": "gift", "protocol": "task_incremental", "step": 0, "trained_task": "letters"}
TESTED = {**OWN, "eval_task": "letters", "phase": "current", "top1": 0.75, "n": 500}
TESTED_FIRST = {**TESTED, "step": -1, "trained_task": "pretrained", "phase": "pretrained", "top1": 0.5}
FACES = {"phase": "probe", "eval_task": "faces"}
ACCURACY = pd.DataFrame([{**TESTED_FIRST, **FACES}, TESTED_FIRST, {**TESTED, **FACES}, TESTED])
ARRAYS = {"images": np.arange(4), "labels": np.array([0, 1, 2, 1]), "classes": ("alpha", "beta", "gamma")}
PREDICTED = prediction_rows({**OWN, "task": "letters"}, predicted=np.array([0, 1, 2, 2]), **ARRAYS)
ZERO_SHOT = PREDICTED.assign(step=-1, trained_task="pretrained", predicted="alpha")
PREDICTIONS = pd.concat([ZERO_SHOT, PREDICTED], ignore_index=True)
LOSSES = [
    {"iteration": 0, "learning_rate": 0.001, "task": 2.5, "distill": 1.0, "consolidation": 0.0, "total": 3.5},
    {"iteration": 1, "learning_rate": 0.0005, "task": 2.0, "distill": 0.5, "consolidation": 0.25, "total": 2.75},
]
PERCENT = {"transfer": 65.1234, "avg": 70.0, "last": 80.5, "forgetting": -1.25}
KEPT = {"probes": {"mean": 57.0, "change": -12.7, "by_task": {"faces": 50.0, "arrows": 64.0}}}
METRICS = {"zero_shot": PERCENT, "gift": {**PERCENT, "transfer": None, "forgetting": None, **KEPT}}


# (how it is written; what; the same in another order or layout of memory; how it is read)
ARTIFACTS: dict[str, tuple[Callable[..., object], tuple[Any, ...], tuple[Any, ...], Callable[[Path], Any]]] = {
    "prompts": (write_prompts, (PROMPTS,), (PROMPTS[PROMPTS.columns[::-1]],), read_prompts),
    "vocabulary": (write_vocabulary, (VOCABULARY,), (tuple(VOCABULARY),), read_vocabulary),
    "features": (
        write_features, (FEATURES,), (Features(FEATURES.keys, np.asfortranarray(IMAGES), TEXTS, REVERSED),),
        partial(read_features, kind=Features),
    ),
    "images": (
        write_features, (ImageFeatures(("a", "b"), IMAGES, NOTES),), (ImageFeatures(("a", "b"), IMAGES, REVERSED),),
        partial(read_features, kind=ImageFeatures),
    ),
    "texts": (
        write_features, (TextFeatures(("x", "x"), TOKENS, TEXTS, NOTES),),
        (TextFeatures(("x", "x"), TOKENS, TEXTS, REVERSED),), partial(read_features, kind=TextFeatures),
    ),
    "fisher": (
        write_fisher, (Fisher(DIAGONALS, "per_sample", "ab" * 32),),
        (Fisher(dict(reversed(DIAGONALS.items())), "per_sample", "ab" * 32),), read_fisher,
    ),
    "exemplars": (write_exemplars, (EXEMPLARS,), (tuple(EXEMPLARS),), read_exemplars),
    "accuracy": (write_accuracy, (ACCURACY, NOTES), (ACCURACY.iloc[[2, 3, 0, 1]], REVERSED), read_accuracy),
    "predictions": (
        write_predictions, (PREDICTIONS, NOTES), (PREDICTIONS.iloc[[4, 5, 6, 7, 0, 1, 2, 3]], REVERSED),
        read_predictions,
    ),
    "losses": (write_losses, (LOSSES,), (tuple(LOSSES),), read_losses),
    "metrics": (write_json, (METRICS,), (dict(METRICS),), read_metrics),
}  # fmt: skip


def plain(value: Any) -> Any:
    """The value as lists and dictionaries, which can be compared, with the types of arrays."""
    if isinstance(value, pd.DataFrame):
        return {name: [each if isinstance(each, int | float) else str(each) for each in value[name]] for name in value}
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.tolist()
    if is_dataclass(value):
        return plain(vars(value))
    if isinstance(value, dict):
        return [(name, plain(each)) for name, each in value.items()]
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", ARTIFACTS)
def test_what_is_written_is_read_and_the_same_in_another_order_has_the_same_bytes(name: str, tmp_path: Path) -> None:
    write, content, other, read = ARTIFACTS[name]
    first, second = tmp_path / "a" / "birds.x", tmp_path / "b" / "birds.x"
    write(first, *content)
    write(second, *other)
    found = read(first)
    assert plain(found) == plain(content if isinstance(found, tuple) else content[0])
    assert tree_hash(first) == tree_hash(second)


def test_others_can_read_the_files_of_a_teacher(tmp_path: Path) -> None:
    for name in ("features", "texts", "fisher", "exemplars"):
        ARTIFACTS[name][0](tmp_path / name, *ARTIFACTS[name][1])
    schemas = {name: pq.read_schema(tmp_path / name) for name in ("features", "texts")}
    assert {name: dict(zip(each.names, each.types, strict=True)) for name, each in schemas.items()} == {
        "features": {"key": pa.string(), "image_emb": VECTORS, "text_emb": VECTORS},
        "texts": {"text": pa.string(), "tokens": pa.list_(pa.int64()), "text_emb": VECTORS},
    }
    assert set(load_file(tmp_path / "fisher")) == set(DIAGONALS)
    with tarfile.open(tmp_path / "exemplars" / "exemplars.tar") as tar:
        assert tar.getnames() == [f"{each.key}.{'jpg' if each.image == JPG else 'png'}" for each in EXEMPLARS]
    table = pq.read_table(tmp_path / "exemplars" / "exemplars.parquet")
    assert table.column_names == ["key", "task", "label", "class_name", "prompt", "rank"]
    assert table.schema.metadata[b"tar_sha256"] == sha256_of(tmp_path / "exemplars" / "exemplars.tar").encode()


VECTORS = pa.list_(pa.float32(), 3)
DAMAGES: list[tuple[Callable[[pa.Table], pa.Table] | None, str]] = [
    (lambda table: table.set_column(1, "image_emb", pa.array([[1.0, 0.0, 0.0], None], VECTORS)), "without empty cells"),
    (lambda table: table.set_column(0, "key", pa.array([1, 2])), "its columns should be key string, image_emb"),
    (None, "it should be a whole Parquet file"),
]


@pytest.mark.parametrize(("change", "expected"), DAMAGES)
def test_a_damaged_table_is_refused(
    change: Callable[[pa.Table], pa.Table] | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "features.parquet"
    write_features(path, FEATURES)
    if change is None:
        cut(path)
    else:
        rewrite_table(path, change)
    assert expected in broken_message(lambda: read_features(path, Features), path, "teach")


def test_damaged_losses_and_another_tar_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    write_losses(path, LOSSES)
    assert json.loads(path.read_text().splitlines()[0]) == LOSSES[0]
    cut(path, 0.7)
    assert "Invalid JSON: EOF while parsing" in broken_message(lambda: read_losses(path), path, "finetune")
    write_exemplars(tmp_path, EXEMPLARS)
    write_tar(tmp_path / "exemplars.tar", [("birds-0000-0000", {"png": png(9)})])
    message = broken_message(lambda: read_exemplars(tmp_path), tmp_path / "exemplars.tar", "teach")
    assert "its sha256" in message


def test_a_file_of_predictions_with_pairs_has_their_ranks_beside_the_classes(tmp_path: Path) -> None:
    """Two images with three captions: one image and two captions retrieve what is right."""
    pairs = {**OWN, "task": "pets"}
    of_images = retrieval_rows(
        pairs, "image", [0, 1], right=[0, 1], found=[0, 0], ranks=[1, 3], answers=[[0, 1, -1], [1, 0, 2]]
    )
    of_captions = retrieval_rows(
        pairs, "caption", [0, 1, 2], right=[0, 0, 1], found=[0, 1, 1], ranks=[1, 2, 1], answers=[[0, 1], [1, 0], [1, 0]]
    )
    write_predictions(tmp_path / "x", pd.concat([PREDICTED, of_images, of_captions]), NOTES)
    rows, _ = read_predictions(tmp_path / "x")
    assert rows["query"].tolist() == ["class"] * 4 + ["image"] * 2 + ["caption"] * 3
    assert rows["rank"].tolist() == [0] * 4 + [1, 3, 1, 2, 1]
    assert [list(found) for found in rows["retrieved"]][3:6] == [[], [0, 1], [1, 0, 2]]


def test_a_mean_is_printed_the_same_however_it_was_computed() -> None:
    accuracies = (0.65, 0.7033333333333334, 0.6366666666666667, 0.66)  # a mean of 66.25
    means = {sum(accuracies) / 4 * 100, sum(100 * value for value in accuracies) / 4, 66.25, 66.25000000000001}
    assert len(means) > 1 and {one_decimal(mean) for mean in means} == {"66.2"}
    for value in (66.254, 66.246, 66.2549, 66.35, 66.3496, -0.04996, -0.05004):  # before and after it was written
        assert one_decimal(value) == one_decimal(rounded(value) or 0.0)

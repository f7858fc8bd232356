"""Predictions: the Parquet files in which stage evaluate writes the class that each model gave to each test image.

There is one row for each test that an accuracy file has a row of (artifacts.accuracy), and each image of this test:

- task_incremental: `predicted` is a class of `task`, whose test set the image belongs to.
- class_incremental: `predicted` is a class of any task up to the newest one of the file, also at step -1.

With a limit of test images (accuracy.MAX_IMAGES in the metadata), some positions have no row.

A file with a task of image-caption pairs has the columns RETRIEVAL, too. Its tests have a row for each image, and then
one for each caption: label is the position of the right image, and predicted that of the image that was found first, or
whose caption was.

Columns of text are dictionaries, and the position of an image is stored as a difference, so a row takes about a byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from gift_core.artifacts.accuracy import (
    CLASS_INCREMENTAL,
    MAX_IMAGES,
    PHASES,
    PRETRAINED,
    PRETRAINED_STEP,
    STAGE,
    require_own,
)
from gift_core.artifacts.contract import broken
from gift_core.artifacts.tables import read_table, require_schema, write_table

_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("method", _NAME),
        ("protocol", _NAME),  # task_incremental or class_incremental
        ("step", pa.int32()),  # -1: the pre-trained model
        ("trained_task", _NAME),  # the task learned last; "pretrained" at step -1
        ("task", _NAME),  # the task whose test set has the image
        ("image", pa.int32()),  # its position in the test set, from 0
        ("label", _NAME),  # its class
        ("predicted", _NAME),  # the class that the model gave to it
    ]
)
OF_CLASS, OF_IMAGE, OF_CAPTION = "class", "image", "caption"
RETRIEVAL = pa.schema(
    [
        *SCHEMA,
        ("query", _NAME),  # class: an image is classified; image: its captions are searched; caption: its image
        ("rank", pa.int32()),  # of the first right answer, from 1; 0 where the query is class
        ("retrieved", pa.list_(pa.int32())),  # the first answers: positions of captions, of a caption those of images
    ]
)
TEST = ["step", "task"]  # a model on the test set of a task
COUNTED = ("image",)  # columns of increasing numbers
Columns = Mapping[str, Any]
Numbers = Iterable[Any]


def prediction_rows(
    columns: Columns,
    *,
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    classes: Sequence[str],
) -> pd.DataFrame:
    """Returns one row for each tested image, in its order in the test set. `images` are the positions.

    `columns` are method, protocol, step, trained_task and task. `labels` and `predicted` are indices into `classes`.
    """
    names = np.array(classes, dtype=object)
    of_images = {"image": images, "label": names[labels], "predicted": names[predicted]}
    rows: pd.DataFrame = pd.DataFrame({**of_images, **columns})[SCHEMA.names]
    return rows


def retrieval_rows(
    columns: Columns, query: str, queries: Numbers, *, right: Numbers, found: Numbers, ranks: Numbers, answers: Any
) -> pd.DataFrame:
    """Returns one row for each query of a kind, OF_IMAGE or OF_CAPTION. `queries` are their positions in the test set.

    `right` and `found` are positions of images: the right one, and that of the first answer. `answers` are rows of
    numbers, as long as the longest. -1 is none.
    """
    texts = {name: [str(int(each)) for each in values] for name, values in (("label", right), ("predicted", found))}
    retrieved = [[int(answer) for answer in row if answer >= 0] for row in answers]
    numbers = {"image": list(map(int, queries)), "rank": list(map(int, ranks))}
    rows: pd.DataFrame = pd.DataFrame({**numbers, **texts, "query": query, "retrieved": retrieved, **columns})
    ordered: pd.DataFrame = rows[RETRIEVAL.names]
    return ordered


def of_pairs(rows: pd.DataFrame) -> pd.Series:
    """Returns which rows are of tasks of pairs."""
    query = rows["query"] if "query" in rows.columns else pd.Series(OF_CLASS, index=rows.index)
    return query.isin([OF_IMAGE, OF_CAPTION])


def write_predictions(path: Path, rows: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Writes the rows, sorted by step, then as given. `metadata` is that of the step's accuracy file."""
    schema = RETRIEVAL if "query" in rows.columns else SCHEMA
    ordered = _filled(rows[schema.names]).sort_values("step", kind="stable")
    _require_sound(path, ordered, metadata)
    table = pa.Table.from_arrays([_column(ordered[field.name], field.type) for field in schema], schema=schema)
    write_table(path, table, metadata, counted=COUNTED)


def _filled(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of classes, beside those of pairs, have neither rank nor answers."""
    if "query" not in rows.columns:
        return rows
    empty = rows["query"].isna()
    retrieved = [[] if none else found for none, found in zip(empty, rows["retrieved"], strict=True)]
    rank = rows["rank"].fillna(0).astype(int)
    whole: pd.DataFrame = rows.assign(query=rows["query"].where(~empty, OF_CLASS), rank=rank, retrieved=retrieved)
    return whole


def _column(values: pd.Series, kind: pa.DataType) -> pa.Array:
    """One chunk. Its dictionary has the order of first appearance, however pandas stores the texts."""
    if kind != _NAME:
        return pa.array(values.to_list() if pa.types.is_list(kind) else values.to_numpy(), kind)
    return pa.array(values.to_numpy(dtype=object), pa.string()).dictionary_encode()


def read_predictions(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns (rows, metadata) of the file <method>/<task>.parquet. Columns of text are categories.

    ContractError if it is missing, breaks the contract, or is of another method or task than its path says.
    """
    table, metadata = read_table(path, None, STAGE)
    require_schema(path, table.schema, RETRIEVAL if "query" in table.schema.names else SCHEMA, STAGE)
    rows: pd.DataFrame = table.to_pandas()
    _require_sound(path, rows, metadata)
    require_own(path, rows)
    return rows, metadata


def require_agreement(
    path: Path,
    predictions: tuple[pd.DataFrame, Mapping[str, str]],
    accuracy: tuple[pd.DataFrame, Mapping[str, str]],
) -> None:
    """Raises ContractError unless the predictions in `path` give the accuracies, and are of the same models and tasks.

    Both are (rows, metadata), as read_predictions and read_accuracy return them.
    """
    (rows, metadata), (accuracies, expected) = predictions, accuracy
    if dict(metadata) != dict(expected):
        raise broken(path, "it is not of the same models, tasks and environment as the accuracies", STAGE)
    pairs = of_pairs(rows)
    retrieved = accuracies.eval_task.isin(set(rows.task[pairs].astype(str)))
    found = {**_counts(rows[~pairs]), **_recalls(rows[pairs])}
    noted = {**_noted_counts(accuracies[~retrieved]), **_noted_recalls(accuracies[retrieved])}
    differing = sorted(test for test in {*found, *noted} if found.get(test) != noted.get(test))
    if differing:
        step, task = differing[0]
        seen, wanted = (counts.get(differing[0], "no row") for counts in (found, noted))
        what = f"step {step} on {task} should be {wanted} correct as in the accuracies, it is {seen}"
        raise broken(path, what, STAGE)


def _counts(rows: pd.DataFrame) -> dict[tuple[int, str], str]:
    """ "3 of 4" correct by step and task, the task by which the accuracy file names the test."""
    task = rows.task.astype(str)
    if (
        len(rows) and (rows.protocol == CLASS_INCREMENTAL).all()
    ):  # one test of the images of all tasks, named after the newest
        task[:] = str(rows.trained_task.iloc[int(rows.step.to_numpy().argmax())])
    correct = rows.label.astype(str) == rows.predicted.astype(str)
    tests = pd.DataFrame({"step": rows.step, "task": task, "correct": correct}).groupby(TEST)["correct"]
    return _by_test(tests.sum().reset_index().assign(n=tests.size().to_numpy()), TEST)


def _noted_counts(accuracies: pd.DataFrame) -> dict[tuple[int, str], str]:
    correct = (accuracies.top1 * accuracies.n).round().astype(int)
    return _by_test(accuracies.assign(correct=correct), ["step", "eval_task"])


def _recalls(rows: pd.DataFrame) -> dict[tuple[int, str], str]:
    """Recall@1, the mean of both directions, by step and task."""
    found = rows.assign(right=rows["rank"] == 1) if len(rows) else rows.assign(right=[])
    recalls: dict[tuple[int, str], str] = {}
    for (step, task), test in found.groupby(TEST, observed=True):
        share = test.groupby("query", observed=True)["right"].mean().mean()
        recalls[int(step), str(task)] = _recall(share, int((test["query"].astype(str) == OF_IMAGE).sum()))
    return recalls


def _noted_recalls(accuracies: pd.DataFrame) -> dict[tuple[int, str], str]:
    columns = (accuracies[name].tolist() for name in ("step", "eval_task", "top1", "n"))
    return {(step, task): _recall(top1, n) for step, task, top1, n in zip(*columns, strict=True)}


def _recall(share: float, images: int) -> str:
    return f"Recall@1 {share:.6f} on {images} images,"


def _by_test(counts: pd.DataFrame, test: list[str]) -> dict[tuple[int, str], str]:
    columns = (counts[name].tolist() for name in (*test, "correct", "n"))
    return {(step, str(task)): f"{correct} of {n}" for step, task, correct, n in zip(*columns, strict=True)}


def _require_sound(path: Path, rows: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    if rows.empty:
        raise broken(path, "there should be one row at least", STAGE)
    if rows.isna().any(axis=None):
        raise broken(path, "there should be no empty value", STAGE)
    protocols = sorted(map(str, rows.protocol.unique()))
    if not set(protocols) <= set(PHASES) or len(protocols) != 1:
        raise broken(path, f"protocol should be one of {', '.join(PHASES)}; found {', '.join(protocols)}", STAGE)
    if not (rows.step >= PRETRAINED_STEP).all():
        raise broken(path, "step should be at least -1", STAGE)
    if not ((rows.step == PRETRAINED_STEP) == (rows.trained_task == PRETRAINED)).all():
        raise broken(path, "trained_task should be pretrained at step -1 and nowhere else", STAGE)
    _require_images(path, rows, limited=MAX_IMAGES in metadata)
    _require_equal_labels(path, rows)


def _require_images(path: Path, rows: pd.DataFrame, *, limited: bool) -> None:
    """The images of a test are in the order of the test set: all of them, or some if they are limited."""
    by_test = rows.groupby([*TEST, *_query(rows)], observed=True, sort=False)
    if not limited and not (by_test.cumcount() == rows.image).all():
        raise broken(path, "image should count 0, 1, 2, ... in each test", STAGE)
    if (rows.image < 0).any() or (by_test["image"].diff() <= 0).any():
        raise broken(path, "image should increase from 0 or more in each test", STAGE)


def _require_equal_labels(path: Path, rows: pd.DataFrame) -> None:
    """All models of a step are tested on the same images."""
    images = rows[["task", "image", "label", *_query(rows)]].drop_duplicates()
    repeated = images[images.duplicated(["task", "image", *_query(rows)])]
    if len(repeated):
        task, image = repeated.task.iloc[0], repeated.image.iloc[0]
        raise broken(path, f"image {image} of {task} should have one label in all tests", STAGE)


def _query(rows: pd.DataFrame) -> list[str]:
    return ["query"] if "query" in rows.columns else []

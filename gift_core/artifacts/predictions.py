"""Predictions: the Parquet files in which stage evaluate writes the class that each model gave to each test image.

There is one row for each test that an accuracy file has a row of (artifacts.accuracy), and each image of this test:

- task_incremental: `predicted` is a class of `task`, whose test set the image belongs to.
- class_incremental, cross_domain: `predicted` is a class of any task up to the newest one of the file, also at step -1.
  A class that several tasks have is spelled as in `task`.

With a limit of test images (accuracy.MAX_IMAGES in the metadata), some positions have no row.

A file with a task of image-caption pairs has the columns RETRIEVAL, too. Its tests have a row for each image, and then
one for each caption: label is the position of the right image, and predicted that of the image that was found first, or
whose caption was.

Columns of text are dictionaries, and the position of an image is stored as a difference, so a row takes about a byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from gift_core.artifacts.accuracy import STAGE
from gift_core.artifacts.contract import read_table, write_table

_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("method", _NAME),
        ("protocol", _NAME),  # the name of one of PROTOCOLS
        ("step", pa.int32()),  # -1: the pre-trained model
        ("trained_task", _NAME),  # the task learned last; "pretrained" at step -1
        ("task", _NAME),  # the task whose test set has the image
        ("image", pa.int32()),  # its position in the test set, from 0
        ("label", _NAME),  # its class
        ("predicted", _NAME),  # the class that the model gave to it
    ]
)
OF_CLASS = "class"
OF_IMAGE, OF_CAPTION = "image", "caption"
RETRIEVAL = pa.schema(
    [
        *SCHEMA,
        ("query", _NAME),  # class: an image is classified; image: its captions are searched; caption: its image
        ("rank", pa.int32()),  # of the first right answer, from 1; 0 where the query is class
        ("retrieved", pa.list_(pa.int32())),  # the first answers: positions of captions, of a caption those of images
    ]
)
RECALLS = (1, 5, 10)
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
    of_queries = {
        "image": [int(position) for position in queries],
        "label": [str(int(position)) for position in right],
        "predicted": [str(int(position)) for position in found],
        "rank": [int(rank) for rank in ranks],
        "retrieved": [[int(answer) for answer in row if answer >= 0] for row in answers],
    }
    rows: pd.DataFrame = pd.DataFrame({**of_queries, "query": query, **columns})[RETRIEVAL.names]
    return rows


@dataclass(frozen=True)
class Recalls:
    """A model on a task of pairs, in percent: Recall@1, 5, 10 of the images for captions and of captions for images.

    The mean ranks count from 1.
    """

    images: tuple[float, ...]
    images_rank: float
    captions: tuple[float, ...]
    captions_rank: float

    @property
    def mean(self) -> float:
        """Recall@1, the mean of both directions: the task's number in the accuracy matrix."""
        return (self.images[0] + self.captions[0]) / 2


def recalls(test: pd.DataFrame) -> Recalls:
    """Returns Recall@1, @5 and @10 in percent and the mean ranks of the rows of one test, in both directions."""
    shares, means = {}, {}
    for query in (OF_CAPTION, OF_IMAGE):
        ranks = test.loc[test["query"] == query, "rank"]
        shares[query] = tuple(100 * float((ranks <= first).mean()) for first in RECALLS)
        means[query] = float(ranks.mean())
    return Recalls(shares[OF_CAPTION], means[OF_CAPTION], shares[OF_IMAGE], means[OF_IMAGE])


def write_predictions(path: Path, rows: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Writes the rows, sorted by step, then as given. `metadata` is that of the step's accuracy file."""
    schema = RETRIEVAL if "query" in rows.columns else SCHEMA
    if schema is RETRIEVAL:  # rows of classes, beside those of pairs, have neither rank nor answers
        empty = rows["query"].isna()
        retrieved = [[] if none else answers for none, answers in zip(empty, rows["retrieved"], strict=True)]
        rank = rows["rank"].fillna(0).astype(int)
        rows = rows.assign(query=rows["query"].where(~empty, OF_CLASS), rank=rank, retrieved=retrieved)
    ordered = rows[schema.names].sort_values("step", kind="stable")
    columns = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        values = ordered[name]
        if kind == _NAME:  # its dictionary has the order of first appearance, however pandas stores the texts
            columns.append(pa.array(values.to_numpy(dtype=object), pa.string()).dictionary_encode())
        else:
            columns.append(pa.array(values.to_list() if pa.types.is_list(kind) else values.to_numpy(), kind))
    write_table(path, pa.Table.from_arrays(columns, schema=schema), metadata, counted=COUNTED)


def read_predictions(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns (rows, metadata) of the file <method>/<task>.parquet. Columns of text are categories.

    ContractError if it is missing or breaks the contract.
    """
    table, metadata = read_table(path, lambda found: RETRIEVAL if "query" in found.names else SCHEMA, STAGE)
    return table.to_pandas(), metadata

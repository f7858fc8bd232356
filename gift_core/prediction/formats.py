"""Predictions as text: a table for people, CSV and JSON for programs; a line is made as its image is answered."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gift_core.prediction.answers import Prediction

Lines = Callable[["Iterable[Prediction]", list[Path]], Iterator[str]]
_HEADER = ("path", "rank", "class", "probability")
_PLACES = 6  # decimals of a probability


def table_lines(predictions: Iterable[Prediction], paths: list[Path]) -> Iterator[str]:
    """Path, classes and percentages in columns; `paths` are all that may come."""
    width = max((len(str(path)) for path in paths), default=0)
    for prediction in predictions:
        for rank, (name, probability) in enumerate(prediction.classes):
            yield f"{'' if rank else str(prediction.path):{width}}  {probability:6.1%}  {name}"


def csv_lines(predictions: Iterable[Prediction], paths: list[Path]) -> Iterator[str]:
    """A row a path and class: path, rank (from 1), class, probability (0-1); with a header."""
    del paths
    yield _csv_row(_HEADER)
    for prediction in predictions:
        for rank, (name, probability) in enumerate(prediction.classes, start=1):
            yield _csv_row((str(prediction.path), rank, name, round(probability, _PLACES)))


def json_lines(predictions: Iterable[Prediction], paths: list[Path]) -> Iterator[str]:
    """One array, an object a line: {"path": ..., "classes": [{"class": ..., "probability": 0-1}, ...]}."""
    del paths
    waiting = "["  # a comma follows a line only where another line does
    for prediction in predictions:
        yield waiting if waiting == "[" else f"{waiting},"
        classes = [{"class": name, "probability": round(value, _PLACES)} for name, value in prediction.classes]
        waiting = json.dumps({"path": os.fspath(prediction.path), "classes": classes}, ensure_ascii=False)
    yield waiting
    yield "]"


def _csv_row(cells: Iterable[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()


FORMATS: dict[str, Lines] = {"table": table_lines, "csv": csv_lines, "json": json_lines}

"""Oxford Flowers-102: labels 1 to 102 in imagelabels.mat, the splits' image numbers in setid.mat."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gift_core.tasks.catalogue.contents import Contents, Pair, contents_of, read_mat, reading


def read(folder: Path) -> Contents:
    """Returns the images of trnid and tstid, in their order."""
    labels_path = folder / "imagelabels.mat"
    with reading(labels_path):
        labels: list[int] = np.atleast_1d(read_mat(labels_path)["labels"]).tolist()
    splits_path = folder / "setid.mat"
    with reading(splits_path):
        splits = read_mat(splits_path)
        train, test = (_list_split(splits[name], labels) for name in ("trnid", "tstid"))
    return contents_of(folder, train=train, test=test)


def _list_split(numbers: np.ndarray, labels: list[int]) -> list[Pair]:
    return [
        (str(labels[number - 1]), f"jpg/image_{number:05d}.jpg") for number in np.atleast_1d(numbers).tolist()
    ]  # images count from 1

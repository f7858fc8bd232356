"""Stanford Cars: classes 1 to 196 in a MATLAB file a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gift_core.tasks.catalogue.contents import Contents, Pair, contents_of, read_mat, reading


def read(folder: Path) -> Contents:
    """Returns the images of the two annotation files, in their order."""
    train = _list_split(folder, "cars_train", folder / "devkit" / "cars_train_annos.mat")
    test = _list_split(folder, "cars_test", folder / "cars_test_annos_withlabels.mat")
    return contents_of(folder, train=train, test=test)


def _list_split(folder: Path, images: str, annotations: Path) -> list[Pair]:
    if (folder / images / images).is_dir():  # as Kaggle's copy unpacks
        images = f"{images}/{images}"
    with reading(annotations):
        rows = np.atleast_1d(read_mat(annotations)["annotations"])
        return [(str(int(row["class"])), f"{images}/{row['fname']}") for row in rows]

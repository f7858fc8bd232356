"""CIFAR-100: three Python 2 pickles, read by an unpickler that builds arrays, texts and lists, and nothing else."""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from gift_core.tasks.catalogue.contents import Contents, reading
from gift_core.tasks.catalogue.readers.arrays import list_arrays
from gift_core.tasks.found import Found

_RECONSTRUCT = np.empty(0).__reduce__()[0]  # what a pickled array is built with; its module has moved over time
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


def read(folder: Path) -> Contents:
    """Returns the images of train and test, in their order, under their fine labels."""
    meta = folder / "meta"
    with reading(meta):
        names: list[str] = _unpickle(meta)["fine_label_names"]
    return Contents(_list_split(folder / "train", names), _list_split(folder / "test", names))


def _list_split(path: Path, names: list[str]) -> list[Found]:
    with reading(path):
        batch = _unpickle(path)
        images = batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # rows of 1024 red, green, blue
        labels = [_name(label, names) for label in batch["fine_labels"]]
        return list_arrays(images, labels, file=path.name)


def _name(label: int, names: list[str]) -> str:
    """The label's name, or the number itself where the data set has no such class: it is told as an unknown one."""
    return names[label] if 0 <= label < len(names) else str(label)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What the pickle names; UnpicklingError for all that an array does not need."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        return _ALLOWED[module, name]


def _unpickle(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content: dict[str, Any] = _Unpickler(file, encoding="latin1").load()
    return content

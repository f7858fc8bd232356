"""MNIST: IDX files, unpacked or gzipped."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from gift_core.tasks.catalogue.contents import Contents, reading
from gift_core.tasks.catalogue.readers.arrays import list_arrays
from gift_core.tasks.found import Found

_UINT8 = 8  # the type byte of an IDX file


def read(folder: Path) -> Contents:
    """Returns the images of the train and t10k files, in their order, under their digits."""
    return Contents(_list_split(folder, "train"), _list_split(folder, "t10k"))


def _list_split(folder: Path, split: str) -> list[Found]:
    images = _read_idx(folder / f"{split}-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(folder / f"{split}-labels-idx1-ubyte", dimensions=1)
    with reading(folder / f"{split}-labels-idx1-ubyte"):
        return list_arrays(images, [str(label) for label in labels.tolist()], file=f"{split}-images-idx3-ubyte")


def _read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """Two zero bytes, the type, the number of dimensions, their lengths as big-endian 32-bit numbers, then the data."""
    with reading(path):
        data = path.read_bytes() if path.is_file() else gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())
        header = 4 + 4 * dimensions
        if data[:4] != bytes([0, 0, _UINT8, dimensions]):
            raise ValueError(f"it should begin with 0, 0, {_UINT8}, {dimensions}, it begins with {list(data[:4])}")
        shape = np.frombuffer(data[4:header], ">u4").tolist()
        array: np.ndarray = np.frombuffer(data, np.uint8, offset=header).reshape(shape)
        return array

"""Small data sets in the layouts of the official archives, made of real image, pickle, IDX and MATLAB files."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import savemat

from gift_core.artifacts.task import SPLITS
from gift_core.datasets.catalogue.inventory import CatalogueRow, catalogue_row
from gift_core.datasets.hub_dataset import COMMIT

SIDE = 8
TRAIN_SHARE = 4  # training images for one test image, where a data set is split 80/20


def make_tree(dataset: str, folder: Path, per_class: int = 1, classes: int | None = None) -> Path:
    """Writes data set `dataset` below `folder`, a task's path, where torchvision's downloader puts it; returns it.

    Each of the first `classes` classes (None: all) has `per_class` images in the training and in the test split; where
    the data set is split 80/20, 5 * per_class images. Each image has a different color.
    """
    keys = list(catalogue_row(dataset, "tests").classes)[:classes]
    if dataset in MAKERS:
        MAKERS[dataset](folder, keys, per_class)
    else:
        _hub_copy(catalogue_row(dataset, "tests"), folder, keys, per_class)
    return folder


def small_row(dataset: str, per_class: int = 1, **changes: Any) -> CatalogueRow:
    """The row of a data set that is not split 80/20, expecting what its small tree holds."""
    row = catalogue_row(dataset, "tests")
    return row.model_copy(update={"counts": dict.fromkeys(SPLITS, len(row.classes) * per_class), **changes})


def _aircraft(folder: Path, keys: list[str], per_class: int) -> None:
    data = folder / "fgvc-aircraft-2013b" / "data"
    numbers = count(34309)  # seven digits, zeros before
    for split in ("train", "val", "test"):
        lines = [f"{next(numbers):07d} {key}" for key in keys for _ in range(per_class)]
        _write_lines(data / f"images_variant_{split}.txt", lines)
        _write_jpegs(data / "images", (f"{line.split()[0]}.jpg" for line in lines))
    _write_lines(data / "variants.txt", list(catalogue_row("aircraft", "tests").classes))


def _caltech101(folder: Path, keys: list[str], per_class: int) -> None:
    images = folder / "caltech101" / "101_ObjectCategories"
    _whole(images, (*keys, "BACKGROUND_Google"), per_class, "{key}/image_{number:04d}.jpg", first=1)
    (images / "BACKGROUND_Google" / "tmp").touch()  # the archive has it


def _cifar100(folder: Path, keys: list[str], per_class: int) -> None:
    archive = folder / "cifar-100-python"
    archive.mkdir(parents=True)
    names = list(catalogue_row("cifar100", "tests").classes)
    colors = np.random.default_rng(100)
    for split in ("train", "test"):
        labels = [names.index(key) for _ in range(per_class) for key in reversed(keys)]
        batch = {
            "filenames": [f"{names[label]}_s_{number:06d}.png" for number, label in enumerate(labels)],
            "batch_label": f"{split}ing batch 1 of 1",
            "fine_labels": labels,
            "coarse_labels": [0] * len(labels),
            "data": colors.integers(0, 256, (len(labels), 3072), dtype=np.uint8),
        }
        _write_python2_pickle(archive / split, batch)
    _write_python2_pickle(archive / "meta", {"fine_label_names": names, "coarse_label_names": ["fish"]})


def _cub(folder: Path, keys: list[str], per_class: int) -> None:
    names = [f"{key}/{number}.jpg" for key in keys for number in range(2 * per_class)]
    _write_jpegs(folder / "CUB_200_2011" / "images", names)
    tables = {"images": names, "train_test_split": [1 - number % 2 for number in range(len(names))]}
    for table, values in tables.items():
        lines = [f"{number} {value}" for number, value in enumerate(values, 1)]
        _write_lines(folder / "CUB_200_2011" / f"{table}.txt", lines)


def _dtd(folder: Path, keys: list[str], per_class: int) -> None:
    data = folder / "dtd" / "dtd"
    numbers = count(1)
    for partition in (1, 2):
        for split in ("train", "val", "test"):
            lines = [f"{key}/{key}_{next(numbers):04d}.jpg" for key in keys for _ in range(per_class)]
            _write_lines(data / "labels" / f"{split}{partition}.txt", lines)
            _write_jpegs(data / "images", lines)


def _flowers(folder: Path, keys: list[str], per_class: int) -> None:
    archive = folder / "flowers-102"
    labels = [int(key) for _ in range(3 * per_class) for key in keys]
    _write_jpegs(archive / "jpg", (f"image_{number:05d}.jpg" for number in range(1, len(labels) + 1)))
    train, valid, test = np.split(np.arange(1, len(labels) + 1, dtype=np.uint16), 3)
    savemat(archive / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    savemat(archive / "setid.mat", {"trnid": train[None, ::-1], "valid": valid[None], "tstid": test[None]})


def _food(folder: Path, keys: list[str], per_class: int) -> None:
    archive = folder / "food-101"
    numbers = count(1005649)
    for split in ("train", "test"):
        classes = {key: [f"{key}/{next(numbers)}" for _ in range(per_class)] for key in reversed(keys)}
        _write_jpegs(archive / "images", (f"{image}.jpg" for images in classes.values() for image in images))
        (archive / "meta").mkdir(exist_ok=True)
        (archive / "meta" / f"{split}.json").write_text(json.dumps(classes), encoding="utf-8")


def _gtsrb(folder: Path, keys: list[str], per_class: int) -> None:
    base, lines = folder / "gtsrb", ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for number, key in enumerate(keys * per_class):
        _write_jpegs(
            base / "GTSRB", (f"Training/{int(key):05d}/{number:05d}.ppm", f"Final_Test/Images/{number:05d}.ppm")
        )
        lines.append(f"{number:05d}.ppm;8;8;1;1;7;7;{key}")
    _write_lines(base / "GT-final_test.csv", lines)


def _imagenet(folder: Path, keys: list[str], per_class: int) -> None:
    names = (f"{key}/ILSVRC2012_val_{number:08d}.JPEG" for number, key in enumerate(keys * per_class))
    _write_jpegs(folder / "val", names)


def _mnist(folder: Path, keys: list[str], per_class: int) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    grays = np.random.default_rng(10)
    for split in ("train", "t10k"):
        labels = np.array([int(key) for _ in range(per_class) for key in keys], dtype=np.uint8)
        images = grays.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        for name, array in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (raw / name).write_bytes(header + array.tobytes())
            (raw / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes()))


def _oxford_pet(folder: Path, keys: list[str], per_class: int) -> None:
    archive = folder / "oxford-iiit-pet"
    all_keys = list(catalogue_row("oxford_pet", "tests").classes)
    for split, first in (("trainval", 1), ("test", 1 + per_class)):
        images = [(key, number) for key in keys for number in range(first, first + per_class)]
        _write_lines(
            archive / "annotations" / f"{split}.txt",
            [f"{key}_{number} {all_keys.index(key) + 1} {1 if key[0].isupper() else 2} 1" for key, number in images],
        )
        _write_jpegs(archive / "images", (f"{key}_{number}.jpg" for key, number in images))


def _stanford_cars(folder: Path, keys: list[str], per_class: int) -> None:
    archive = folder / "stanford_cars"
    (archive / "devkit").mkdir(parents=True)
    annotations = {"train": archive / "devkit" / "cars_train_annos.mat"}
    annotations["test"] = archive / "cars_test_annos_withlabels.mat"
    for split, path in annotations.items():
        rows = np.zeros((1, len(keys) * per_class), dtype=[("bbox_x1", object), ("class", object), ("fname", object)])
        for index, key in enumerate(key for key in reversed(keys) for _ in range(per_class)):
            rows[0, index] = (np.uint8(1), np.uint8(key), f"{index + 1:05d}.jpg")
        _write_jpegs(archive / f"cars_{split}", (f"{number:05d}.jpg" for number in range(1, rows.size + 1)))
        savemat(path, {"annotations": rows})
    names = np.array([list(catalogue_row("stanford_cars", "tests").classes.values())], dtype=object)
    savemat(archive / "devkit" / "cars_meta.mat", {"class_names": names})


def _sun397(folder: Path, keys: list[str], per_class: int) -> None:
    archive = folder / "SUN397"
    _whole(archive, keys, per_class, "{key[0]}/{key}/sun_{number:017d}.jpg")
    names = [f"/{key[0]}/{key}" for key in catalogue_row("sun397", "tests").classes]
    _write_lines(archive / "ClassName.txt", names)


def _tinyimagenet(folder: Path, keys: list[str], per_class: int) -> None:
    archive = folder / "tiny-imagenet-200"
    for key in keys:
        _write_jpegs(archive / "train" / key / "images", (f"{key}_{number}.JPEG" for number in range(per_class)))
    validation = [(f"val_{number}.JPEG", key) for number, key in enumerate(reversed(keys * per_class))]
    _write_jpegs(archive / "val" / "images", (file for file, _ in validation))
    _write_lines(archive / "val" / "val_annotations.txt", [f"{file}\t{key}\t0\t0\t7\t7" for file, key in validation])


MAKERS: Mapping[str, Callable[[Path, list[str], int], None]] = {
    function.__name__.removeprefix("_"): function
    for function in (
        _aircraft, _caltech101, _cifar100, _cub, _dtd, _flowers, _food, _gtsrb, _imagenet, _mnist, _oxford_pet,
        _stanford_cars, _sun397, _tinyimagenet,
    )
} | {
    "eurosat": lambda folder, keys, n: _whole(folder / "eurosat/2750", keys, n, "{key}/{key}_{number}.jpg", first=1),
    "imagenet_r": lambda folder, keys, n: _whole(folder / "imagenet-r", keys, n, "{key}/art_{number}.jpg"),
}  # fmt: skip


def _hub_copy(row: CatalogueRow, folder: Path, keys: list[str], per_class: int) -> None:
    """Writes what `gift data fetch` downloads of a data set without archives: Parquet files with names as labels."""
    data = folder / (row.hub.config or "data")
    data.mkdir(parents=True)
    for split in SPLITS:
        rows = [{"image": {"bytes": _jpeg(), "path": None}, "label": key} for key in keys for _ in range(per_class)]
        pd.DataFrame(rows).to_parquet(data / f"{row.hub.splits[split]}-00000-of-00001.parquet")
    _write_lines(folder / COMMIT, [row.hub.revision or "0" * 40])


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


_COLORS = (  # 4 apart, which remain distinct in a JPEG
    (number * 4 % 256, number // 64 * 4 % 256, number // 4096 * 4 % 256) for number in count()
)


def _write_jpegs(folder: Path, names: Iterable[str]) -> None:
    for path in (folder / name for name in names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_jpeg())


def _jpeg() -> bytes:
    """An image in the next color."""
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), next(_COLORS)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def _whole(folder: Path, keys: Iterable[str], per_class: int, name: str, first: int = 0) -> None:
    """Writes the images of a data set that is split 80/20."""
    numbers = range(first, first + (TRAIN_SHARE + 1) * per_class)
    _write_jpegs(folder, (name.format(key=key, number=number) for key in keys for number in numbers))


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes byte strings as Python 2 did, as they are in the official files."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _save_string(self, text: str | bytes) -> None:
        data = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)

    dispatch[str] = _save_string
    dispatch[bytes] = _save_string


def _write_python2_pickle(path: Path, content: Any) -> None:
    _Python2Pickler(buffer := io.BytesIO(), protocol=2).dump(content)
    path.write_bytes(buffer.getvalue().replace(b"numpy._core.", b"numpy.core."))  # as numpy's module was called

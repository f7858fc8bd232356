"""Readers of the official archives, one per data set. They list the images of the unpacked folder and decode none.

What a reader raises for a wrong file, take_inventory reports.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gift_core.artifacts.tars import encode_image
from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import is_inside
from gift_core.datasets.dataset import Sample
from gift_core.untrusted import parse_json

Pair = tuple[str, str]  # label, path below the archive's folder
Splits = Mapping[str, Sequence[Pair | Sample]]  # of train and test, or of test alone
SPLIT_SEED = 42  # of MTIL's 80/20 splits
TRAIN_SHARE = 0.8


def samples_of(folder: Path, found: Splits) -> tuple[dict[str, list[Sample]], list[str]]:
    """Returns the samples of each split in their order, and the files that a list names but that do not exist."""
    splits = {split: list[Sample]() for split in SPLITS}
    absent = list[str]()
    for split, items in found.items():
        for item in items:
            if isinstance(item, Sample):
                splits[split].append(item)
                continue
            label, name = item
            if not is_inside(name):
                raise ValueError(f"a list names {name!a}, which is outside")
            try:
                splits[split].append(Sample(label, name, (folder / name).stat().st_size, (folder / name).read_bytes))
            except FileNotFoundError:
                absent.append(name)
    return splits, absent


def in_list(folder: Path, file: str, line: str, image: str, *, header: int = 0) -> list[Pair]:
    """Returns the images of a list with one in each line. `line` is a pattern with the groups image and label."""
    pairs = list[Pair]()
    for text in read_rows(folder / file)[header:]:
        match = re.fullmatch(line, text)
        if match is None:
            raise ValueError(f"{file} has the line {text[:80]!a}")
        pairs.append((match["label"], image.format(match["image"])))
    return pairs


def in_folders(folder: Path, images: str, pattern: str) -> list[Pair]:
    """Returns the files images/<class>/<pattern>, sorted by class and name, without hidden files."""
    classes = sorted(path.name for path in (folder / images).iterdir() if path.is_dir() and path.name[0] != ".")
    return [
        (label, file.relative_to(folder).as_posix())
        for label in classes
        for file in sorted((folder / images / label).glob(pattern))
        if file.name[0] != "."
    ]


def list_arrays(images: np.ndarray, labels: Sequence[str], *, file: str) -> list[Sample]:
    """Returns images [N, H, W] or [N, H, W, 3], uint8, as if each were a PNG file. `file` names them in messages."""
    return [
        Sample(label, f"{file}, image {number}", image.nbytes, partial(_png, image))
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def _png(image: np.ndarray) -> bytes:
    return encode_image(Image.fromarray(image), "png")


def read_rows(path: Path) -> list[str]:
    """Returns the lines of the file without spaces around them, without empty ones."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def read_mat(path: Path) -> dict[str, Any]:
    """Returns the variables of a MATLAB file, without dimensions of length 1."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    variables: dict[str, Any] = loadmat(path, squeeze_me=True)
    return variables


def split_80_20(items: Sequence[Pair]) -> Splits:
    """Returns int(0.8 n) training items and the rest for testing, both in the order of `items`.

    The items are those of `torch.utils.data.random_split(items, [int(0.8 n), rest], generator=manual_seed(42))`, which
    returns them in the order in which it samples them: that of `torch.randperm`, on the CPU. NumPy and torch sample 32
    bits at a time from a Mersenne twister with the same seeding, and randperm swaps position i with i + bits mod
    (n - i) (aten's randperm_cpu). NumPy's policy (NEP 19) keeps the stream of RandomState unchanged.
    """
    n = len(items)
    bits = np.random.RandomState(SPLIT_SEED).randint(0, 2**32, size=max(n - 1, 0), dtype=np.uint32).tolist()
    order = list(range(n))
    for index, sampled in enumerate(bits):
        swapped = index + sampled % (n - index)
        order[index], order[swapped] = order[swapped], order[index]
    count = int(TRAIN_SHARE * n)
    return {
        "train": [items[index] for index in sorted(order[:count])],
        "test": [items[index] for index in sorted(order[count:])],
    }


def read_lists(lists: str, line: str, image: str, folder: Path, *, train: str = "train") -> Splits:
    """Returns the images of two lists (in_list): `lists` is their path with {} for the split."""
    return {
        "train": in_list(folder, lists.format(train), line, image),
        "test": in_list(folder, lists.format("test"), line, image),
    }


def read_split_folders(images: str, folder: Path) -> Splits:
    """Returns the images of one folder per class below `images`, split 80/20 by class and name, as torchvision lists.

    So Caltech-101 has its images by number, and EuroSAT by text (1, 10, 100, 1000, 2). One of Caltech-101's folders
    has background images, and is not a class.
    """
    return split_80_20([pair for pair in in_folders(folder, images, "*.jpg") if pair[0] != "BACKGROUND_Google"])


def read_cifar100(folder: Path) -> Splits:
    """CIFAR-100: three Python 2 pickles. The labels are the fine ones."""
    meta, *batches = (
        _Unpickler(io.BytesIO((folder / name).read_bytes()), encoding="latin1").load() for name in ("meta", *SPLITS)
    )
    names: list[str] = meta["fine_label_names"]
    splits: dict[str, list[Sample]] = {}
    for split, batch in zip(SPLITS, batches, strict=True):
        images = batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # rows of 1024 red, green, blue
        splits[split] = list_arrays(images, [names[label] for label in batch["fine_labels"]], file=split)
    return splits


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # what builds a pickled array; its module differs between NumPy versions
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


class _Unpickler(pickle.Unpickler):
    """Builds arrays, texts and lists, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        return _ALLOWED[module, name]


def read_cub(folder: Path) -> Splits:
    """Caltech-UCSD Birds: a list of images, "<number> <class>/<file>", and one that says which are for training."""
    names = dict(line.split(" ", 1) for line in read_rows(folder / "images.txt"))
    is_train = dict(line.split(" ", 1) for line in read_rows(folder / "train_test_split.txt"))

    def split(value: str) -> list[Pair]:
        return [(name.split("/")[0], f"images/{name}") for number, name in names.items() if is_train[number] == value]

    return {"train": split("1"), "test": split("0")}


def read_flowers(folder: Path) -> Splits:
    """Oxford Flowers-102: labels 1 to 102 in imagelabels.mat, the image numbers of the splits in setid.mat."""
    labels: list[int] = np.atleast_1d(read_mat(folder / "imagelabels.mat")["labels"]).tolist()
    splits = read_mat(folder / "setid.mat")

    def split(name: str) -> list[Pair]:
        numbers = np.atleast_1d(splits[name]).tolist()  # from 1
        return [(str(labels[number - 1]), f"jpg/image_{number:05d}.jpg") for number in numbers]

    return {"train": split("trnid"), "test": split("tstid")}


def read_food(folder: Path) -> Splits:
    """Food-101: one JSON file per split, {class: [image without .jpg, ...]}."""

    def split(name: str) -> list[Pair]:
        classes = parse_json((folder / "meta" / f"{name}.json").read_bytes())
        return [(label, f"images/{image}.jpg") for label, images in classes.items() for image in images]

    return {"train": split("train"), "test": split("test")}


def read_gtsrb(folder: Path) -> Splits:
    """GTSRB: a folder 00000 to 00042 for each class, and a table of the test images, "<file>;...;<class>"."""
    train = [(str(int(label)), name) for label, name in in_folders(folder, "GTSRB/Training", "*.ppm")]
    line = r"(?P<image>[^;]+);.*;(?P<label>[^;]+)"
    return {"train": train, "test": in_list(folder, "GT-final_test.csv", line, "GTSRB/Final_Test/Images/{}", header=1)}


def read_mnist(folder: Path) -> Splits:
    """MNIST: IDX files, unpacked or gzipped. The labels are the digits."""

    def split(name: str) -> list[Sample]:
        images = _read_idx(folder / f"{name}-images-idx3-ubyte", dimensions=3)
        labels = _read_idx(folder / f"{name}-labels-idx1-ubyte", dimensions=1)
        return list_arrays(images, [str(label) for label in labels.tolist()], file=f"{name}-images-idx3-ubyte")

    return {"train": split("train"), "test": split("t10k")}


def _read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """Two zero bytes, the type, the number of dimensions, their lengths as big-endian 32-bit numbers, then the data."""
    uint8 = 8  # the type byte
    data = path.read_bytes() if path.is_file() else gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())
    header = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, uint8, dimensions]):
        raise ValueError(f"{path.name} should begin with 0, 0, {uint8}, {dimensions}, it begins with {list(data[:4])}")
    shape = np.frombuffer(data[4:header], ">u4").tolist()
    array: np.ndarray = np.frombuffer(data, np.uint8, offset=header).reshape(shape)
    return array


def read_stanford_cars(folder: Path) -> Splits:
    """Stanford Cars: classes 1 to 196 in one MATLAB file per split."""

    def split(images: str, annotations: str) -> list[Pair]:
        if (folder / images / images).is_dir():  # as Kaggle's copy unpacks
            images = f"{images}/{images}"
        rows = np.atleast_1d(read_mat(folder / annotations)["annotations"])
        return [(str(int(row["class"])), f"{images}/{row['fname']}") for row in rows]

    train = split("cars_train", "devkit/cars_train_annos.mat")
    return {"train": train, "test": split("cars_test", "cars_test_annos_withlabels.mat")}


def read_sun397(folder: Path) -> Splits:
    """SUN397: <letter>/<class>, for some classes one folder deeper: a/abbey, a/apse/indoor. Split 80/20 by path.

    differs: torchvision lists the images in the order of the file system, which differs between machines.
    """
    pairs: list[Pair] = []
    for parent, _, files in os.walk(folder, followlinks=True):
        path = Path(parent).relative_to(folder)
        images = (file for file in files if file.startswith("sun_") and file.endswith(".jpg"))
        pairs += [("/".join(path.parts[1:]), f"{path.as_posix()}/{file}") for file in images]
    return split_80_20(sorted(pairs, key=lambda pair: pair[1]))


def read_tinyimagenet(folder: Path) -> Splits:
    """Tiny ImageNet: train/<wnid>/images, and val with a table of its labels, which is used as the test split."""
    line = r"(?P<image>[^\t]+)\t(?P<label>[^\t]+).*"  # then a box
    test = in_list(folder, "val/val_annotations.txt", line, "val/images/{}")
    return {"train": in_folders(folder, "train", "images/*.JPEG"), "test": test}


READERS: Mapping[str, Callable[[Path], Splits]] = {
    "aircraft": partial(  # the number of an image, and its variant
        read_lists, "data/images_variant_{}.txt", r"(?P<image>\S+) (?P<label>.+)", "data/images/{}.jpg"
    ),
    "caltech101": partial(read_split_folders, "101_ObjectCategories"),
    "cifar100": read_cifar100,
    "cub": read_cub,
    "dtd": partial(read_lists, "labels/{}1.txt", r"(?P<image>(?P<label>[^/]*).*)", "images/{}"),  # the first partition
    "eurosat": partial(read_split_folders, "."),
    "flowers": read_flowers,
    "food": read_food,
    "gtsrb": read_gtsrb,
    "imagenet": lambda folder: {"test": in_folders(folder, "val", "*.JPEG")},  # as torchvision sorts them
    "imagenet_r": partial(read_split_folders, "."),
    "mnist": read_mnist,
    "oxford_pet": partial(  # "<breed>_<number> <class> <species> <breed of the species>"
        read_lists, "annotations/{}.txt", r"(?P<image>(?P<label>\S+)_\S*).*", "images/{}.jpg", train="trainval"
    ),
    "stanford_cars": read_stanford_cars,
    "sun397": read_sun397,
    "tinyimagenet": read_tinyimagenet,
}

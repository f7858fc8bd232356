"""The images of an unpacked archive under its own labels, and how readers list its files, arrays and 80/20 splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from gift_core.config.tasks import is_inside
from gift_core.datasets.dataset import Sample
from gift_core.datasets.decoding import encode_image

T = TypeVar("T")
Pair = tuple[str, str]  # label, path below the archive's folder
SPLIT_SEED = 42  # of MTIL's 80/20 splits
TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class Contents:
    """The samples of both splits. `absent` are files that the archive's own lists name but that do not exist."""

    train: Sequence[Sample]
    test: Sequence[Sample]
    absent: tuple[str, ...] = ()


def contents_of(folder: Path, *, train: Iterable[Pair], test: Iterable[Pair]) -> Contents:
    """Returns the files of the pairs, in their order."""
    absent: list[str] = []
    return Contents(list(_present(folder, train, absent)), list(_present(folder, test, absent)), tuple(absent))


def _present(folder: Path, pairs: Iterable[Pair], absent: list[str]) -> Iterator[Sample]:
    for label, name in pairs:
        if not is_inside(name):
            raise ValueError(f"a list names {name!a}, which is outside")
        path = folder / name
        try:
            yield Sample(label, name, path.stat().st_size, path)
        except FileNotFoundError:
            absent.append(name)


def contents_of_lists(folder: Path, lists: str, pair: Callable[[str], Pair], *, train: str = "train") -> Contents:
    """Returns the files of two lists with an image in each line: `lists` is their path with {} for the split."""
    splits = {split: map(pair, read_rows(folder / lists.format(split))) for split in (train, "test")}
    return contents_of(folder, train=splits[train], test=splits["test"])


def list_classes(folder: Path, pattern: str) -> list[Pair]:
    """Returns the files folder/<class>/<pattern>, sorted by class and name, without hidden files."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [
        (label, file.relative_to(folder).as_posix())
        for label in classes
        for file in sorted((folder / label).glob(pattern))
        if not file.name.startswith(".")
    ]


def list_arrays(images: np.ndarray, labels: Sequence[str], *, file: str) -> list[Sample]:
    """Returns images [N, H, W] or [N, H, W, 3], uint8, as if each were a PNG file. `file` names them in messages."""
    return [
        Sample(label, f"{file}, image {number}", image.nbytes, load=partial(_png, image))
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def _png(image: np.ndarray) -> bytes:
    return encode_image(Image.fromarray(image), "png")


def read_rows(path: Path) -> list[str]:
    """Returns the lines of the file without spaces around them, without empty ones."""
    return [stripped for line in path.read_text(encoding="utf-8").splitlines() if (stripped := line.strip())]


def read_mat(path: Path) -> dict[str, Any]:
    """Returns the variables of a MATLAB file, without dimensions of length 1."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    variables: dict[str, Any] = loadmat(path, squeeze_me=True)
    return variables


def split_80_20(items: Sequence[T]) -> tuple[list[T], list[T]]:
    """Returns int(0.8 n) training items and the rest for testing, both in the order of `items`.

    The items are those of `torch.utils.data.random_split(items, [int(0.8 n), rest], generator=manual_seed(42))`, which
    returns them in the order in which it samples them.
    """
    order = torch_permutation(len(items), seed=SPLIT_SEED)
    count = int(TRAIN_SHARE * len(items))
    return [items[index] for index in sorted(order[:count])], [items[index] for index in sorted(order[count:])]


def torch_permutation(n: int, *, seed: int) -> list[int]:
    """Returns what `torch.randperm(n, generator=torch.Generator().manual_seed(seed))` returns on the CPU.

    Both sample 32 bits at a time from a Mersenne twister with the same seeding, and swap position i with
    i + bits mod (n - i) (aten's randperm_cpu). NumPy's policy (NEP 19) keeps the stream of RandomState unchanged.
    """
    bits = np.random.RandomState(seed).randint(0, 2**32, size=max(n - 1, 0), dtype=np.uint32).tolist()
    order = list(range(n))
    for index, sampled in enumerate(bits):
        other = index + sampled % (n - index)
        order[index], order[other] = order[other], order[index]
    return order

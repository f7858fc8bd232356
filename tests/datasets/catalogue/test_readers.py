"""The readers against torchvision's own data sets, which read the same small trees: image by image, label by label."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torchvision import datasets

from gift_core.datasets.catalogue.inventory import catalogue_names, catalogue_row, take_inventory
from gift_core.datasets.catalogue.readers import READERS
from gift_core.datasets.dataset import Sample
from tests.datasets.catalogue.trees import MAKERS, make_tree

Pixels = tuple[int, bytes]  # label, RGB pixels
BY_LISTS: dict[str, tuple[Callable[..., Any], str, Any, Any]] = {  # the class, its argument for the split, two values
    "aircraft": (datasets.FGVCAircraft, "split", "train", "test"),
    "cifar100": (datasets.CIFAR100, "train", True, False),
    "dtd": (datasets.DTD, "split", "train", "test"),
    "flowers": (datasets.Flowers102, "split", "train", "test"),
    "food": (datasets.Food101, "split", "train", "test"),
    "gtsrb": (datasets.GTSRB, "split", "train", "test"),
    "mnist": (datasets.MNIST, "train", True, False),
    "oxford_pet": (datasets.OxfordIIITPet, "split", "trainval", "test"),
    "stanford_cars": (datasets.StanfordCars, "split", "train", "test"),
}
WHOLE: dict[str, Callable[[Path], Any]] = {
    "caltech101": datasets.Caltech101,
    "eurosat": datasets.EuroSAT,
    "sun397": datasets.SUN397,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tree of a data set, made once. Where torchvision lists the folders, twelve classes are enough."""
    made: dict[str, Path] = {}

    def find(dataset: str) -> Path:
        if dataset not in made:
            classes = None if dataset in BY_LISTS else 12
            made[dataset] = make_tree(dataset, tmp_path_factory.mktemp(dataset), classes=classes)
        return made[dataset]

    return find


def ours(dataset: str, path: Path, split: str) -> list[Pixels]:
    row = catalogue_row(dataset, "tests")
    return [sample(image, list(row.classes)) for image in getattr(take_inventory(row, path).dataset, split)]


def sample(image: Sample, labels: list[str]) -> Pixels:
    return labels.index(image.label), pixels(Image.open(io.BytesIO(image.read())))


def theirs(dataset: Any) -> list[Pixels]:
    return [(int(label), pixels(image)) for image, label in dataset]


def pixels(image: Image.Image) -> bytes:
    return image.convert("RGB").tobytes()


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("dataset", sorted(BY_LISTS))
def test_images_labels_and_order_are_torchvisions(
    dataset: str, split: str, tree: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for checked in (datasets.CIFAR100, datasets.Flowers102):
        monkeypatch.setattr(checked, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    found = ours(dataset, tree(dataset), split)
    reference, argument, train, test = BY_LISTS[dataset]
    assert found == theirs(reference(tree(dataset), **{argument: train if split == "train" else test}))
    assert {label for label, _ in found} == set(range(len(catalogue_row(dataset, "tests").classes)))


@pytest.mark.parametrize("dataset", sorted(WHOLE))
def test_the_80_20_split_is_torchs_over_torchvisions_images(dataset: str, tree: Callable[[str], Path]) -> None:
    import torch

    whole = theirs(WHOLE[dataset](tree(dataset)))
    if dataset == "sun397":  # torchvision takes the disk's order; ours is by path
        reference = datasets.SUN397(tree(dataset))
        whole = [whole[index] for _, index in sorted((str(p), i) for i, p in enumerate(reference._image_files))]
    count = int(0.8 * len(whole))
    train, test = torch.utils.data.random_split(
        whole,  # type: ignore[arg-type]
        [count, len(whole) - count],
        generator=torch.Generator().manual_seed(42),
    )
    assert ours(dataset, tree(dataset), "train") == [whole[index] for index in sorted(train.indices)]
    assert ours(dataset, tree(dataset), "test") == [whole[index] for index in sorted(test.indices)]


def test_tiny_imagenet_learns_from_the_folders_and_tests_on_the_validation_table(tree: Callable[[str], Path]) -> None:
    path = tree("tinyimagenet")
    folders = datasets.ImageFolder(path / "tiny-imagenet-200" / "train")  # its classes are the sorted wnids
    assert ours("tinyimagenet", path, "train") == theirs(folders)
    table = (path / "tiny-imagenet-200" / "val" / "val_annotations.txt").read_text(encoding="utf-8").splitlines()
    labels = [folders.class_to_idx[line.split("\t")[1]] for line in table]
    files = [path / "tiny-imagenet-200" / "val" / "images" / line.split("\t")[0] for line in table]
    expected = [(label, pixels(Image.open(file))) for label, file in zip(labels, files, strict=True)]
    assert ours("tinyimagenet", path, "test") == expected


@pytest.mark.parametrize(
    ("dataset", "official", "usual"),
    [
        ("caltech101", "caltech101", "caltech-101"),
        ("cifar100", "cifar-100-python", "."),
        ("dtd", "dtd/dtd", "dtd"),
        ("eurosat", "eurosat/2750", "EuroSAT_RGB"),
        ("mnist", "MNIST/raw", "."),
        ("tinyimagenet", "tiny-imagenet-200", "."),
    ],
)
def test_an_archive_unpacked_a_folder_higher_is_found(dataset: str, official: str, usual: str, tmp_path: Path) -> None:
    row = catalogue_row(dataset, "tests")
    make_tree(dataset, tmp_path / "official", classes=3)
    at_home = take_inventory(row, tmp_path / "official")
    (tmp_path / "moved" / usual).parent.mkdir(exist_ok=True)
    (tmp_path / "official" / official).rename(tmp_path / "moved" / usual)
    elsewhere = take_inventory(row, tmp_path / "moved")
    assert len(elsewhere.dataset.train) == len(at_home.dataset.train) > 0
    assert [image.name for image in elsewhere.dataset.test] == [image.name for image in at_home.dataset.test]


def test_gzipped_mnist_files_are_read_without_unpacking(tmp_path: Path) -> None:
    make_tree("mnist", tmp_path)
    unpacked = ours("mnist", tmp_path, "test")
    for file in (tmp_path / "MNIST" / "raw").glob("*ubyte"):
        file.unlink()
    assert ours("mnist", tmp_path, "test") == unpacked and len(unpacked) == 10


def test_birds_have_the_splits_of_their_table_and_imagenet_r_is_split_80_20(tree: Callable[[str], Path]) -> None:
    inventory = take_inventory(catalogue_row("cub", "tests"), tree("cub"))
    for number, samples in enumerate((inventory.dataset.train, inventory.dataset.test)):
        assert samples[0].name == f"images/001.Black_footed_Albatross/{number}.jpg" and len(samples) == 12
    inventory = take_inventory(catalogue_row("imagenet_r", "tests"), tree("imagenet_r"))
    assert inventory.dataset.counts == {"train": 48, "test": 12}


@dataclass
class Evil:
    """An object whose unpickling makes a folder."""

    folder: Path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_names_other_code_is_refused_and_not_run(tmp_path: Path) -> None:
    make_tree("cifar100", tmp_path)
    (tmp_path / "cifar-100-python" / "test").write_bytes(pickle.dumps({"data": Evil(tmp_path / "evil")}, protocol=2))
    inventory = take_inventory(catalogue_row("cifar100", "tests"), tmp_path)
    assert inventory.state == "wrong" and not (tmp_path / "evil").exists()
    assert "mkdir, which no CIFAR file needs" in inventory.faults[0]


def test_every_data_set_of_the_catalogue_has_a_tree_for_the_tests() -> None:
    with_archives = [name for name in catalogue_names() if catalogue_row(name, "tests").archives]
    assert sorted(READERS) == with_archives == sorted(MAKERS)

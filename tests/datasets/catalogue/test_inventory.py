"""A task of the catalogue: whole, incomplete, wrong, verified, and sliced into class-incremental steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gift_core.config.tasks import CatalogueTaskConfig
from gift_core.datasets.catalogue.inventory import Inventory, catalogue_row, take_inventory
from gift_core.datasets.dataset import Dataset, Sample
from gift_core.datasets.ingest import ingest, open_dataset
from gift_core.datasets.status import RawData
from gift_core.errors import UserError
from tests.artifacts.damage import png
from tests.datasets.catalogue.trees import make_tree, small_row
from tests.datasets.folders import INGEST
from tests.datasets.test_hub import write
from tests.datasets.test_webdataset import write as write_tar


def row_of(dataset: str, **changes: Any) -> CatalogueTaskConfig:
    return CatalogueTaskConfig(source="catalogue", dataset=dataset, path=f"raw/{dataset}", **changes)


def refusal(root: Path, dataset: str, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        open_dataset("mine", row_of(dataset, **changes), seed=42, root=root)
    return str(error.value)


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the row of a data set expect what its small tree holds."""

    def expect(dataset: str, per_class: int = 1) -> None:
        row = small_row(dataset, per_class)
        monkeypatch.setattr("gift_core.datasets.catalogue.inventory.catalogue_row", lambda name, key: row)

    return expect


def test_a_wrong_count_is_refused_with_what_to_do_or_noted(tmp_path: Path) -> None:
    make_tree("aircraft", tmp_path / "raw" / "aircraft", classes=3)
    text = refusal(tmp_path, "aircraft")
    assert text.startswith("params.yaml: tasks.mine.path: raw/aircraft: FGVC-Aircraft (variants) is partial: ")
    assert "3 of 3,334 training images; 3 of 3,333 test images" in text
    assert "`gift data fetch aircraft` downloads fgvc-aircraft-2013b.tar.gz" in text and "allow_partial: true" in text
    tested = Inventory("partial", (), Dataset({}, (), test=[Sample("a", "b", 1, bytes)]))
    for name, is_enough in (("aircraft", False), ("imagenet", True)):  # imagenet has no training images
        raw = RawData(name, tmp_path, row=catalogue_row(name, "tests"), allow_partial=True)
        assert raw.is_enough(tested) is is_enough
    dataset = open_dataset("mine", row_of("aircraft", allow_partial=True), seed=42, root=tmp_path)
    assert (len(dataset.classes), len(dataset.train), len(dataset.test)) == (100, 3, 3)
    (note,) = dataset.notes
    assert "is partial: 3 of 3,334 training images" in note
    assert "3 of 100 classes have images, none have 737-300, 737-400" in note


def test_too_many_images_and_a_label_out_of_range_are_wrong(tmp_path: Path, complete: Callable[..., None]) -> None:
    make_tree("mnist", tmp_path / "raw" / "mnist", per_class=2)
    complete("mnist", per_class=1)
    labels = tmp_path / "raw" / "mnist" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + bytes([10]))
    text = refusal(tmp_path, "mnist")
    assert "MNIST is wrong: 1 images are of classes that the data set does not have: 10" in text
    assert "t10k-images-idx3-ubyte, image 19" in text
    assert "20 of 10 training images; 19 of 10 test images" in text
    classes = {"order": "labels", "first": 7, "count": 2}
    dataset = open_dataset("mine", row_of("mnist", allow_partial=True, classes=classes), seed=42, root=tmp_path)
    assert dataset.notes[0].startswith("MNIST is")
    assert [*dataset.classes.values()] == ["7 - seven", "8 - eight"] and len(dataset.train) == len(dataset.test) == 4


OFFICIAL = {
    "cifar100": "cifar-100-python/train",
    "flowers": "flowers-102/setid.mat",
    "food": "food-101/meta/train.json",
    "mnist": "MNIST/raw/train-images-idx3-ubyte",
}


@pytest.mark.parametrize(
    ("dataset", "damage", "expected"),
    [
        ("flowers", shutil.rmtree, "Oxford Flowers-102 is missing: there is no flowers-102/"),
        ("caltech101", lambda raw: next(raw.rglob("Faces")).rename(raw / "caltech101/101_ObjectCategories/Fs"),
         "5 images are of classes that the data set does not have: Fs"),
        ("food", lambda raw: next((raw / "food-101" / "images" / "apple_pie").iterdir()).unlink(),
         "1 images that its lists name are not there: images/apple_pie/"),
        ("stanford_cars", lambda raw: next(raw.rglob("cars_test_annos_withlabels.mat")).unlink(),
         "has no cars_test_annos_withlabels.mat"),
        ("dtd", lambda raw: next(raw.rglob("train1.txt")).write_text("../../../etc/passwd\n"), "which is outside)"),
        *((dataset, lambda raw, file=file: (raw / file).write_bytes(b"\xff<html>404</html>"),
           "cannot be read as the official files (") for dataset, file in OFFICIAL.items()),
    ],
    ids=range(9),
)  # fmt: skip
def test_damaged_data_is_refused(dataset: str, damage: Callable[[Path], object], expected: str, tmp_path: Path) -> None:
    damage(make_tree(dataset, tmp_path / "raw" / dataset, classes=2))
    text = refusal(tmp_path, dataset)
    assert expected in text and len(text) < 1500


def test_a_data_set_and_a_slice_in_its_order(tmp_path: Path, complete: Callable[..., None], project: Path) -> None:
    make_tree("cifar100", tmp_path / "raw" / "cifar100", per_class=2)
    complete("cifar100", per_class=2)
    folder = project / "gift_core" / "datasets" / "catalogue"
    orders = json.loads((folder / "cil_class_orders.json").read_text(encoding="utf-8"))
    labels = list(catalogue_row("cifar100", "tests").classes)
    for name in ("cifar100", "tinyimagenet"):
        assert sorted(orders[name]) == list(range(len(catalogue_row(name, "tests").classes)))
    tiny = list(catalogue_row("tinyimagenet", "tests").classes.values())
    assert [tiny[number] for number in orders["tinyimagenet"][:3]] == ["Persian cat", "stick insect", "goldfish"]
    wanted = [labels[number] for number in orders["cifar100"][10:15]]
    classes = {"order": "benchmark", "first": 10, "count": 5}
    dataset = open_dataset("mine", row_of("cifar100", classes=classes), seed=42, root=tmp_path)
    whole = open_dataset("mine", row_of("cifar100"), seed=42, root=tmp_path)
    row = catalogue_row("cifar100", "tests")
    assert (whole.classes, whole.templates, whole.notes) == (row.classes, row.templates, ())
    assert [*dataset.classes.values()] == ["wardrobe", "tulip", "bowl", "seal", "mountain"]
    expected = [(sample.label, sample.read()) for sample in whole.test if sample.label in wanted]
    assert list(dataset.classes) == wanted
    assert [(sample.label, sample.read()) for sample in dataset.test] == expected and len(expected) == 10


@pytest.mark.parametrize(
    ("dataset", "classes", "expected"),
    [
        ("cifar100", ("labels", 95, 10), ": first 95 and count 10 end at class 105, but cifar100 has 100. Write a sm"),
        ("dtd", ("benchmark", 0, 10), ".order: benchmark: unknown name 'dtd'. Known: cifar100, cub, imagenet_r, tiny"),
    ],
)
def test_a_slice_that_the_data_set_does_not_have_is_refused_before_anything_is_read(
    dataset: str, classes: tuple[str, int, int], expected: str, tmp_path: Path
) -> None:
    text = refusal(tmp_path, dataset, classes=dict(zip(("order", "first", "count"), classes, strict=True)))
    assert text.startswith(f"params.yaml: tasks.mine.classes{expected}")


@pytest.mark.parametrize("spelling", ["labels", "names", "others"])
def test_a_copy_of_the_hub_is_the_data_set_if_its_classes_and_counts_are(spelling: str, tmp_path: Path) -> None:
    row = small_row("stanford_cars")
    names = {"labels": list(row.classes), "names": [name.upper() for name in row.classes.values()]}
    folder = tmp_path / "cars"
    for split in ("train", "test"):
        labels = names.get(spelling, [*list(row.classes.values())[1:], "bus"])
        write(tmp_path, split, {"image": [png(0)] * 196, "label": labels})
    (tmp_path / "birds").rename(folder)
    (folder / "commit.txt").write_text("c0ffee\n", encoding="utf-8")
    inventory = take_inventory(row, folder)
    if spelling == "others":
        assert inventory.state == "wrong" and "classes that the data set does not have: bus" in inventory.faults[0]
    else:
        assert inventory.state == "complete", inventory.faults
        assert [sample.label for sample in inventory.dataset.test] == list(row.classes)


@pytest.mark.parametrize(
    ("dataset", "changes"), [("imagenet", {"on_bad_image": "skip"}), ("flickr30k", {"vocabulary_captions": 2})]
)
def test_a_test_set_is_a_task_without_training_images(
    dataset: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the hub's copy: its tars number the classes, or have the captions, one a line."""
    whole = catalogue_row(dataset, "tests")
    row = whole.model_copy(update={"counts": {"test": 3}, "classes": dict(list(whole.classes.items())[:3])})
    monkeypatch.setattr("gift_core.datasets.catalogue.inventory.catalogue_row", lambda name, key: row)
    folder = tmp_path / "raw" / dataset
    text = {"cls": b"2"} if row.classes else {"txt": b"a red one\na square"}
    samples = [{"__key__": f"s{number}", "webp": png(number), **text} for number in range(3)]
    samples[0] |= {"cls": b"0"} if row.classes else {"txt": b"a black one"}
    samples[1] |= {"cls": b"1"} if row.classes else {}
    write_tar(folder / "test" / "0.tar", samples)
    (folder / "commit.txt").write_text("c0ffee\n", encoding="utf-8")
    info = ingest("mine", row_of(dataset, **changes), tmp_path / "task", ingest_config=INGEST, seed=1, root=tmp_path)
    assert info.counts == {"train": 0, "test": 3} and info.captions.get("test", 5) == 5
    assert len(info.class_names) == (3 if row.classes else 2) and info.templates == row.templates
    assert "vocabulary_captions: " in refusal(tmp_path, dataset, vocabulary_captions=2 if row.classes else None)

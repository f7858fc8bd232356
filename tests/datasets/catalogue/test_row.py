"""The catalogue's rows: names, templates and counts, against what others publish of the same data sets."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from torchvision import datasets

from gift_core.config.presets import load_preset
from gift_core.config.tasks import ClassSliceConfig
from gift_core.datasets.captions import base_vocabulary
from gift_core.datasets.catalogue.inventory import catalogue_names, catalogue_row, sliced_classes
from gift_core.report.published.mtil import ORDER_1

TEMPLATES = {  # how many CLIP publishes of each; of cars MTIL has one more
    "aircraft": 2, "caltech101": 34, "cifar100": 18, "dtd": 8, "eurosat": 3, "flowers": 1, "food": 1, "mnist": 1,
    "oxford_pet": 1, "stanford_cars": 9, "sun397": 2, "tinyimagenet": 80, "resisc45": 18, "svhn": 1, "gtsrb": 3,
    "cub": 1, "imagenet_r": 80, "imagenet": 80, "flickr30k": 1, "coco": 1, "sun397_merging": 2, "dtd_merging": 8,
    "eurosat_merging": 3,
}  # fmt: skip


def names_of(dataset: str) -> tuple[str, ...]:
    return tuple(catalogue_row(dataset, "tests").classes.values())


def test_mtil_has_1201_classes() -> None:
    assert sum(len(names_of(dataset)) for dataset in ORDER_1.data_sets) == 1201
    assert set(ORDER_1.data_sets) < set(catalogue_names()) == set(TEMPLATES)


@pytest.mark.parametrize("dataset", TEMPLATES)
def test_a_row_has_all_templates_once_and_a_distinct_name_for_each_class(dataset: str) -> None:
    row = catalogue_row(dataset, "tests")
    assert len(row.templates) == len(set(row.templates)) == TEMPLATES[dataset]
    assert all(template.count("{}") == 1 for template in row.templates)
    assert len(set(row.classes.values())) == len(row.classes)
    assert all(name == " ".join(name.split()) for name in row.classes.values())


def test_flowers_and_digits_are_torchvisions_and_pets_in_the_order_of_their_labels_which_mixes_cats_and_dogs() -> None:
    assert names_of("oxford_pet") == tuple(sorted(names_of("oxford_pet")))
    assert names_of("flowers") == tuple(name.rstrip("?") for name in datasets.Flowers102.classes)
    assert names_of("mnist") == tuple(datasets.MNIST.classes)


@pytest.mark.parametrize("dataset", ["tinyimagenet", "imagenet_r", "imagenet"])
def test_names_and_templates_of_parts_of_imagenet_are_clips_the_plain_template_first(dataset: str) -> None:
    import timm.data
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
    from timm.data import ImageNetInfo

    row, synsets = catalogue_row(dataset, "tests"), ImageNetInfo("imagenet-1k").label_names()
    names = dict(zip(synsets, base_vocabulary("imagenet"), strict=True))
    if dataset == "imagenet":  # where others have these names, too
        names |= {"n04008634": "projectile", "n04355933": "sunglass"}
    assert row.classes == {synset: names[synset] for synset in row.classes}
    published = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    listed = Path(timm.data.__file__).with_name("_info") / "imagenet_r_synsets.txt"
    known = {"imagenet": synsets, "imagenet_r": listed.read_text(encoding="utf-8").split()}
    assert list(row.classes) == known.get(dataset, list(row.classes))
    assert row.templates[0] == "a photo of a {}." and sorted(row.templates) == sorted(published)


@pytest.mark.parametrize("dataset", TEMPLATES)
def test_the_page_shows_the_rows_counts(dataset: str, project: Path) -> None:
    row = catalogue_row(dataset, "tests")
    page = (project / "docs" / "data_sets.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{dataset}` ")]
    train, classes = f"{row.counts.get('train', 0):,}", f"{len(row.classes)}"
    numbers = "".join(f" {number if number != '0' else '-'} |" for number in (classes, train))
    assert f"|{numbers} {row.counts['test']:,} |" in line
    size = sum(archive.bytes for archive in row.archives) or row.unpacked_bytes
    assert line.replace("| 0.01 |", "| 0.0 |").endswith(f"| {size / 1e9:.1f} |")


def test_the_eight_tasks_have_the_order_and_the_splits_of_fusionbench(project: Path) -> None:
    config = load_preset(project / "presets" / "eight_tasks.yaml")
    rows = {step.task: catalogue_row(getattr(config.tasks[step.task], "dataset", ""), "") for step in config.sequence}
    assert [(name, *row.counts.values()) for name, row in rows.items()] == [
        ("sun397", 19850, 19850), ("stanford_cars", 8144, 8041), ("resisc45", 18900, 6300), ("eurosat", 21600, 2700),
        ("svhn", 73257, 26032), ("gtsrb", 26640, 12630), ("mnist", 60000, 10000), ("dtd", 3760, 1880),
    ]  # fmt: skip
    assert all(row.hub for row in rows.values()) and set(rows) == set(config.tasks)


@pytest.mark.parametrize("dataset", ["cub", "imagenet_r"])
def test_the_order_of_pilots_benchmarks_is_the_one_of_seed_1993(dataset: str) -> None:
    numpy.random.seed(1993)  # as its DataManager does
    order = numpy.random.permutation(200).tolist()
    row = catalogue_row(dataset, "tests")
    classes = sliced_classes(row, ClassSliceConfig(order="benchmark", first=20, count=20), "tests")
    assert list(classes) == [sorted(row.classes)[number] for number in order[20:40]]

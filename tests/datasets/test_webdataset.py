"""WebDataset tars as tasks: written by WebDataset's own writer, and compared with its own reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import webdataset

from gift_core.artifacts.task import iterate_task
from tests.artifacts.damage import png
from tests.datasets.folders import ingest_birds, open_birds, refusal


def sample(number: int, label: object, extension: str = "cls", **more: Any) -> dict[str, Any]:
    return {"__key__": f"{number:04d}", "png": png(number), extension: str(label).encode(), **more}


def write(path: Path, samples: list[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as tar:
        for each in samples:
            tar.write(each)
    return path


def test_what_is_ingested_is_what_webdataset_reads(tmp_path: Path) -> None:
    for name, first in (("train-000000", 0), ("train-000001", 6), ("test-000000", 100)):
        write(tmp_path / "birds" / f"{name}.tar", [sample(first + number, number % 2) for number in range(6)])
    info = ingest_birds(tmp_path, "webdataset", train="train-{000000..000001}.tar", test="test-*.tar")
    assert info.class_names == ("0", "1")
    for split, urls in (("train", "train-{000000..000001}.tar"), ("test", "test-000000.tar")):
        read = webdataset.WebDataset(str(tmp_path / "birds" / urls), shardshuffle=False, empty_check=False)
        expected = [(each["png"], int(each["cls"])) for each in read]
        assert list(iterate_task(tmp_path / "task", split)) == expected


@pytest.mark.parametrize(
    ("label", "labels", "names"),
    [
        ("name", ("great_tit \n", "Zaunko\u0308nig"), ("Zaunk\u00f6nig", "great tit")),
        ("json:bird", ('{"bird": "wren", "other": 1}', '{"bird": "heron"}'), ("heron", "wren")),
        ("json:bird", ('{"bird": 10}', '{"bird": 9.0}'), ("9", "10")),
    ],
)
def test_labels_can_be_names_in_a_file_of_any_extension_or_in_json(
    label: str, labels: tuple[str, str], names: tuple[str, str], tmp_path: Path
) -> None:
    samples = [sample(number, labels[number % 2], label.removesuffix(":bird")) for number in range(4)]
    write(tmp_path / "birds" / "train-0.tar", samples)
    info = ingest_birds(tmp_path, "webdataset", label=label)
    assert (info.class_names, info.notes) == (names, ())


def test_other_images_in_tars_of_one_name_are_no_copies(tmp_path: Path) -> None:
    for split, size in (("train", 0), ("test", 4)):
        samples = [sample(number, number % 2) | {"png": bytes(size + number)} for number in range(4)]
        write(tmp_path / "birds" / split / "0.tar", samples)
    dataset = open_birds(tmp_path, "webdataset", train="train/0.tar", test="test/0.tar", on_duplicate="skip")
    assert (dataset.counts, dataset.notes) == ({"train": 4, "test": 4}, ())


def test_keys_follow_webdatasets_rule_with_images_of_any_extension(tmp_path: Path) -> None:
    """Folders belong to the key, and the extension begins at the first dot of the file's name."""
    images = "png", "PNG", "photo.jpg", "tif"
    samples = [{"__key__": f"v1.0/x/{n}", each: png(n), "CLS": str(n % 2).encode()} for n, each in enumerate(images)]
    path = write(tmp_path / "birds" / "train-0.tar", samples)
    dataset = open_birds(tmp_path, "webdataset")
    names = sorted(sample.name for sample in (*dataset.train, *dataset.test))
    assert [name.lower() for name in names] == [
        f"train-0.tar/v1.0/x/{n}.{each.lower()}" for n, each in enumerate(images)
    ]
    read = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    assert [each["__key__"] for each in read] == [f"v1.0/x/{number}" for number in range(4)]


TWO_IMAGES = {"__key__": "0001", "cls": b"1", "png": png(0), "jpg": b"x"}


@pytest.mark.parametrize(
    ("samples", "changes", "expected"),
    [
        ([sample(0, 1)], {"train": "trian-*.tar"}, "train: no file matches 'trian-*.tar'. Did you mean 'train-0.tar'?"),
        ([sample(0, 1)], {"test": "train-0.tar"}, "test: train-0.tar is also a training tar. Remove it"),
        ([sample(0, 1)], {"label": "txt"}, "sample 0000 of train-0.tar has cls, png, but it should have one image"),
        ([TWO_IMAGES], {}, "sample 0001 of train-0.tar has cls, jpg, png, but it should have"),
        ([{"__key__": "0001", "md": b"a readme"}], {}, "the tars have no samples. Write files with the same name: 0"),
    ],
)
def test_a_wrong_pattern_and_a_sample_without_one_image_are_named(
    samples: list[dict[str, Any]], changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    write(tmp_path / "birds" / "train-0.tar", samples)
    assert expected in refusal(tmp_path, "webdataset", **changes)

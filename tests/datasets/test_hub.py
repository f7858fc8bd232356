"""Repositories of the hub on this disk, and one's own Parquet files with images inside, as tasks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import datasets
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gift_core.artifacts.task import iterate_task
from gift_core.datasets import parquet_images
from gift_core.datasets.card import names_in_card, read_card
from gift_core.datasets.hub_dataset import HubRepository, hub_files
from gift_core.errors import UserError
from tests.artifacts.damage import png
from tests.datasets.folders import ROWS, ingest_birds, open_birds, refusal
from tests.datasets.hub_server import repository
from tests.datasets.test_webdataset import write as write_tar

COMMIT = "a" * 40
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
OF_PAIRS = {key: ROWS["hub"][key] for key in ("repository", "revision", "image_column", "splits")}
PAIRS = OF_PAIRS | {"table": "*.parquet", "caption_column": "caption", "vocabulary_captions": 3}
TABLE = {"table": "data/*.parquet"}


def write(root: Path, split: str, columns: dict[str, Any], *, part: str = "00000-of-00001", **options: Any) -> Path:
    """Writes a Parquet file of the repository `birds`. Bytes become the images of `datasets`."""
    file = root / "birds" / "data" / f"{split}-{part}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    images = columns.pop("image")
    if isinstance(images, list):
        images = pa.array([{"bytes": each, "path": None} for each in images], STRUCT)
    pq.write_table(pa.table({"image": images, **columns}), file, **{"row_group_size": 2, **options})
    return file


def test_a_repository_of_the_library_datasets_becomes_a_task(tmp_path: Path) -> None:
    """In two training files, of which DVC's folder has the bytes; with names that have a slash."""
    label = datasets.ClassLabel(names=["wren/brown", "Great_Tit"])
    repository(tmp_path / "birds", {"label": ([0, 1], label)})
    info = ingest_birds(tmp_path, "hub")
    assert (info.class_names, info.counts, info.notes) == (("Great Tit", "wren/brown"), {"train": 12, "test": 6}, ())
    expected = [(png(number), 1 - number % 2) for number in range(18)]
    assert list(iterate_task(tmp_path / "task", "train")) == expected[:12]
    assert list(iterate_task(tmp_path / "task", "test")) == expected[12:]
    joined = open_birds(tmp_path, "hub", splits={"train": "train+test"}, test_fraction=0.3)
    assert joined.by_seed and joined.counts == {"train": 12, "test": 6}


NAMES = ["wren", "owl", "wren", "owl"]
IMAGES = [png(value) for value in range(4)]


@pytest.mark.parametrize(
    ("columns", "changes"),
    [
        ({"label": NAMES}, {}),
        ({"label": pa.array(NAMES).dictionary_encode()}, {}),
        ({"image": pa.array(IMAGES, pa.binary()), "label": NAMES}, {}),
        ({"image": pa.array(IMAGES, pa.large_binary()), "label": pa.array(NAMES, pa.large_string())}, {}),
        ({"label": [1, 0, 1, 0], "label_text": NAMES}, {"label_column": "label_text"}),
        ({"label": [1, 0, 1, 0]}, {"class_names": {"0": "owl", "1": "wren"}}),
        ({"label": [7.0] * 4, "a.b": NAMES}, {"label_column": "a.b"}),
    ],
    ids=["texts", "dictionary", "bytes", "large", "names beside numbers", "class_names", "a dot"],
)
@pytest.mark.parametrize("source", ["hub", "table"])
def test_images_and_labels_of_all_types_are_read(
    source: str, columns: dict[str, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    """The splits of a table are those of the names of its files, or of a column."""
    for split in ("train", "test"):
        write(tmp_path, split, {"image": IMAGES, **columns})
    changes = changes if source == "hub" else TABLE | changes
    found = open_birds(tmp_path, source, **changes)
    assert [*found.classes.values()] == ["owl", "wren"] and found.counts == {"train": 4, "test": 4}
    assert [sample.read() for sample in reversed(found.train)] == IMAGES[::-1]
    assert found.train[2].name == "data/train-00000-of-00001.parquet, row 3"
    if source == "table":
        write(tmp_path, "all", {"image": IMAGES, **columns, "fold": ["train", "Training", "val", "test"]})
        folds = changes | {"table": "data/all-00000-of-00001.parquet", "split_column": "fold"}
        assert len(open_birds(tmp_path, "table", **folds).validation) == 1
        write(tmp_path, "all", {"image": IMAGES, **columns, "fold": ["train", "train", None, "test"]})
        assert "row 3: unknown split ''. Known: test, train, val." in refusal(tmp_path, "table", **folds)


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"caption": [[f"a {each}", f"the\n{each}", None] for each in "abcd"]}, "caption"),
        ({"one": [f"a {each}" for each in "abcd"], "two": [f"the  {each}" for each in "abcd"]}, "one::two"),
    ],
    ids=["a list", "two columns"],
)
def test_images_with_captions_are_read(columns: dict[str, Any], name: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path, split, {"image": IMAGES, **columns})
    row = PAIRS | {"caption_column": name}
    found = open_birds(tmp_path, "pairs", **row)
    assert [sample.captions for sample in found.test] == [(f"a {each}", f"the {each}") for each in "abcd"]
    assert ingest_birds(tmp_path, "pairs", **row).captions == {"train": 8, "test": 8}


def test_a_repository_of_webdataset_tars_is_read(tmp_path: Path) -> None:
    for split in ("train", "test"):
        texts = [{"cls": name.encode(), "txt": f"a {number}\nb".encode()} for number, name in enumerate(NAMES)]
        samples = [{"__key__": f"{n}", "png": IMAGES[n], **each} for n, each in enumerate(texts)]
        write_tar(tmp_path / "birds" / f"birds-{split}-0000.tar", samples)
    assert open_birds(tmp_path, "hub", image_column=None, label_column="cls").counts == {"train": 4, "test": 4}
    pairs = open_birds(tmp_path, "pairs", **PAIRS | {"table": None, "train": "*.tar"})
    assert pairs.captions == {"train": 8, "test": 8}


@pytest.mark.parametrize(
    ("columns", "changes", "expected"),
    [
        ({"label": [0, 1, 0, 1]}, {}, "'label' has numbers, and neither the schema nor README.md has names for them."),
        ({"label": [0, 1, 0, 1], "label_text": NAMES}, {}, "or read names: --label-column label_text."),
        ({"label": ["a", None, "b", "c"]}, {}, "data/train-00000-of-00001.parquet: row 2 has no label or caption."),
        ({"lable": NAMES}, {}, "column 'label' is missing. Did you mean 'lable'?"),
        ({"label": NAMES}, {"image_column": "label"}, "column 'label' holds string. Known: image."),
        ({"label": NAMES}, {"splits": {"train": "tain"}}, "split: unknown name 'tain'. Did you mean 'train'?"),
        ({"label": NAMES}, {"revision": "b" * 40}, f"has commit {COMMIT!r}, not {'b' * 40}. Remove the folder"),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_the_place(
    columns: dict[str, Any], changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    write(tmp_path, "train", {"image": IMAGES, **columns})
    (tmp_path / "birds" / "commit.txt").write_text(f"{COMMIT}\n", encoding="utf-8")
    assert expected in refusal(tmp_path, "hub", **{"splits": {"train": "train"}, "test_fraction": 0.5} | changes)


def test_a_label_without_a_name_is_refused_and_100_000_classes_are_read(tmp_path: Path) -> None:
    names = [f"class {number:06}" for number in range(100_000)]
    label = datasets.Features({"label": datasets.ClassLabel(names=names)}).arrow_schema
    schema = pa.schema({"image": STRUCT, "label": pa.int64()}, label.metadata)
    file = write(tmp_path, "train", {"image": [b""] * 100_000, "label": range(100_000)}, row_group_size=10_000)
    pq.write_table(pq.read_table(file).cast(schema), file)
    write(tmp_path, "test", {"image": IMAGES, "label": ["class 000007"] * 4})
    assert list(open_birds(tmp_path, "hub").classes) == names
    pq.write_table(pa.table({"image": [{"bytes": b"", "path": ""}], "label": [-1]}).cast(schema), file)
    with pytest.raises(UserError, match="has the label -1, but names for 0 to 99999. If the split has no labels"):
        open_birds(tmp_path, "hub")


def test_hostile_files_are_refused_and_bad_images_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bomb is a file of 100 kB whose images take 100 MB: a dictionary with one entry."""
    monkeypatch.setattr(parquet_images, "MAX_GROUP_BYTES", 1 << 20)
    write(tmp_path, "test", {"image": IMAGES, "label": NAMES})
    bomb = write(tmp_path, "train", {"image": [os.urandom(100_000)] * 1000, "label": NAMES * 250}, row_group_size=1000)
    assert bomb.stat().st_size < 200_000
    with pytest.raises(UserError, match="1,000 images cannot be decoded: .*row group 0 has more than"):
        ingest_birds(tmp_path, "hub")
    write(tmp_path, "train", {"image": [*IMAGES, b"no image", None], "label": [*NAMES, "owl", "owl"]})
    info = ingest_birds(tmp_path, "hub", on_bad_image="skip")
    reasons = [reason for _, reason in info.skipped]
    assert info.counts["train"] == 4 and reasons[0] == "not an image" and len(reasons) == 2
    data = bytearray(bomb.read_bytes())
    data[20:200] = os.urandom(180)  # a page of the first row group
    bomb.write_bytes(data)
    assert ingest_birds(tmp_path, "hub", on_bad_image="skip").counts["train"] == 2
    for damaged in (data[:-100], b"", b"PAR1" + bytes(100) + b"PAR1"):
        bomb.write_bytes(damaged)
        with pytest.raises(UserError, match="train-00000-of-00001.parquet cannot be read as Parquet"):
            open_birds(tmp_path, "hub")


def test_the_memory_of_reading_is_that_of_two_row_groups(tmp_path: Path) -> None:
    """160 MB in row groups of 4 MB."""
    file = write(tmp_path, "train", {"image": [b""], "label": ["a"]})
    with pq.ParquetWriter(file, pa.schema({"image": STRUCT, "label": pa.string()})) as writer:
        for _ in range(40):
            images = [{"bytes": os.urandom(100_000), "path": None} for _ in range(40)]
            writer.write_table(pa.table({"image": pa.array(images, STRUCT), "label": ["a", "b"] * 20}))
    samples = open_birds(tmp_path, "hub", splits={"train": "train"}, test_fraction=0.5).train
    process, peak = psutil.Process(), 0
    before = process.memory_info().rss
    for sample in samples:
        assert len(sample.read()) == 100_000
        peak = max(peak, process.memory_info().rss)
    assert len(samples) == 800 and peak - before < 60e6


CARD = """---
license: mit
configs:
- config_name: small
  data_files: [{split: train, path: small/*.parquet}]
- config_name: large
  default: true
  data_files:
  - {split: train, path: [large/a*, large/b*]}
  - {split: val, path: large/v.parquet}
---
"""


@pytest.mark.parametrize(
    ("names", "card", "config", "expected"),
    [
        (["large/a.parquet", "large/b.parquet", "large/v.parquet", "small/c.parquet"], CARD, None,
         {"train": ["large/a.parquet", "large/b.parquet"], "val": ["large/v.parquet"]}),
        (["small/c.parquet"], CARD, "small", {"train": ["small/c.parquet"]}),
        (["train.parquet"], "---\nconfigs: 5\n---", None, {"train": ["train.parquet"]}),
        (["data/train-00000-of-00001.parquet", "data/test.parquet", "../a.parquet"], "---\nconfigs: [1]\n---", None,
         {"train": ["data/train-00000-of-00001.parquet"], "test": ["data/test.parquet"]}),
        (["default/partial-train/0000.parquet", "default/test/0000.parquet", "other/test/0000.parquet"], "", None,
         {"train": ["default/partial-train/0000.parquet"], "test": ["default/test/0000.parquet"]}),
        (["imagenet1k-train-0001.tar", "imagenet1k-train-0000.tar", "imagenet1k-validation-0.tar"], "--- :", None,
         {"train": ["imagenet1k-train-0000.tar", "imagenet1k-train-0001.tar"],
          "validation": ["imagenet1k-validation-0.tar"]}),
        (["a/train/0000.parquet", "b/train/0000.parquet"], "", None, "several configs. Name one: --config a | b"),
        (["README.md"], "", None, "there are no files .parquet or .tar"),
    ],
)  # fmt: skip
def test_the_files_of_a_split_are_those_of_the_card_or_of_the_names(
    names: list[str], card: str, config: str | None, expected: Any
) -> None:
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected.replace("|", r"\|")):
            hub_files(names, read_card(card), config, "here")
    else:
        assert hub_files(names, read_card(card), config, "here") == expected


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ([{"class_label": {"names": {"1": "owl", "0": "wren"}}}], ("wren", "owl")),
        ([{"class_label": {"names": {"0": "wren"}}}, "int64"], ("wren",)),  # of two configs
        ([{"class_label": {"names": {"0": "wren"}}}, {"class_label": {"names": {"0": "owl"}}}], ()),
        ([{"class_label": {"names": {"1": "owl"}}}], ()),
        ([{"class_label": {"names": 5}}], ()),
        ([{"class_label": ["names"]}, None], ()),
    ],
)
def test_a_card_names_the_numbers_of_a_column_or_says_nothing(dtypes: list[Any], expected: tuple[str, ...]) -> None:
    infos: list[Any] = [{"features": [{"name": "label", "dtype": each}, {"name": "image"}]} for each in dtypes]
    assert names_in_card({"dataset_info": [*infos, 5]}, "label") == expected
    assert names_in_card({"dataset_info": infos[0]}, "image") == ()


def test_a_card_whose_splits_are_no_list_of_counts_has_none() -> None:
    for splits in ({"train": 3}, ["train"], [{"name": ["train"]}, {"name": "train", "num_examples": "3"}]):
        found = HubRepository("a/b", COMMIT, None, {"dataset_info": {"splits": splits}}, {"train": ["a.tar"]}, {}, {})
        assert found.counts == {"train": None}

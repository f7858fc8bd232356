"""Images with captions as tasks: beside the images, in a table, in tars; and a folder of them to replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gift_core.artifacts.shards import Pair
from gift_core.artifacts.task import SPLITS, index_task
from gift_core.datasets.image_captions import iterate_folder
from tests.artifacts.damage import png
from tests.datasets.folders import ingest_birds, open_birds, refusal
from tests.datasets.test_webdataset import write as write_tar

CAPTIONS = {f"{number:02d}": [f"picture {number}.", f"the {number}th"] for number in range(10)}


def put(root: Path, *, captions: Mapping[str, Sequence[str]] = CAPTIONS, folder: str = "birds") -> Path:
    """Writes <key>.png, with its captions in <key>.txt."""
    for key, lines in captions.items():
        path = root / folder / f"{key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(int(path.stem)))
        path.with_suffix(".txt").write_text("\n".join(lines), encoding="utf-8")
    return root / folder


TABLE = {"table": "captions.csv", "image_column": "image", "caption_column": "caption"}


def test_an_image_keeps_all_its_captions_in_one_split_and_a_sample_of_them_stands_for_the_task(tmp_path: Path) -> None:
    put(tmp_path)
    info = ingest_birds(tmp_path, "pairs")
    images = {split: index_task(tmp_path / "task", split) for split in SPLITS}
    train, test = ([image.captions for image in images[split]] for split in SPLITS)
    assert sorted(train + test) == sorted(map(tuple, CAPTIONS.values()))
    assert (info.counts, info.captions, info.kind) == ({"train": 7, "test": 3}, {"train": 14, "test": 6}, "pairs")
    assert len(info.class_names) == 4 and set(info.class_names) <= {each for captions in train for each in captions}
    assert info.templates == ("{}",)
    labels = [image.label for image in images["train"]]
    first = [next((info.class_names.index(each) for each in own if each in info.class_names), -1) for own in train]
    assert labels == first and min(labels) == -1


def test_the_three_forms_of_the_same_pairs_are_the_same_task(tmp_path: Path) -> None:
    put(tmp_path / "folder")
    rows = [(f"{key}.png", caption) for key, lines in CAPTIONS.items() for caption in lines]
    for kind in ("csv", "parquet"):
        folder = put(tmp_path / kind)
        table = pd.DataFrame(rows, columns=["image", "caption"])
        table.to_csv(folder / "captions.csv", index=False)
        table.to_parquet(folder / "captions.parquet")
    samples = [{"__key__": k, "png": png(int(k)), "txt": "\n".join(lines)} for k, lines in CAPTIONS.items()]
    write_tar(tmp_path / "tars" / "birds" / "pairs-0.tar", samples)
    forms: dict[str, dict[str, Any]] = {
        "folder": {}, "csv": TABLE, "parquet": TABLE | {"table": "captions.parquet"}, "tars": {"train": "pairs-*.tar"}
    }  # fmt: skip
    found = {form: ingest_birds(tmp_path / form, "pairs", **row) for form, row in forms.items()}
    assert {tuple(info.hashes.items()) for info in found.values()} == {tuple(found["folder"].hashes.items())}
    assert {info.class_names for info in found.values()} == {found["folder"].class_names}


def test_folders_train_and_test_and_a_column_of_splits_are_the_splits(tmp_path: Path) -> None:
    for split, keys in (("train", ("00", "01", "02")), ("test", ("03", "04")), ("val", ("05",))):
        put(tmp_path, captions={key: CAPTIONS[key] for key in keys}, folder=f"birds/{split}")
    dataset = open_birds(tmp_path, "pairs")
    assert [sample.captions[0] for sample in dataset.test] == ["picture 3.", "picture 4."]
    assert dataset.notes == ("1 image left out: val/ is a validation split.",)
    assert dataset.described == "10 captions"  # of `gift doctor` and `gift add-task`
    assert [sample.captions[0] for sample in dataset.validation] == ["picture 5."]
    lines = [f"{split}/{key}.png,of {key},{split}" for split, key in (("train", "00"), ("train", "01"), ("test", "03"),
                                                                     ("test", "04"), ("val", "05"))]  # fmt: skip
    (tmp_path / "birds" / "captions.csv").write_text("\n".join(["image,caption,fold", *lines]))
    dataset = open_birds(tmp_path, "pairs", **TABLE, split_column="fold")
    assert [sample.label for sample in (*dataset.train, *dataset.test)] == ["of 00", "of 01", "of 03", "of 04"]
    assert [sample.label for sample in dataset.validation] == ["of 05"]


BOTH_SPLITS = "image,caption,fold\n00.png,a,train\n00.png,b,test\n"


@pytest.mark.parametrize(
    ("change", "row", "expected"),
    [
        (lambda folder: (folder / "03.txt").unlink(), {}, "path: birds: 03.png has no caption in "),
        (lambda folder: (folder / "03.txt").write_text(" \n"), {}, "03.txt as UTF-8 text (it is empty)"),
        (lambda folder: [path.unlink() for path in folder.glob("0[1-9].*")], {}, "1 train image, but a task of pairs"),
        (lambda folder: [path.unlink() for path in folder.glob("*.png")], {}, "path: birds: there are no images"),
        (lambda folder: (folder / "captions.csv").write_text(BOTH_SPLITS), TABLE | {"split_column": "fold"},
         "table: captions.csv: 00.png is on line 2 and on line 3. Remove one: an ima"),
    ],
)  # fmt: skip
def test_an_unsound_folder_or_table_is_refused(change: Any, row: dict[str, Any], expected: str, tmp_path: Path) -> None:
    change(put(tmp_path))
    assert expected in refusal(tmp_path, "pairs", **row)


def test_pairs_of_a_folder_are_sorted_by_path_and_those_with_one_caption_share_a_prompt(tmp_path: Path) -> None:
    """A caption is one line without extra spaces. Other and hidden files are ignored. A suffix may have any case."""
    for key, caption in {"2": "a dog", "1/4": "  a cat\non a   mat\r\n", "1/3": "a cat on a mat"}.items():
        put(tmp_path, captions={key: [caption]}, folder="mine")
    folder = tmp_path / "mine"
    (folder / "2.png").rename(folder / "2.PNG")
    for name in ("._a.png", "README.md", ".cache/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    pairs = list(iterate_folder(folder, "params.yaml: methods.zscl.replay.folder"))
    assert [pair.read_again and pair.read_again() for pair in pairs] == [png(3), png(4), png(2)]
    assert pairs == [
        Pair("1/3.png", 0, "a cat on a mat", png(3)),
        Pair("1/4.png", 0, "a cat on a mat", png(4)),
        Pair("2.PNG", 1, "a dog", png(2)),
    ]

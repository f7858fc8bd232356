"""A user's captions: every kind of file, and every way in which one can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from gift_core.datasets.captions import Captions, read_captions
from gift_core.errors import UserError

ROWS = [("wren", "a wren in the rain"), ("great tit", "it sings, loudly"), (" wren ", " a {} \n on  a wall")]
EXPECTED = {"wren": ("a wren in the rain", "a {} on a wall"), "great tit": ("it sings, loudly",)}


def write(path: Path) -> Path:
    table = pd.DataFrame(ROWS, columns=["class_name", "caption"])
    writers = {
        ".csv": lambda: table.to_csv(path, index=False),
        ".parquet": lambda: table.to_parquet(path),
        ".jsonl": lambda: path.write_text("\n".join(json.dumps(row) for row in table.to_dict("records")) + "\n\n"),
    }
    writers[path.suffix]()
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_table_has_captions_for_class_names(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / f"captions{suffix}")
    captions = read_captions(f"captions{suffix}", tmp_path)
    assert captions == Captions(by_class=EXPECTED)
    assert captions.cover("wren")
    assert not captions.cover("robin")


def test_a_text_file_has_captions_of_no_class(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeff# mine\ntwo dogs on a beach\n\n  a café \r\n".encode())
    captions = read_captions(str(path))
    assert captions == Captions(general=("two dogs on a beach", "a café"))
    assert captions.cover("a café")


def test_classes_that_are_not_known_are_named_with_what_they_may_mean(tmp_path: Path) -> None:
    captions = read_captions(str(write(tmp_path / "captions.csv")))
    assert captions.unknown_classes(["wren", "great tit", "robin"]) == ()
    assert captions.unknown_classes(["wrens", "Great tit"]) == (
        "'wren' (did you mean 'wrens'?)",
        "'great tit' (did you mean 'Great tit'?)",
    )
    assert captions.unknown_classes(["robin"]) == ("'wren'", "'great tit'")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "class_name,caption,note\nwren,x,y\n", r"unknown column 'note'\. Known: caption, class_name\."),
        ("c.csv", "class_name,caption\nwren,x\nwren, x \n", r"c\.csv: line 3: 'x' of 'wren' is also on line 2,"),
        ("c.txt", "# nothing\n\n", r"c\.txt has no caption\. Write one per line"),
        ("none/c.csv", None, r"there is no file .*none/c\.csv"),
        ("c.xlsx", "", r"kind of file \(or \.txt\): unknown name '\.xlsx'\. Known: \.csv, \.jsonl, \.parquet, \.tsv"),
    ],
)
def test_an_unsound_file_is_refused_by_its_row(name: str, content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_captions(name, tmp_path)
    assert str(caught.value).startswith("params.yaml: prompts.captions: ")

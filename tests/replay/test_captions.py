"""A user's captions: every kind of file, and every error in one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from gift_core.errors import UserError
from gift_core.replay.captions import Captions, read_captions

ROWS = [("wren", "a wren in the rain"), ("great tit", "it sings, loudly"), ("wren", "a {} on a wall")]
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
    captions = read_captions(str(write(tmp_path / f"captions{suffix}")))
    assert captions == Captions(by_class=EXPECTED)
    assert captions.cover("wren")
    assert not captions.cover("robin")


def test_a_text_file_has_general_captions(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeff# mine\ntwo dogs on a beach\n\n  a café \r\n".encode())
    captions = read_captions(str(path))
    assert captions == Captions(general=("two dogs on a beach", "a café"))
    assert captions.cover("a café")


def test_null_gives_no_captions() -> None:
    assert read_captions(None) == Captions()


def test_extra_blanks_in_a_caption_are_removed(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text('class_name,caption\n wren ,"a wren\n in  the rain "\n')
    assert read_captions(str(tmp_path / "c.csv")).by_class == {"wren": ("a wren in the rain",)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "c.csv",
            "class,caption\nwren,x\n",
            r"c\.csv: row 1: column class_name is missing\. The columns are: class, caption",
        ),
        ("c.csv", "class_name,caption,note\nwren,x,y\n", r"row 1: unknown column 'note'\. Known: caption, class_name"),
        ("c.csv", "class_name,caption\nwren,x\nwren,\n", r"row 2: caption is empty\. Fill it in or remove the row"),
        ("c.csv", "class_name,caption\nwren,x\n,y\n", r"row 2: class_name is empty\. .*belong in a text file"),
        ("c.csv", "class_name,caption\nwren\n", r"row 1: caption is empty"),
        (
            "c.csv",
            "class_name,caption\nwren,x\nwren, x \n",
            r"row 2: the caption 'x' of 'wren' is in row 1 too\. Remove one",
        ),
        ("c.csv", "class_name,caption\nwren,red, small\n", r"cannot be read \(a row has more fields .*in quotes"),
        (
            "c.csv",
            "class_name,caption\n",
            r"c\.csv has no rows\. Write one row per caption.*class_name and caption",
        ),
        ("c.csv", b"class_name,caption\nwren,\xff\n", r"c\.csv cannot be read .*UTF-8 text"),
        ("c.jsonl", '{"class_name": "wren", "caption": 7}\n', r"row 1: caption is not text \(7\)"),
        ("c.jsonl", "[1]\n", r"c\.jsonl cannot be read \(line 1 must be an object"),
        ("c.jsonl", "{\n", r"c\.jsonl cannot be read"),
        ("c.parquet", "no parquet", r"c\.parquet cannot be read"),
        ("c.txt", "# nothing\n\n", r"c\.txt holds no caption\. Write one a line"),
        ("c.txt", "a dog\na dog\n", r"'a dog' comes twice\. Remove one"),
        ("c.xlsx", "", r"kind of file \(or \.txt\): unknown name '\.xlsx'\. Known: \.csv, \.jsonl, \.parquet"),
    ],
)
def test_an_invalid_file_is_refused_with_the_row(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        read_captions(str(path))
    assert str(caught.value).startswith("params.yaml: prompts.captions: ")


def test_a_missing_file_is_refused_with_its_path() -> None:
    with pytest.raises(UserError, match=r"prompts\.captions: data/0_raw/prompts/none\.csv does not exist"):
        read_captions("data/0_raw/prompts/none.csv")

"""A user's captions: every kind of file, and every way in which one can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.datasets.captions import Captions, read_captions
from gift_core.errors import UserError

TABLE = 'class_name,caption\nwren,a wren in the rain\ngreat tit,"it sings, loudly"\n wren ," a {} \n on  a wall"\n'


def test_a_table_has_captions_for_class_names_and_unknown_ones_are_named(tmp_path: Path) -> None:
    """Other kinds of tables: artifacts/test_table_files.py."""
    (tmp_path / "captions.csv").write_text(TABLE)
    captions = read_captions("captions.csv", tmp_path)
    by_class = {"wren": ("a wren in the rain", "a {} on a wall"), "great tit": ("it sings, loudly",)}
    assert captions == Captions(by_class=by_class)
    assert captions.cover("wren") and not captions.cover("robin")
    assert captions.unknown_classes(["wren", "great tit", "robin"]) == ()
    hints = ("'wren' (did you mean 'wrens'?)", "'great tit' (did you mean 'Great tit'?)")
    assert captions.unknown_classes(["wrens", "Great tit"]) == hints
    assert captions.unknown_classes(["robin"]) == ("'wren'", "'great tit'")


def test_a_text_file_has_captions_of_no_class(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeff# mine\ntwo dogs on a beach\n\n  a café \r\n".encode())
    captions = read_captions(str(path))
    assert captions == Captions(general=("two dogs on a beach", "a café"))
    assert captions.cover("a café")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "class_name,caption,note\nwren,x,y\n", r"unknown column 'note'\. Known: caption, class_name\."),
        ("c.csv", "class_name,caption\nwren,x\nwren, x \n", r"c\.csv: line 3: 'x' of 'wren' is also on line 2,"),
        ("c.csv", "class_name,caption\n", r"c\.csv: no rows\. Write one row per caption"),
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

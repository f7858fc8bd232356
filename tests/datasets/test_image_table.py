"""Tables of image files and labels as tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.datasets.folders import colors, ingest_birds, open_birds, picture, refusal


def write_table(root: Path, lines: list[str]) -> None:
    (root / "birds" / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(autouse=True)
def birds(tmp_path: Path) -> None:
    """birds/a/{0..4}.png, each image in a different color."""
    for number in range(5):
        picture(tmp_path / "birds" / "a" / f"{number}.png", (number, 0, 0))


def test_a_split_column_assigns_rows_to_splits(tmp_path: Path) -> None:
    """A validation row needs neither a label nor a file."""
    rows = "a/0.png,wren,train a/1.png,heron,Training a/2.png,wren,testing gone.png,,VALID ,,validation"
    write_table(tmp_path, [FOLD, *rows.split(), "a/4.png,wren,val "])
    info = ingest_birds(tmp_path, "table", split_column="fold")
    assert info.class_names == ("heron", "wren")
    assert colors(tmp_path / "task", "train") == [((0, 0, 0), 1), ((1, 0, 0), 0)]
    assert colors(tmp_path / "task", "test") == [((2, 0, 0), 1)]
    assert info.notes == (
        "3 images left out: val in column 'fold' is a validation split.",
        "1 image of the folder is in no row: a/3.png.",
        "1 class has no test images: heron.",
    )
    (held_out,) = open_birds(tmp_path, "table", split_column="fold").validation
    assert (held_out.name, held_out.label) == ("a/4.png", "wren")


FOLD = "image,label,fold"


@pytest.mark.parametrize(
    ("lines", "changes", "expected"),
    [
        (["a/0.png,wren", "a/1.pgn,heron"], {}, "line 3: there is no image file a/1.pgn. Did you mean 'a/1.png'?"),
        (["a/0.png,wren", "../x.png,heron"], {}, "line 3 of labels.csv: ../x.png is outside birds"),
        (["a/0.png,wren", "a/1.png,heron", "./a/0.png,heron"], {}, "a/0.png is on line 2 and on line 4. Remove"),
        (["a/0.png,wren"], {"table": "lables.csv"}, "lables.csv: no such file. Beside it: labels.csv, a."),
        ([FOLD, "a/0.png,wren,train", "a/1.png,heron,trian"], {"split_column": "fold"},
         "split_column: fold: line 3 of labels.csv: unknown split 'trian'. Did you"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(lines: list[str], changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    write_table(tmp_path, lines if FOLD in lines else ["image,label", *lines])
    assert expected in refusal(tmp_path, "table", **changes)

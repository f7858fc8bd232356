"""Tables and lists that people write: what is read from each kind of file, and how each error is located."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gift_core.artifacts.table_files import Row, TableSchema, read_table_file
from gift_core.errors import UserError

BIRDS = TableSchema(required=("file", "bird"), optional=("fold",))
FRAME = pd.DataFrame({"file": ["a.png", "b.png"], "note": ["x", "y"], "bird": [7, 10]})


WRITERS: dict[str, Callable[[Path], Any]] = {
    "birds.csv": lambda path: FRAME.to_csv(path, index=False),
    "BIRDS.CSV": lambda path: FRAME.to_csv(path, index=False, sep=";"),
    "birds.tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    "birds.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "birds.parquet": FRAME.to_parquet,
}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(table: tuple[tuple[str, ...], list[Row]]) -> list[dict[str, str]]:
    return [dict(row.cells) for row in table[1]]


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_texts_of_the_known_columns(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    table = read_table_file(tmp_path / name, BIRDS)
    assert cells(table) == [{"file": "a.png", "bird": "7"}, {"file": "b.png", "bird": "10"}]
    assert table[0] == ("file", "note", "bird")


def test_a_position_is_the_line_of_a_text_file_where_the_row_begins(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '\n\ufefffile,bird\n\na,"wren\nin rain"\n \nb,owl\n'.replace("\n\ufeff", "\ufeff"))
    assert [row.position for row in read_table_file(path, BIRDS)[1]] == ["line 3", "line 6"]
    path = write(tmp_path / "a.jsonl", '\n{"file": "a", "bird": "wren"}\n\n{"bird": "owl", "file": "b"}')
    assert [row.position for row in read_table_file(path, BIRDS)[1]] == ["line 2", "line 4"]


def test_texts_of_a_csv_stay_as_they_are_written_and_may_be_empty_only_where_the_schema_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'file , bird\r\n007, "wren, ""Zaunkönig"""\r\n NA ,1e5\r\n')
    expected = [{"file": "007", "bird": 'wren, "Zaunkönig"'}, {"file": "NA", "bird": "1e5"}]
    assert cells(read_table_file(path, BIRDS)) == expected
    lenient = TableSchema(required=("file", "bird"), may_be_empty=("bird",))
    path = write(tmp_path / "a.csv", "file,bird\na,\n")
    assert cells(read_table_file(path, lenient)) == [{"file": "a", "bird": ""}]


def test_numbers_of_parquet_are_exact_and_whole_ones_have_no_point(tmp_path: Path) -> None:
    """A column that pandas made the index is found. An empty cell is named by its row."""
    frame = pd.DataFrame({"file": [1.0, 0.1], "bird": pd.array([2**60, 3], dtype="Int64")})
    path = tmp_path / "a.parquet"
    frame.set_index("file").to_parquet(path)
    assert cells(read_table_file(path, BIRDS)) == [{"file": "1", "bird": str(2**60)}, {"file": "0.1", "bird": "3"}]
    frame.assign(bird=[7, None]).to_parquet(path)
    with pytest.raises(UserError, match=r"a\.parquet: row 2, column bird: is empty"):
        read_table_file(path, BIRDS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "column 'file' is missing. Known: none."),
        ("a.csv", "file,brid\n", "column 'bird' is missing. Did you mean 'brid'? Known: brid, file."),
        ("a.csv", "file,bird,bird\n", "column 'bird' is a duplicate. Keep one of them."),
        ("a.csv", "file,bird\na,wren\n\nb, \n", "line 4, column bird: is empty. Fill it in, or remove the row."),
        ("a.csv", "file,bird\na\n", "line 2: 1 values, but the header has 2. Put texts that contain ',' in quotes"),
        ("a.jsonl", '\n{"file" "a"}', "line 2: should be an object (Expecting ':' delimiter: column 9 (char 8))"),
        ("a.jsonl", '{"file": "a", "bird": ["b"]}', "line 1, column bird: should be a text or a number, it is ['b']."),
        ("a.parquet", "PAR1", "cannot be read as .parquet ("),
        ("a.xlsx", "", "kind of table: unknown name '.xlsx'. Known: .csv, .jsonl, .parquet, .tsv."),
    ],
)
def test_an_error_names_file_row_and_column(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, content)
    for location, prefix in (("", f"{path}: "), ("params.yaml: birds", f"params.yaml: birds: {path}: ")):
        with pytest.raises(UserError) as caught:
            read_table_file(path, BIRDS, location=location)
        assert str(caught.value).startswith(prefix + message)
        assert len(str(caught.value)) < 400 and str(caught.value).encode()

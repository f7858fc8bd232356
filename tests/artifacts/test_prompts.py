"""The prompts artifact."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from gift_core.artifacts.prompts import read_prompts, write_prompts
from gift_core.errors import ContractError
from tests.artifacts.damage import broken_message, cut, rewrite_table

PROMPTS = pd.DataFrame(
    {
        "prompt_id": [0, 1],
        "source_task": ["base", "birds"],
        "class_name": ["snowman", "wren"],
        "template": ["a photo of a {}.", "a {}, a bird."],
        "prompt": ["a photo of a snowman.", "a wren, a bird."],
        "seed": [5, 2**62],
    }
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_prompts(tmp_path / "p.parquet", PROMPTS)
    found = read_prompts(tmp_path / "p.parquet")
    assert found.to_dict("list") == PROMPTS.to_dict("list")
    assert found.seed.dtype == "int64"


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    write_prompts(tmp_path / "a.parquet", PROMPTS)
    write_prompts(tmp_path / "b.parquet", PROMPTS[PROMPTS.columns[::-1]])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"prompt_id": [0, 2]}, "prompt_id should count 0, 1, 2"),
        ({"prompt": ["a", ""]}, "no empty one"),
        ({"class_name": ["a", None]}, "column class_name should have no empty cell"),
    ],
)
def test_unsound_prompts_are_refused_on_write(change: dict[str, list[object]], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=expected):
        write_prompts(tmp_path / "p.parquet", PROMPTS.assign(**change))
    assert list(tmp_path.iterdir()) == []


def test_no_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="there should be one prompt at least"):
        write_prompts(tmp_path / "p.parquet", PROMPTS.head(0))


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_prompts(path, PROMPTS)
    rewrite_table(path, lambda table: table.drop_columns(["seed"]))
    assert "seed is missing" in broken_message(lambda: read_prompts(path), path, "write_prompts")


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_prompts(path, PROMPTS)
    rewrite_table(path, lambda table: table.append_column("extra", pa.array([1, 2])))
    assert "extra is unknown" in broken_message(lambda: read_prompts(path), path, "write_prompts")


def test_a_wrong_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_prompts(path, PROMPTS)
    rewrite_table(path, lambda table: table.set_column(5, "seed", pa.array([1.0, 2.0])))
    message = broken_message(lambda: read_prompts(path), path, "write_prompts")
    assert "column seed should be int64, it is double" in message


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_prompts(path, PROMPTS)
    cut(path)
    assert "it should be a Parquet file" in broken_message(lambda: read_prompts(path), path, "write_prompts")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    assert "there should be a file" in broken_message(lambda: read_prompts(path), path, "write_prompts")

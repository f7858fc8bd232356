"""The prompts that replay draws while a task is learned: one row an image to be."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gift_core.artifacts.atomic import broken
from gift_core.artifacts.tables import read_table, write_table

STAGE = "write_prompts"
SCHEMA = pa.schema(
    [
        ("prompt_id", pa.int64()),
        ("source_task", pa.string()),  # "base" for the base vocabulary
        ("class_name", pa.string()),
        ("template", pa.string()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
    ]
)


def write_prompts(path: Path, prompts: pd.DataFrame) -> None:
    """Writes the prompts in their order; ContractError where they break the contract."""
    table = pa.Table.from_pandas(prompts[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    _require_sound(path, table)
    write_table(path, table, {})


def read_prompts(path: Path) -> pd.DataFrame:
    """Returns the columns of SCHEMA, sorted by prompt_id 0..N-1; ContractError for anything else."""
    table, _ = read_table(path, SCHEMA, STAGE)
    _require_sound(path, table)
    prompts: pd.DataFrame = table.to_pandas()
    return prompts


def _require_sound(path: Path, table: pa.Table) -> None:
    for name in SCHEMA.names:
        if table[name].null_count:
            raise broken(path, f"column {name} should have no empty cell, it has {table[name].null_count}", STAGE)
    if table["prompt_id"].to_pylist() != list(range(table.num_rows)):
        raise broken(path, "prompt_id should count 0, 1, 2, ... without a gap", STAGE)
    if table.num_rows == 0 or pc.min(pc.utf8_length(table["prompt"])).as_py() == 0:
        raise broken(path, "there should be one prompt at least and no empty one", STAGE)

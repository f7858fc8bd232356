"""Prompts and vocabularies: the prompts to generate images from, and the class names that prompts are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from gift_core.artifacts.contract import read, read_table, write_table
from gift_core.artifacts.task import Name, Templates
from gift_core.work.publishing import write_atomically

STAGE = "write_prompts"
VOCABULARY_STAGES = "write_vocabulary write_prompts"
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


@dataclass(frozen=True)
class VocabularyEntry:
    """A class name, its source ("base" or the name of a task) and the templates that turn it into a prompt.

    The first template is the one that the source's data set is trained with.
    """

    source_task: Name
    class_name: Name
    templates: Templates


def write_prompts(path: Path, prompts: pd.DataFrame) -> None:
    """Writes the columns of SCHEMA, one row per image to generate.

    The file is named after the task, which is also in its metadata.
    """
    table = pa.Table.from_pandas(prompts[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    write_table(path, table, {"task": path.stem})


def read_prompts(path: Path) -> pd.DataFrame:
    """Returns the columns of SCHEMA, sorted by prompt_id 0..N-1. ContractError if the file is missing or damaged."""
    table, _ = read_table(path, SCHEMA, STAGE)
    prompts: pd.DataFrame = table.to_pandas()
    return prompts


def prompts_digest(prompts: pd.DataFrame) -> dict[str, Any]:
    """Returns {"count", "sha256"} of what decides the images: the columns prompt_id, prompt and seed, in order."""
    columns = [prompts[name].tolist() for name in ("prompt_id", "prompt", "seed")]
    content = json.dumps(columns, ensure_ascii=False).encode()
    return {"count": len(prompts), "sha256": hashlib.sha256(content).hexdigest()}


def write_vocabulary(path: Path, entries: Sequence[VocabularyEntry]) -> None:
    """Writes the entries in the order given as JSON, one a line.

    This is every class name that prompts may use after a task. It may be empty.
    """
    lines = ",\n".join(json.dumps(asdict(entry), ensure_ascii=False) for entry in entries)
    with write_atomically(path) as temporary:
        temporary.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_vocabulary(path: Path) -> list[VocabularyEntry]:
    """Returns the entries in their order. ContractError if the file is missing or no vocabulary."""
    return read(list[VocabularyEntry], path, VOCABULARY_STAGES)

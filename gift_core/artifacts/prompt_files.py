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
import pyarrow.compute as pc

from gift_core.artifacts.contract import broken, require_file
from gift_core.artifacts.tables import read_table, write_table
from gift_core.untrusted import parse_json
from gift_core.work.publishing import write_atomically

STAGE = "write_prompts"
_SHOWN = 200  # letters of a wrong entry in an error
VOCABULARIES = "vocabularies"  # the folder of those that a step wrote
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

    source_task: str
    class_name: str
    templates: tuple[str, ...]


def write_prompts(path: Path, prompts: pd.DataFrame) -> None:
    """Writes the columns of SCHEMA, one row per image to generate. ContractError if a row is incomplete.

    The file is named after the task, which is also in its metadata.
    """
    table = pa.Table.from_pandas(prompts[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    _require_sound_prompts(path, table)
    write_table(path, table, {"task": path.stem})


def read_prompts(path: Path) -> pd.DataFrame:
    """Returns the columns of SCHEMA, sorted by prompt_id 0..N-1.

    ContractError if the file is missing, invalid or of another task than it is named after.
    """
    table, notes = read_table(path, SCHEMA, STAGE)
    if notes.get("task") != path.stem:
        raise broken(path, f"it should be of task {path.stem!r}, it is of {notes.get('task')!r}", STAGE)
    _require_sound_prompts(path, table)
    prompts: pd.DataFrame = table.to_pandas()
    return prompts


def prompts_digest(prompts: pd.DataFrame) -> dict[str, Any]:
    """Returns {"count", "sha256"} of what decides the images: the columns prompt_id, prompt and seed, in order."""
    columns = [prompts[name].tolist() for name in ("prompt_id", "prompt", "seed")]
    content = json.dumps(columns, ensure_ascii=False).encode()
    return {"count": len(prompts), "sha256": hashlib.sha256(content).hexdigest()}


def write_vocabulary(path: Path, entries: Sequence[VocabularyEntry]) -> None:
    """Writes the entries in the order given as JSON, one a line. ContractError for an entry without a name or template.

    This is every class name that prompts may use after a task. It may be empty.
    """
    for entry in entries:
        _require_sound_entry(path, entry)
    lines = ",\n".join(json.dumps(asdict(entry), ensure_ascii=False) for entry in entries)
    with write_atomically(path) as unfinished:
        unfinished.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_vocabulary(path: Path) -> list[VocabularyEntry]:
    """Returns the entries in their order.

    ContractError if the file is missing or no vocabulary, or if the task it is named after is not the newest in it.
    """
    require_file(path, VOCABULARY_STAGES)
    try:
        entries = [
            VocabularyEntry(**{**entry, "templates": tuple(entry["templates"])})
            for entry in parse_json(path.read_bytes())
        ]
    except (ValueError, TypeError, KeyError) as error:
        what = f"it should be a vocabulary, but reading it failed ({type(error).__name__}: {str(error)[:_SHOWN]})"
        raise broken(path, what, VOCABULARY_STAGES) from error
    for entry in entries:
        _require_sound_entry(path, entry)
    newest = entries[-1].source_task if entries else "none"
    if path.parent.name == VOCABULARIES and newest != path.stem:
        what = f"its newest task should be {path.stem!r}, it is {newest!r}"
        raise broken(path, what, VOCABULARY_STAGES)
    return entries


def _require_sound_prompts(path: Path, table: pa.Table) -> None:
    for name in SCHEMA.names:
        if table[name].null_count:
            raise broken(path, f"column {name} should have no empty cell, it has {table[name].null_count}", STAGE)
    if table["prompt_id"].to_pylist() != list(range(table.num_rows)):
        raise broken(path, "prompt_id should count 0, 1, 2, ... without a gap", STAGE)
    if table.num_rows == 0 or pc.min(pc.utf8_length(table["prompt"])).as_py() == 0:
        raise broken(path, "there should be at least one prompt and no empty prompt", STAGE)


def _require_sound_entry(path: Path, entry: VocabularyEntry) -> None:
    named = all(isinstance(name, str) and name for name in (entry.source_task, entry.class_name))
    fillable = all(isinstance(template, str) and "{}" in template for template in entry.templates)
    if not (named and fillable and entry.templates):
        what = f"every entry should have a source, a class name and templates with {{}}, one is {ascii(entry)[:_SHOWN]}"
        raise broken(path, what, VOCABULARY_STAGES)

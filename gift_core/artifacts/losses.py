"""losses.jsonl beside a model: one JSON object per training iteration, one field per loss."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from gift_core.artifacts.atomic import broken, require_file, write_atomically

STAGE = "finetune"
Row = Mapping[str, float]
REQUIRED = ("iteration", "learning_rate", "task", "total")


def write_losses(path: Path, rows: Iterable[Row]) -> None:
    """Writes the rows, {"iteration": 0, "learning_rate": .., "task": .., <losses>, "total": ..}.

    ContractError where a row lacks a field, has others than the first, or holds a NaN.
    """
    rows = list(rows)
    _require_sound(path, rows)
    text = "".join(json.dumps(dict(row)) + "\n" for row in rows)
    with write_atomically(path) as temporary:
        temporary.write_bytes(text.encode("ascii"))


def read_losses(path: Path) -> list[dict[str, float]]:
    """Returns the rows in their order; ContractError where the file is missing or a row breaks the contract."""
    require_file(path, STAGE)
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    except ValueError as error:
        raise broken(path, f"each line should be a JSON object, but {error}", STAGE) from error
    _require_sound(path, rows)
    return rows


def _require_sound(path: Path, rows: list[Row]) -> None:
    if not rows:
        raise broken(path, "there should be one iteration at least", STAGE)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise broken(path, f"each line should be a JSON object, line {number + 1} is {row!r}", STAGE)
        missing = [name for name in REQUIRED if name not in row]
        if missing:
            raise broken(path, f"line {number + 1} should have {', '.join(REQUIRED)}; {missing[0]} is missing", STAGE)
        if list(row) != list(rows[0]):
            raise broken(path, f"line {number + 1} should have the fields of line 1: {', '.join(rows[0])}", STAGE)
        if row["iteration"] != number:
            what = f"line {number + 1} should be iteration {number}, it is iteration {row['iteration']}"
            raise broken(path, what, STAGE)
        bad = [name for name, value in row.items() if not isinstance(value, int | float) or not math.isfinite(value)]
        if bad:
            raise broken(path, f"line {number + 1}: {bad[0]} should be a finite number, it is {row[bad[0]]!r}", STAGE)

"""reports/zero_shot.json: whether the pre-trained model scores what was published of it, and by how much it is apart.

{"benchmark", "verdict": "agrees", "differs", "not compared" or "no benchmark", "sentence", "data_sets": {"<name>":
{"measured", "published"}}}, accuracies in percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import broken, read_json, require_fields, write_json

STAGE = "report"
VERDICTS = ("agrees", "differs", "not compared", "no benchmark")
NO_BENCHMARK: dict[str, Any] = {"benchmark": None, "verdict": "no benchmark", "sentence": "", "data_sets": {}}
_FIELDS: dict[str, type | tuple[type, ...]] = {"verdict": str, "sentence": str, "data_sets": dict}


def write_zero_shot(path: Path, check: Mapping[str, Any]) -> None:
    """Writes the check, accuracies with two decimals; ContractError if unsound."""
    _require_sound(path, dict(check))
    data_sets = {name: {key: round(value, 2) for key, value in row.items()} for name, row in check["data_sets"].items()}
    write_json(path, {**check, "data_sets": data_sets})


def read_zero_shot(path: Path) -> dict[str, Any]:
    """Returns the check; ContractError where the file is missing or breaks the contract."""
    check = read_json(path, STAGE)
    _require_sound(path, check)
    return check


def _require_sound(path: Path, check: dict[str, Any]) -> None:
    require_fields(path, check, _FIELDS, STAGE)
    if check["verdict"] not in VERDICTS:
        raise broken(path, f"verdict should be one of {', '.join(VERDICTS)}; found {check['verdict']!r}", STAGE)

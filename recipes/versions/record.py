"""Records the hashes of the code as those of the present versions."""

from __future__ import annotations

import json
from pathlib import Path

from gift_core.code.versions import RECORD, Code


def record(root: Path) -> None:
    """Writes recorded.json for the code below `root`: a line for each file that a stage runs."""
    code = Code(root)
    rows = {file: f"{code.files[file]} {code.hash_of(file)}" for file in sorted(code.all_reached())}
    (root / RECORD).write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")

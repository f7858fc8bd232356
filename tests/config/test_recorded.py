"""The values of all presets, compared with a record: one that changes on purpose is recorded again.

python -m tests.config.test_recorded
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import yaml

from gift_core.config.overlays import complete_text
from gift_core.config.presets import find_presets
from tests.imports import ROOT

RECORD = Path(__file__).parent / "recorded" / "values.json.gz"


def values() -> dict[str, dict[str, Any]]:
    return {name: yaml.safe_load(complete_text(path)) for name, path in sorted(find_presets(ROOT).items())}


def test_every_preset_has_its_recorded_values_in_their_order() -> None:
    recorded, found = json.loads(gzip.decompress(RECORD.read_bytes())), values()
    assert list(found) == list(recorded)
    for preset, params in found.items():
        assert params == recorded[preset], preset
        for section in ("tasks", "methods"):
            assert list(params[section]) == list(recorded[preset][section]), preset


if __name__ == "__main__":
    RECORD.write_bytes(gzip.compress(json.dumps(values(), indent=1).encode(), mtime=0))

"""The values of all presets, compared with a record from before some presets became overlays and keys were renamed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.overlays import complete_text
from tests.imports import ROOT

RECORD = Path(__file__).parent / "recorded" / "before_overlays.json.gz"
RECORDED: dict[str, dict[str, Any]] = json.loads(gzip.decompress(RECORD.read_bytes()))
del RECORDED["params"]  # params.yaml was the preset mini
NEW = {"mini_quick"}  # made after the record
NEW_METHODS = {"gift_vocabulary"}
RECORDED["bring_your_own"] |= {"tasks": {}, "sequence": []}  # it had a placeholder


def with_new_keys(params: dict[str, Any]) -> dict[str, Any]:
    """The recorded values under their present keys. The lists of methods by their replay are gone."""
    run, generator, training = params["run"], params["generator"], params["training"]
    params["run"] = {"methods": run["methods"], "device": run["device"]}
    generator["filters"] = generator.pop("gates")
    training["iterations"], training["warmup_iterations"] = training.pop("steps"), training.pop("warmup_steps")
    training["processes"] = 1
    for row in params["methods"].values():
        row["losses"], row["consolidation"] = row.pop("terms"), row.pop("anchor")
        if "steps" in row["consolidation"]:
            row["consolidation"]["iterations"] = row["consolidation"].pop("steps")
    for row in params["tasks"].values():
        if row["source"] == "mini":  # only the data is watched
            row["path"] = "data/mini"
    return params


def without_new_methods(params: dict[str, Any]) -> dict[str, Any]:
    params["run"]["methods"] = [name for name in params["run"]["methods"] if name not in NEW_METHODS]
    params["methods"] = {name: row for name, row in params["methods"].items() if name not in NEW_METHODS}
    return params


@pytest.mark.parametrize("preset", RECORDED)
def test_a_preset_has_its_recorded_values(preset: str) -> None:
    path = ROOT / "presets" / f"{preset}.yaml"
    expected, found = with_new_keys(RECORDED[preset]), without_new_methods(yaml.safe_load(complete_text(path)))
    assert found == expected
    for section in ("tasks", "methods"):
        assert list(found[section]) == list(expected[section])


def test_every_preset_is_recorded() -> None:
    assert {path.stem for path in (ROOT / "presets").glob("*.yaml")} == RECORDED.keys() | NEW

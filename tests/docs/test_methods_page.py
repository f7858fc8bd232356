"""docs/methods.md lists every slot, replay, loss and consolidation of the code, and nothing else."""

from __future__ import annotations

import re
from typing import Any, get_args

from gift_core.config.method_options import ConsolidationConfig, LossesConfig, MethodConfig
from gift_core.config.replay_options import ReplayConfig
from gift_core.config.section import Section
from tests.imports import ROOT

PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
NONE = "–"


def table(heading: str) -> dict[str, dict[str, str]]:
    """The first table below a heading: {first cell of a row without backticks: {column: cell}}."""
    below = f"\n{PAGE}".split(f"\n{heading}\n", maxsplit=1)[1]
    lines = re.search(r"(?:^\|.*\|\n)+", below, re.MULTILINE)
    assert lines is not None
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[0].splitlines()]
    assert all(len(row) == len(head) for row in rows), "a row has other columns than the head"
    names = [row[0].strip("`") for row in rows]
    assert len(set(names)) == len(names), "a name comes twice"
    return {name: dict(zip(head, row, strict=True)) for name, row in zip(names, rows, strict=True)}


def members(union: Any, key: str) -> dict[str, type[Section]]:
    """The sections of a union by their values of `key` in params.yaml."""
    return {get_args(section.model_fields[key].annotation)[0]: section for section in get_args(get_args(union)[0])}


LOSSES = {name: get_args(field.annotation)[0] for name, field in LossesConfig.model_fields.items()}
REPLAYS = members(ReplayConfig, "images")
CONSOLIDATIONS = members(ConsolidationConfig, "kind")


def test_the_slots_are_those_of_a_row() -> None:
    assert list(table("# Methods")) == list(MethodConfig.model_fields)


def test_the_page_has_every_replay_loss_and_consolidation_with_its_options() -> None:
    tables = {"## Replay": (REPLAYS, "images"), "## Losses": (LOSSES, ""), "## Consolidation": (CONSOLIDATIONS, "kind")}
    for heading, (known, key) in tables.items():
        rows = table(heading)
        assert list(rows) == list(known)
        for name, options in known.items():
            cell = rows[name]["options"]
            assert (set() if cell == NONE else set(cell.split(", "))) == set(options.model_fields) - {key}, name

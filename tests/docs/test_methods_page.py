"""docs/methods.md lists every slot, replay, loss and consolidation of the code, and nothing else."""

from __future__ import annotations

from typing import Any, get_args

from gift_core.config.method_options import ConsolidationConfig, LossesConfig, MethodConfig
from gift_core.config.replay_options import ReplayConfig
from gift_core.config.section import Section
from tests.imports import ROOT

PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading: {first cell without backticks: the other cells}."""
    below = f"\n{PAGE}".partition(f"\n{heading}\n")[2]
    lines = below[: below.index("|\n\n")].partition("|---|")[2].splitlines()[1:]
    cells = [[cell.strip(" |") for cell in line.split(" | ")] for line in lines]
    return {name.strip("`"): others for name, *others in cells}


def members(union: Any, key: str) -> dict[str, type[Section]]:
    """The sections of a union by their values of `key` in params.yaml."""
    return {get_args(section.model_fields[key].annotation)[0]: section for section in get_args(get_args(union)[0])}


LOSSES = {name: get_args(field.annotation)[0] for name, field in LossesConfig.model_fields.items()}
TABLES = {
    "## Replay": (members(ReplayConfig, "images"), "images"),
    "## Losses": (LOSSES, ""),
    "## Consolidation": (members(ConsolidationConfig, "kind"), "kind"),
}


def test_the_page_has_every_slot_of_a_row_and_every_replay_loss_and_consolidation_with_its_options() -> None:
    assert list(rows("# Methods")) == list(MethodConfig.model_fields)
    for heading, (known, key) in TABLES.items():
        options = {name: set(cells[0].split(", ")) - {"–"} for name, cells in rows(heading).items()}
        assert options == {name: set(section.model_fields) - {key} for name, section in known.items()}

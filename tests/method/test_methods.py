"""A method is data: what params.yaml allows is implemented, is in docs/methods.md, and gets the options of its row.

Of consolidations: test_learning_methods.py.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

import pytest

from gift_core.config.experiment import PromptsConfig
from gift_core.config.method_options import KnownConsolidation, LossesConfig, MethodConfig
from gift_core.config.replay_options import ReplayConfig
from gift_core.config.section import Section
from gift_core.method.consolidation import CONSOLIDATIONS
from gift_core.method.losses import LOSSES
from gift_core.method.methods import ENTROPIES, build_method
from gift_core.method.replay.prompts import STRATEGIES
from gift_core.method.replay.teach import REPLAYS
from tests.imports import ROOT
from tests.method.pair_features import LOSS_OPTIONS

PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def members(union: Any, key: str) -> dict[str, type[Section]]:
    """The sections of a discriminated union by their values of `key` in params.yaml."""
    return {get_args(section.model_fields[key].annotation)[0]: section for section in get_args(get_args(union)[0])}


LOSS_SECTIONS = {name: get_args(field.annotation)[0] for name, field in LossesConfig.model_fields.items()}
# By the heading of docs/methods.md: the sections of params.yaml, the key of their names, and what implements them.
SLOTS: dict[str, tuple[dict[str, type[Section]], str, Collection[str]]] = {
    "## Losses": (LOSS_SECTIONS, "", LOSSES),
    "## Consolidation": (members(KnownConsolidation, "kind"), "kind", CONSOLIDATIONS),
    "## Replay": (members(ReplayConfig, "images"), "images", REPLAYS),
}


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the first table of the page below a heading: {first cell without backticks: the other cells}."""
    below = f"\n{PAGE}".partition(f"\n{heading}\n")[2]
    lines = below[: below.index("|\n\n")].partition("|---|")[2].splitlines()[1:]
    cells = [[cell.strip(" |") for cell in line.split(" | ")] for line in lines]
    return {name.strip("`"): others for name, *others in cells}


def test_every_name_that_params_yaml_allows_has_an_implementation_and_its_options_on_the_page() -> None:
    assert list(rows("# Methods")) == list(MethodConfig.model_fields)
    for heading, (sections, key, implemented) in SLOTS.items():
        assert set(sections) == set(implemented)
        options = {name: set(cells[0].split(", ")) - {"–"} for name, cells in rows(heading).items()}
        assert options == {name: set(section.model_fields) - {key} for name, section in sections.items()}
    assert list(LOSS_SECTIONS) == list(LOSSES)
    assert set(get_args(PromptsConfig.model_fields["strategy"].annotation)) == set(STRATEGIES)


@pytest.mark.parametrize("name", LOSS_OPTIONS)
def test_a_loss_gets_the_options_of_its_row(mini_params: dict[str, Any], name: str) -> None:
    options = dict.fromkeys(LOSS_OPTIONS[name], 0.5)
    row = mini_params["methods"]["gift"] | {"losses": {name: {"weight": 3.0, **options}}}
    loss = build_method(MethodConfig.model_validate(row)).losses[name]
    assert (loss.weight, loss.function.func, loss.function.keywords) == (3.0, LOSSES[name], options)
    entropy = loss.entropy and (loss.entropy.func, loss.entropy.keywords)
    assert entropy == ((ENTROPIES[name], options) if name in ENTROPIES else None)

"""Every row of the anchors' table becomes its anchor, with its own options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from gift_core.anchors.table import ANCHORS
from gift_core.consolidation import AdaptiveFisher, FrozenFisher, NoConsolidation, StaticFisher, Uniform

# name: (options, the anchor, F of the second of three weights), where the replay terms have the gradients (1, 3, 0) in
# the first step and (0, 1, 1) in the second, and the file holds the diagonal (1, 5, 0).
ROWS: dict[str, tuple[dict[str, Any], type, float]] = {
    "none": ({}, NoConsolidation, 0.0),
    "uniform": ({"weight": 0.5}, Uniform, 1.0),
    "static_fisher": ({"weight": 0.5, "scale": "model"}, StaticFisher, 2.5),
    "frozen_fisher": ({"weight": 0.5, "steps": 1}, FrozenFisher, 2.7),
    "adaptive_fisher": ({"weight": 0.5}, AdaptiveFisher, 1.5),
}


def test_every_row_is_tried_here() -> None:
    assert set(ROWS) == set(ANCHORS)


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_builds_its_anchor_with_its_own_options(kind: str) -> None:
    options, expected, importance = ROWS[kind]
    parameters = {"a": torch.nn.Parameter(torch.zeros(3))}
    anchor = ANCHORS[kind].model_validate({"kind": kind, **options}).build(parameters, {"a": torch.tensor([1.0, 5, 0])})
    assert type(anchor) is expected
    anchor.observe({"a": torch.tensor([1.0, 3.0, 0.0])})
    anchor.observe({"a": torch.tensor([0.0, 1.0, 1.0])})
    parameters["a"].data[1] += 2.0
    # 0.5 * F * 2^2
    assert anchor.pull(parameters).item() == pytest.approx(2 * importance)


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_says_what_its_anchor_is_measured_on(kind: str) -> None:
    row = ANCHORS[kind]
    assert row.needs_losses == (kind in ("adaptive_fisher", "frozen_fisher"))
    assert row.needs_fisher == (kind == "static_fisher")


@pytest.mark.parametrize(("kind", "option"), [(kind, option) for kind, row in ROWS.items() for option in row[0]])
def test_no_option_has_a_default(kind: str, option: str) -> None:
    options = {"kind": kind, **ROWS[kind][0]}
    del options[option]
    with pytest.raises(ValidationError, match=option):
        ANCHORS[kind].model_validate(options)

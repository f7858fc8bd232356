"""A method is data: every name that params.yaml may say has a row in a table, and a row becomes a method."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from gift_core.anchors.table import ANCHORS
from gift_core.config.methods import ConsolidationConfig, LossesConfig, MethodConfig, ReplayConfig
from gift_core.consolidation import AdaptiveFisher, NoConsolidation
from gift_core.losses import align, distill
from gift_core.methods import build_method
from gift_core.objectives.table import TERMS
from gift_core.replay.teach import REPLAYS


def names_of(union: Any, key: str) -> set[str]:
    """What `key` may say in the sections of a discriminated union."""
    return {get_args(section.model_fields[key].annotation)[0] for section in get_args(get_args(union)[0])}


def test_every_name_that_params_may_say_has_a_row() -> None:
    assert set(LossesConfig.model_fields) == set(TERMS)
    assert names_of(ConsolidationConfig, "kind") == set(ANCHORS)
    assert names_of(ReplayConfig, "images") == set(REPLAYS)


def test_gift_of_the_preset_is_the_papers_gift(mini_params: dict[str, Any]) -> None:
    method = build_method(MethodConfig.model_validate(mini_params["methods"]["gift"]))
    assert {name: weighted.term for name, weighted in method.terms.items()} == {
        "distill": distill(temperature=2.0),
        "align": align(label_smoothing=0.2),
    }
    assert {name: weighted.weight for name, weighted in method.terms.items()} == {"distill": 1.0, "align": 0.25}
    parameters = {"weight": torch.nn.Parameter(torch.zeros(2))}
    assert isinstance(method.build_anchor(parameters), AdaptiveFisher)


def test_finetune_has_no_terms_and_no_anchor(mini_params: dict[str, Any]) -> None:
    method = build_method(MethodConfig.model_validate(mini_params["methods"]["finetune"]))
    assert method.terms == {}
    assert isinstance(method.build_anchor({}), NoConsolidation)


@pytest.mark.parametrize("weight", [0.3, 2.0])
def test_the_anchors_weight_is_the_rows(mini_params: dict[str, Any], weight: float) -> None:
    row = mini_params["methods"]["gift"] | {"consolidation": {"kind": "uniform", "weight": weight}}
    parameters = {"weight": torch.nn.Parameter(torch.zeros(2))}
    anchor = build_method(MethodConfig.model_validate(row)).build_anchor(parameters)
    parameters["weight"].data += 1.0
    assert anchor.pull(parameters).item() == pytest.approx(2 * weight)

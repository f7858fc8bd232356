"""The options of losses and consolidations: what they need, and what the computations get."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from gift_core.config.method_options import ConsolidationConfig, LossesConfig, MethodConfig

LOSSES: dict[str, dict[str, Any]] = {
    "distill": {"weight": 1.0, "temperature": 2.0},
    "distill_vocabulary": {"weight": 1.0, "temperature": 2.0},
    "distill_reverse_kl": {"weight": 1.0, "temperature": 2.0},
    "distill_features": {"weight": 1.0},
    "distill_image_side": {"weight": 1.0, "temperature": 2.0},
    "distill_text_side": {"weight": 1.0, "temperature": 2.0},
    "align": {"weight": 0.25, "label_smoothing": 0.2},
}
# kind: (options, needs the replay losses, needs the Fisher information)
CONSOLIDATIONS: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "none": ({}, False, False),
    "uniform": ({"weight": 0.5}, False, False),
    "static_fisher": ({"weight": 0.5, "scale": "model"}, False, True),
    "frozen_fisher": ({"weight": 0.5, "iterations": 1}, True, False),
    "adaptive_fisher": ({"weight": 0.5}, True, False),
}


def test_losses_are_listed_in_one_order_with_their_keywords() -> None:
    losses = LossesConfig.model_validate(dict(reversed(LOSSES.items())))
    found = [(name, {"weight": options.weight, **options.keywords()}) for name, options in losses.items()]
    assert found == list(LOSSES.items()) and list(LOSSES) == list(LossesConfig.model_fields)
    assert [name for name, options in losses.items() if options.pairs_only] == ["distill_vocabulary", "align"]
    assert len(losses) == len(LOSSES)
    assert not LossesConfig()


def test_every_consolidation_is_tried_here() -> None:
    members = get_args(get_args(ConsolidationConfig)[0])
    assert list(CONSOLIDATIONS) == [get_args(each.model_fields["kind"].annotation)[0] for each in members]


@pytest.mark.parametrize("kind", CONSOLIDATIONS)
def test_a_consolidation_says_what_it_needs(kind: str) -> None:
    options, needs_losses, needs_fisher = CONSOLIDATIONS[kind]
    row = {"learning_rate": 0.1, "replay": {"images": "none"}, "losses": {}, "consolidation": {"kind": kind, **options}}
    found = MethodConfig.model_validate(row).consolidation
    assert (found.kind, found.keywords()) == (kind, options)
    assert (found.needs_losses, found.needs_fisher) == (needs_losses, needs_fisher)

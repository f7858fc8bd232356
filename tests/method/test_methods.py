"""A method is data: every name that params.yaml allows has an implementation, which gets the options of its row.

Of consolidations: test_learning_methods.py.
"""

from __future__ import annotations

from typing import Any, get_args

import pytest

from gift_core.config.experiment import PromptsConfig
from gift_core.config.method_options import ConsolidationConfig, LossesConfig, MethodConfig
from gift_core.config.replay_options import ReplayConfig
from gift_core.method.consolidation import CONSOLIDATIONS
from gift_core.method.losses import LOSSES
from gift_core.method.methods import ENTROPIES, build_method
from gift_core.method.replay.prompts import STRATEGIES
from gift_core.method.replay.teach import REPLAYS
from tests.method.pair_features import LOSS_OPTIONS


def names_of(union: Any, key: str) -> set[str]:
    """The values that `key` can have in the sections of a discriminated union."""
    return {get_args(section.model_fields[key].annotation)[0] for section in get_args(get_args(union)[0])}


def test_every_name_that_params_yaml_allows_has_an_implementation() -> None:
    assert list(LossesConfig.model_fields) == list(LOSSES)
    assert names_of(ConsolidationConfig, "kind") == set(CONSOLIDATIONS)
    assert names_of(ReplayConfig, "images") == set(REPLAYS)
    assert set(get_args(PromptsConfig.model_fields["strategy"].annotation)) == set(STRATEGIES)


@pytest.mark.parametrize("name", LOSS_OPTIONS)
def test_a_loss_gets_the_options_of_its_row(mini_params: dict[str, Any], name: str) -> None:
    options = dict.fromkeys(LOSS_OPTIONS[name], 0.5)
    row = mini_params["methods"]["gift"] | {"losses": {name: {"weight": 3.0, **options}}}
    loss = build_method(MethodConfig.model_validate(row)).losses[name]
    assert (loss.weight, loss.function.func, loss.function.keywords) == (3.0, LOSSES[name], options)
    entropy = loss.entropy and (loss.entropy.func, loss.entropy.keywords)
    assert entropy == ((ENTROPIES[name], options) if name in ENTROPIES else None)

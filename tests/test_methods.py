"""A method is data: every name that params.yaml allows has an implementation, which gets the options of its row."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from gift_core.config.experiment import PromptsConfig
from gift_core.config.method_options import ConsolidationConfig, LossesConfig, MethodConfig
from gift_core.config.replay_options import ReplayConfig
from gift_core.consolidation import CONSOLIDATIONS, AdaptiveFisher, FrozenFisher, NoConsolidation, StaticFisher, Uniform
from gift_core.losses import LOSSES, align, distill
from gift_core.methods import ENTROPIES, Method, build_method
from gift_core.replay.prompts import STRATEGIES
from gift_core.replay.teach import REPLAYS
from tests.pair_features import LOSS_OPTIONS

Params = dict[str, Any]

# kind: (options, class, F of the second of three weights). The replay losses have the gradients (1, 3, 0) in the first
# iteration and (0, 1, 1) in the second. The teacher's diagonal is (1, 5, 0).
KINDS: dict[str, tuple[dict[str, Any], type, float]] = {
    "none": ({}, NoConsolidation, 0.0),
    "uniform": ({"weight": 0.5}, Uniform, 1.0),
    "static_fisher": ({"weight": 0.5, "scale": "model"}, StaticFisher, 2.5),
    "frozen_fisher": ({"weight": 0.5, "iterations": 1}, FrozenFisher, 2.7),
    "adaptive_fisher": ({"weight": 0.5}, AdaptiveFisher, 1.5),
}


def method_of(params: Params, name: str = "gift", **changes: Any) -> Method:
    """The method `name` of the preset, with some keys changed."""
    config = MethodConfig.model_validate(params["methods"][name] | changes)
    return build_method(config, fisher={"a": torch.tensor([1.0, 5.0, 0.0])})


def names_of(union: Any, key: str) -> set[str]:
    """The values that `key` can have in the sections of a discriminated union."""
    return {get_args(section.model_fields[key].annotation)[0] for section in get_args(get_args(union)[0])}


def test_every_name_that_params_yaml_allows_has_an_implementation() -> None:
    assert list(LossesConfig.model_fields) == list(LOSSES)
    assert names_of(ConsolidationConfig, "kind") == set(CONSOLIDATIONS) == set(KINDS)
    assert names_of(ReplayConfig, "images") == set(REPLAYS)
    assert set(get_args(PromptsConfig.model_fields["strategy"].annotation)) == set(STRATEGIES)


def test_gift_of_the_preset_is_the_papers_gift(mini_params: Params) -> None:
    method = method_of(mini_params)
    found = {name: (loss.weight, loss.function.func, loss.function.keywords) for name, loss in method.losses.items()}
    assert found == {"distill": (1.0, distill, {"temperature": 2.0}), "align": (0.25, align, {"label_smoothing": 0.2})}
    assert isinstance(method.build_consolidation({}), AdaptiveFisher)


@pytest.mark.parametrize("name", LOSS_OPTIONS)
def test_a_loss_gets_the_options_of_its_row(mini_params: Params, name: str) -> None:
    options = dict.fromkeys(LOSS_OPTIONS[name], 0.5)
    loss = method_of(mini_params, losses={name: {"weight": 3.0, **options}}).losses[name]
    assert (loss.weight, loss.function.func, loss.function.keywords) == (3.0, LOSSES[name], options)
    entropy = loss.entropy and (loss.entropy.func, loss.entropy.keywords)
    assert entropy == ((ENTROPIES[name], options) if name in ENTROPIES else None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_consolidation_gets_the_options_of_its_row(mini_params: Params, kind: str) -> None:
    options, expected, importance = KINDS[kind]
    fisher = {"fisher": {"estimator": "per_sample", "accumulate": False}} if kind == "static_fisher" else {}
    replay = {"images": "synthetic", "teacher": "previous", **fisher}
    parameters = {"a": torch.nn.Parameter(torch.zeros(3))}
    method = method_of(mini_params, consolidation={"kind": kind, **options}, replay=replay)
    consolidation = method.build_consolidation(parameters)
    assert type(consolidation) is expected
    consolidation.observe({"a": torch.tensor([1.0, 3.0, 0.0])})
    consolidation.observe({"a": torch.tensor([0.0, 1.0, 1.0])})
    parameters["a"].data[1] += 2.0
    assert consolidation.pull(parameters).item() == pytest.approx(0.5 * importance * 2**2)

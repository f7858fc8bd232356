"""A method is data: which pairs it replays, which terms it adds, what pulls the weights back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gift_core.anchors.table import ANCHORS, Anchor, Parameters
from gift_core.clip.model import Clip
from gift_core.config import MethodConfig
from gift_core.errors import lookup
from gift_core.objectives.encodings import Term
from gift_core.objectives.table import TERMS
from gift_core.replay.pairs import REPLAYS, Replay, ReplaySource


@dataclass(frozen=True)
class WeightedTerm:
    """A replay term and the weight it enters the total with."""

    weight: float
    term: Term


@dataclass(frozen=True)
class Method:
    """The slots the training loop reads.

    `terms` by name, in the order of params.yaml; `build_anchor` takes the trainable parameters at the start of a task.
    """

    terms: Mapping[str, WeightedTerm]
    build_anchor: Callable[[Parameters], Anchor]


def build_method(config: MethodConfig, place: str) -> Method:
    """The method that `config` describes; `place` is its key's path in params.yaml, for the errors."""
    terms = {}
    for name, options in config.terms.items():
        values = options.model_dump()
        weight = values.pop("weight")
        terms[name] = WeightedTerm(weight, lookup(TERMS, name, f"{place}.terms")(**values))
    anchor = config.anchor.model_dump()
    make_anchor = lookup(ANCHORS, anchor.pop("kind"), f"{place}.anchor.kind")
    return Method(terms, lambda parameters: make_anchor(parameters, **anchor))


def load_replay(config: MethodConfig, clip: Clip, source: ReplaySource, place: str) -> Replay:
    """The replay that `config` names, read from `source`."""
    return lookup(REPLAYS, config.replay.images, f"{place}.replay.images")(clip, source)

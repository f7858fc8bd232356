"""The replay terms by the name they have in params.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gift_core.objectives.align import ImageTextAlignment
from gift_core.objectives.distill import ContrastiveDistillation
from gift_core.objectives.encodings import Term

# From a term's options (all but its weight, which the loop applies) to the term.
TERMS: Mapping[str, Callable[..., Term]] = {
    "distill": ContrastiveDistillation,
    "align": ImageTextAlignment,
}

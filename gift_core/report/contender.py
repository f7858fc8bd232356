"""The one method that a question about "the" method means."""

from __future__ import annotations

from gift_core.config.experiment import Config
from gift_core.errors import UserError, lookup
from gift_core.report.run_record import is_plain_finetuning, is_zero_shot


def contender(config: Config, name: str | None) -> str:
    """Returns `name`, or the one method of run.methods that is more than a reference such as finetune or joint.

    Where there are references only, it is the one that learns. UserError for a name that run.methods lacks, and where
    several methods could be meant.
    """
    rows = {method: config.methods[method] for method in config.run.methods}
    if name is not None:
        lookup(rows, name, "--method: run.methods of params.yaml")
        return name
    learning = [method for method, row in rows.items() if not is_zero_shot(row)]
    others = [method for method in learning if not (rows[method].is_reference or is_plain_finetuning(rows[method]))]
    candidates = others or learning
    if len(candidates) != 1:
        found = f"has {len(candidates)} methods that can be meant" if candidates else "has no method that learns"
        raise UserError(f"params.yaml: run.methods {found}. Name one with --method: {', '.join(candidates or rows)}.")
    return candidates[0]

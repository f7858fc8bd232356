"""What a method's row makes of it in a report: the model itself, plain fine-tuning, a reference, or a contender."""

from __future__ import annotations

from gift_core.config.methods import MethodConfig


def is_untouched(method: MethodConfig) -> bool:
    """Whether it never learns: the pre-trained model itself, which every report shows as its zero-shot row."""
    return method.learns == "nothing"


def is_plain(method: MethodConfig) -> bool:
    """Whether it is fine-tuning from task to task with nothing that protects the past."""
    protected = method.losses or method.average or method.merge
    learns_on = method.start == "previous" and method.learns == "task"
    return learns_on and method.replay.reads == "none" and method.consolidation.kind == "none" and not protected

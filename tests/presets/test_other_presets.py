"""All presets that have no file of their own here, so that a new one is rehearsed, too."""

from __future__ import annotations

import pytest

from tests.presets.rehearsal import presets_of, rehearse

pytestmark = pytest.mark.end_to_end
# Instead of all methods. Between them: adapters, tasks seen so far, exemplars, a Fisher estimate, averaged weights.
FEWER_METHODS = {"mini_compare": ("finetune_lora", "joint", "icarl", "ewc", "zscl")}


@pytest.mark.parametrize("preset", presets_of("others"))
def test_every_stage_runs_the_report_opens_and_nothing_is_left_to_run(preset: str) -> None:
    rehearse(preset, methods=FEWER_METHODS.get(preset, ()))

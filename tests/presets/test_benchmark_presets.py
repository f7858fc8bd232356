"""The presets of published benchmarks: MTIL (both orders, and few-shot), X-TAIL, and eight tasks."""

from __future__ import annotations

import pytest

from tests.presets.rehearsal import presets_of, rehearse

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("preset", presets_of("benchmarks"))
def test_every_stage_runs_the_report_opens_and_nothing_is_left_to_run(preset: str) -> None:
    rehearse(preset, methods=() if preset == "mtil_order_1" else ("gift",))

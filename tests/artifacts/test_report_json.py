"""The JSON files of the report: metrics.json and zero_shot.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.report_json import (
    one_decimal,
    read_metrics,
    rounded,
    write_metrics,
)
from tests.artifacts.damage import broken_message

GIFT = {"transfer": 65.123, "avg": 70.0, "last": 80.5, "forgetting": -1.25}


def test_what_is_written_is_read_in_its_order_with_four_decimals(tmp_path: Path) -> None:
    probes = {"mean": 57.0, "loss": 12.7, "by_task": {"faces": 50.0, "arrows": 64.0}}
    path = tmp_path / "metrics.json"
    one_task = {**GIFT, "transfer": None, "forgetting": None, "probes": probes}
    write_metrics(path, {"zero_shot": dict(reversed({**GIFT, "transfer": 65.12344}.items())), "gift": one_task})
    found = read_metrics(path)
    assert found == {"zero_shot": {**GIFT, "transfer": 65.1234}, "gift": one_task}
    assert list(found) == ["zero_shot", "gift"]
    assert list(found["zero_shot"]) == ["transfer", "avg", "last", "forgetting"]


def test_a_mean_is_printed_the_same_however_it_was_computed() -> None:
    accuracies = (0.65, 0.7033333333333334, 0.6366666666666667, 0.66)  # a mean of 66.25
    means = {sum(accuracies) / 4 * 100, sum(100 * value for value in accuracies) / 4, 66.25, 66.25000000000001}
    assert len(means) > 1 and {one_decimal(mean) for mean in means} == {"66.2"}
    for value in (66.254, 66.246, 66.2549, 66.35, 66.3496, -0.04996, -0.05004):  # before and after it was written
        assert one_decimal(value) == one_decimal(rounded(value) or 0.0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**GIFT, "avg": 101.0}, "gift.avg: Input should be less than or equal to 100; found 101.0"),
        ({**GIFT, "more": 1.0}, "gift.more: Extra inputs are not permitted"),
        ({**GIFT, "probes": {"mean": 57.0}}, "gift.probes.loss: Field required"),
    ],
)
def test_unsound_metrics_are_refused(row: Any, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"gift": row}))
    assert expected in broken_message(lambda: read_metrics(path), path, "report")

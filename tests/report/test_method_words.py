"""A method's row in words: every slot that is not empty is said, an empty one is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gift_core.config.methods import MethodConfig
from gift_core.report.method_words import in_words

PLAIN = {"learning_rate": 1e-4, "replay": {"images": "none"}, "losses": {}, "consolidation": {"kind": "none"}}
BEFORE = "(teacher: the model before the task)"
SYNTHETIC = {"images": "synthetic", "teacher": "previous"}
CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "rate 0.0001"),
    ({"learning_rate": None, "learns": "nothing"}, "learns nothing: the pre-trained model"),
    ({"start": "pretrained"}, "rate 0.0001, every step from the pre-trained model"),
    (
        {"start": "pretrained", "learns": "seen"},
        "rate 0.0001, every step from the pre-trained model, on all tasks seen so far",
    ),
    ({"merge": {"kind": "interpolate", "alpha": 0.8}}, "rate 0.0001, keeps 0.8 new + 0.2 old weights"),
    (
        {"average": {"kind": "running_mean", "every": 100}},
        "rate 0.0001, keeps the mean of the weights every 100 steps",
    ),
    ({"consolidation": {"kind": "uniform", "weight": 2.0}}, "rate 0.0001, anchor uniform 2"),
    (
        {"replay": {"images": "task", "teacher": "previous", "texts": {"kind": "classes"}}},
        f"rate 0.0001, the task's images against its class prompts {BEFORE}",
    ),
    (
        {
            "replay": {
                "images": "task",
                "teacher": "previous",
                "texts": {"kind": "random_tokens", "count": 1000, "length": 10},
            }
        },
        f"rate 0.0001, the task's images against 1,000 random texts of 10 tokens {BEFORE}",
    ),
    (
        {"replay": {"images": "exemplars", "teacher": "previous", "memory": 2000}},
        f"rate 0.0001, 2,000 exemplars {BEFORE}",
    ),
    (
        {"replay": {"images": "reference", "teacher": "initial", "folder": "data/0_raw/reference/captions"}},
        "rate 0.0001, pairs of data/0_raw/reference/captions (teacher: the pre-trained model)",
    ),
    (
        {"replay": {"images": "synthetic", "teacher": "mix", "teacher_alpha": 0.5}},
        "rate 0.0001, synthetic pairs (teacher: a mix, 0.5 of the model before the task)",
    ),
    (
        {
            "replay": SYNTHETIC | {"fisher": {"estimator": "per_sample", "accumulate": True}},
            "losses": {"distill": {"weight": 1.0, "temperature": 2.0}},
            "consolidation": {"kind": "static_fisher", "weight": 1.0, "scale": "model"},
        },
        f"rate 0.0001, synthetic pairs {BEFORE}, Fisher information per sample, earlier steps added, distill 1, "
        "anchor static_fisher 1 (scale: model)",
    ),
]


@pytest.mark.parametrize(("slots", "words"), CASES, ids=[words for _, words in CASES])
def test_a_row_is_said_slot_by_slot(slots: dict[str, Any], words: str) -> None:
    assert in_words(MethodConfig.model_validate_json(json.dumps(PLAIN | slots))) == words

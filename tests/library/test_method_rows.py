"""Methods by the names of the paper's preset, and rows of your own with your own losses and consolidations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
import yaml

import gift_core
from gift_core.artifacts.shards import Pair
from gift_core.config.overlays import complete_text
from gift_core.errors import UserError
from gift_core.replay.fisher import fisher_of_pairs
from tests.clip.tiny import tiny_clip
from tests.conftest import PROJECT
from tests.library.given import GIFT, TOKENIZER, finetuned, given_model, given_pairs
from tests.training.tiny_training import pairs as pairs_of_the_pipeline

ROWS = yaml.safe_load(complete_text(PROJECT / "presets" / "mtil_order_1.yaml"))["methods"]
NOT_HERE = {"zero_shot", "joint", "lwf", "lwf_vr", "icarl"}  # tests/library/test_refusals.py says why
WITHOUT_PAIRS = {"finetune_lora", "individual", "finetune", "wise_ft", "l2", "ewc"}


def relations(student_image_MD: torch.Tensor, teacher_image_MD: torch.Tensor, power: int = 2) -> torch.Tensor:
    """A loss of one's own."""
    difference = student_image_MD @ student_image_MD.T - teacher_image_MD @ teacher_image_MD.T
    return (difference.abs() ** power).mean()


@pytest.mark.parametrize("name", sorted(set(ROWS) - NOT_HERE))
def test_every_method_that_learns_from_pairs_trains_by_its_name(name: str) -> None:
    model = given_model()
    fisher = gift_core.estimate_fisher(model, TOKENIZER, given_pairs()) if "fisher" in ROWS[name]["replay"] else None
    row = gift_core.method_row(name)
    if row["consolidation"]["kind"] == "frozen_fisher":
        row["consolidation"]["iterations"] = 1
    if "average" in row:
        row["average"]["every"] = 1
    rows = finetuned(model, method=row, teacher=given_model(seed=7), fisher=fisher, iterations=2)
    assert len(rows) == 2
    assert set(ROWS[name]["losses"] or {}) <= set(rows[0])
    assert (rows[1]["consolidation"] > 0) == (row["consolidation"]["kind"] != "none")
    assert bool(row["losses"]) == (name not in WITHOUT_PAIRS)


def test_the_rate_is_that_of_the_row_unless_one_is_given_and_an_empty_row_is_plain_fine_tuning() -> None:
    assert finetuned(iterations=1)[0]["learning_rate"] == 1e-3
    assert finetuned(iterations=1, learning_rate=1e-4)[0]["learning_rate"] == 1e-4
    (row,) = finetuned(iterations=1, method={}, pairs=None)
    assert row["learning_rate"] == 1e-5 and list(row)[2:] == ["task", "consolidation", "total"]


def test_a_loss_of_ones_own_stands_in_a_row_where_it_is_listed_and_may_have_an_entropy() -> None:
    losses = {"relations": gift_core.WeightedLoss(10.0, relations), **GIFT["losses"]}
    rows = finetuned(method=GIFT | {"losses": losses}, teacher=given_model(seed=7))
    assert list(rows[0])[2:5] == ["task", "relations", "distill"]
    assert rows[0]["total"] == pytest.approx(sum(rows[0][name] for name in ("task", "relations", "distill", "align")))
    assert rows[0]["relations"] > 1e-3
    own = gift_core.WeightedLoss(0.5, gift_core.distill, entropy=gift_core.distill_entropy)
    both = ({"mine": own}, {"distill": {"weight": 0.5, "temperature": 2.0}})
    (row,), (expected,) = (finetuned(method=GIFT | {"losses": alone}, iterations=1) for alone in both)
    assert (row["mine"], row["mine_entropy"]) == (expected["distill"], expected["distill_entropy"])
    assert row["total"] == expected["total"]


def test_a_consolidation_of_ones_own_is_a_function_of_the_parameters() -> None:
    seen: list[str] = []

    def build(parameters: Any) -> gift_core.Consolidation:
        seen.extend(parameters)
        return gift_core.Uniform(parameters, weight=2.0)

    rows = finetuned(method=GIFT | {"consolidation": build})
    assert rows == finetuned(method=GIFT | {"consolidation": {"kind": "uniform", "weight": 2.0}})
    assert "visual.proj" in seen and "logit_scale" not in seen


def test_a_loss_that_cannot_be_fed_is_refused() -> None:
    def no_feature(student_image_MD: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return student_image_MD.sum()

    no_name = r"a loss needs a name like my_loss, without _entropy at its end"
    refused = {
        "mine": (no_feature, r"losses.mine: the parameter images is no feature and has no default. Features: student"),
        "mine_entropy": (relations, no_name),
        "my loss": (relations, no_name),
        "consolidation": (relations, r"losses.consolidation: the log has a column of this name"),
    }
    for name, (loss, message) in refused.items():
        with pytest.raises(UserError, match=message):
            finetuned(method=GIFT | {"losses": {name: gift_core.WeightedLoss(1.0, loss)}})


def test_the_fisher_information_is_that_of_the_pipeline() -> None:
    def pairs(first: int) -> Iterator[Pair]:
        return islice(pairs_of_the_pipeline(), first, None)

    expected = fisher_of_pairs(tiny_clip(), pairs, estimator="per_sample", batch_size=6)
    found = gift_core.estimate_fisher(given_model(), TOKENIZER, given_pairs(), batch_size=6)
    assert set(found) == set(expected)
    for name, diagonal in found.items():
        torch.testing.assert_close(diagonal, torch.from_numpy(expected[name]), rtol=1e-3, atol=1e-7)
    assert float(max(diagonal.max() for diagonal in found.values())) > 1e-3

"""A term pays for the features it reads, and two terms share them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gift_core.losses import PairFeatures, student_logits, teacher_logits
from gift_core.objectives.table import TERMS

ROWS: dict[str, dict[str, Any]] = {
    "distill": {"weight": 1.0, "temperature": 2.0},
    "distill_reverse_kl": {"weight": 1.0, "temperature": 2.0},
    "distill_features": {"weight": 1.0},
    "distill_image_side": {"weight": 1.0, "temperature": 2.0},
    "distill_text_side": {"weight": 1.0, "temperature": 2.0},
    "align": {"weight": 0.25, "label_smoothing": 0.2},
}
READS = {name: ["images", "texts"] for name in ROWS} | {
    "distill_image_side": ["images"],
    "distill_text_side": ["texts"],
}


class Towers:
    """Counts which encoder ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def encodings(self) -> PairFeatures:
        return PairFeatures(
            lambda: self.run("images"),
            lambda: self.run("texts"),
            *[torch.eye(2)] * 2,
            torch.arange(2),
            torch.tensor(3.0),
        )

    def run(self, tower: str) -> torch.Tensor:
        self.ran.append(tower)
        return torch.tensor([[0.6, 0.8], [1.0, 0.0]])


def test_every_term_of_the_table_is_tried_here() -> None:
    assert set(ROWS) == set(TERMS)


@pytest.mark.parametrize("name", ROWS)
def test_a_term_runs_the_encoders_that_it_reads_and_no_other(name: str) -> None:
    towers = Towers()
    loss = TERMS[name].model_validate(ROWS[name]).build()(towers.encodings())
    assert loss.item() > 0
    assert sorted(towers.ran) == READS[name]


def test_nothing_runs_before_a_term_asks() -> None:
    towers = Towers()
    towers.encodings()
    assert towers.ran == []


def test_two_terms_share_what_was_encoded() -> None:
    towers = Towers()
    encodings = towers.encodings()
    for name in ("distill", "align"):
        TERMS[name].model_validate(ROWS[name]).build()(encodings)
    assert sorted(towers.ran) == ["images", "texts"]


def test_similarities_have_a_row_an_image_and_a_column_a_text() -> None:
    images, texts = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    encodings = PairFeatures(lambda: images, lambda: texts, images.flip(0), texts, torch.arange(3), torch.tensor(10.0))
    torch.testing.assert_close(student_logits(encodings), torch.tensor([[10.0, 0.0, 6.0], [0.0, 10.0, 8.0]]))
    torch.testing.assert_close(teacher_logits(encodings), torch.tensor([[0.0, 10.0, 8.0], [10.0, 0.0, 6.0]]))

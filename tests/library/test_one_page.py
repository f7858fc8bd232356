"""examples/gift_in_one_page.py: its loop and the pipeline's training compute the same losses."""

from __future__ import annotations

import runpy
from itertools import cycle, islice
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import gift_core
from tests.clip.tiny import TOKENIZER
from tests.imports import ROOT
from tests.library.given import CLASS_PROMPTS, SMALL, given_loader, given_model, given_pairs

ITERATIONS, RATE = 6, 1e-3


def test_the_loop_on_one_page_has_the_losses_of_the_pipelines_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    page = runpy.run_path(str(ROOT / "examples" / "gift_in_one_page.py"))
    task = list(given_loader())
    images, prompts = zip(*given_pairs(), strict=True)
    pairs = [(torch.stack(images[first : first + 4]), list(prompts[first : first + 4])) for first in (0, 2)]
    loader: DataLoader[Any] = DataLoader(pairs, batch_size=None, collate_fn=list)  # type: ignore[arg-type]

    row = gift_core.method_row("gift") | {"learning_rate": RATE}
    expected = gift_core.finetune(
        given_model(), TOKENIZER, task, CLASS_PROMPTS, pairs=loader, method=row, iterations=ITERATIONS, training=SMALL,
        warmup_iterations=1,
    )  # fmt: skip

    rates = gift_core.learning_rates(ITERATIONS, warmup_iterations=1, peak=RATE)
    replay = [(images, TOKENIZER(prompts)) for images, prompts in pairs]
    found = page["learn"](given_model(), TOKENIZER(CLASS_PROMPTS), cycle(task), cycle(replay), rates)

    names = ("task", "distill", "align", "consolidation")
    for losses, wanted in zip(islice(found, ITERATIONS), expected, strict=True):
        assert {name: losses[name] for name in names} == pytest.approx({name: wanted[name] for name in names}, rel=1e-3)
    assert expected[-1]["consolidation"] > 0

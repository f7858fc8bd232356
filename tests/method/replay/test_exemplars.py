"""Herding against a second implementation, and the memory shared by all classes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gift_core.artifacts.teacher_files import Exemplar
from gift_core.clip.encoding import image_features
from gift_core.clip.images import evaluation_pixels
from gift_core.method.replay.exemplars import choose_exemplars, herding
from tests.clip.tiny import png, tiny_clip
from tests.made import made_task
from tests.method.pair_features import unit_rows


def herding_by_hand(rows: list[list[float]], count: int) -> list[int]:
    """Algorithm 4 without torch."""
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows)):
        best, least = -1, math.inf
        for candidate in range(len(rows)):
            if candidate in chosen:
                continue
            kept = [rows[index] for index in [*chosen, candidate]]
            distance = math.dist(mean, [sum(column) / len(kept) for column in zip(*kept, strict=True)])
            if distance < least:
                best, least = candidate, distance
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_herding_equals_a_plain_loop(seed: int) -> None:
    rows_ND = unit_rows(5 + 3 * seed, seed, width=2 + seed % 4)
    assert herding(rows_ND, 12) == herding_by_hand(rows_ND.double().tolist(), 12)  # of 5 to 17 rows
    assert herding(torch.eye(2).repeat(2, 1), 4) == [0, 1, 2, 3]  # ties go to the lowest index


BIRDS = [0, 1, 0, 1, 0, 0, 1, 0]  # five tits, three wrens


@pytest.fixture
def tasks(tmp_path: Path) -> tuple[Path, Path]:
    """The tasks birds and digits."""
    templates = ("a photo of a {}.", "a {}.")
    birds = made_task(tmp_path / "birds", BIRDS, ("tit", "wren"), templates)
    return birds, made_task(tmp_path / "digits", [0, 1, 2] * 3, ("zero", "one", "two"), templates, first=100)


def choose(task: Path, memory: int, earlier: list[Exemplar] | None = None, batch_size: int = 4) -> list[Exemplar]:
    return choose_exemplars(tiny_clip(), task, memory=memory, earlier=earlier or [], batch_size=batch_size)


def test_images_of_a_class_are_chosen_by_herding_and_have_its_prompt_and_their_rank(tasks: tuple[Path, Path]) -> None:
    clip, chosen = tiny_clip(), choose(tasks[0], memory=4)
    for label in (0, 1):
        images = [png(row) for row, own in enumerate(BIRDS) if own == label]
        features_ND = image_features(clip, evaluation_pixels(clip, images), batch_size=8)
        expected = [images[index] for index in herding_by_hand(features_ND.double().tolist(), 2)]
        assert [each.image for each in chosen if each.label == label] == expected
    assert [(each.key, each.task, each.label, each.class_name, each.prompt, each.rank) for each in chosen] == [
        ("birds-0000-0000", "birds", 0, "tit", "a photo of a tit.", 0),
        ("birds-0000-0001", "birds", 0, "tit", "a photo of a tit.", 1),
        ("birds-0001-0000", "birds", 1, "wren", "a photo of a wren.", 0),
        ("birds-0001-0001", "birds", 1, "wren", "a photo of a wren.", 1),
    ]
    assert choose(tasks[0], memory=4, batch_size=100) == chosen


def test_all_classes_share_the_memory_and_each_keeps_an_image(tasks: tuple[Path, Path]) -> None:
    """That earlier classes keep their first exemplars: test_teach.py."""
    birds, digits = tasks
    assert [each.label for each in choose(birds, memory=10)] == [0] * 5 + [1] * 3  # all three wrens
    assert [each.rank for each in choose(digits, memory=3, earlier=choose(birds, memory=3))] == [0] * 5

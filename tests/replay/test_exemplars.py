"""Herding against a second implementation, and the memory shared by all classes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from gift_core.artifacts.exemplar_files import Exemplar
from gift_core.artifacts.task import TaskInfo, write_task
from gift_core.clip.encoding import image_features
from gift_core.clip.images import evaluation_pixels
from gift_core.replay.exemplars import choose_exemplars, herding
from tests.clip.tiny import png, tiny_clip

# Mean (0.69, 0.47). Squared distances of the rows from it: 0.317, 0.109, 0.029, 0.757, so the nearest are 2, 1, 0, 3.
FOUR_ND = torch.tensor([[1.0, 0.0], [0.96, 0.28], [0.8, 0.6], [0.0, 1.0]])


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


def unit_rows(count: int, size: int, seed: int) -> torch.Tensor:
    rows_ND = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows_ND, dim=1)


def test_the_third_choice_corrects_the_mean_of_the_first_two() -> None:
    # Rows 2 and 1 have the sum (1.76, 0.88). To reach 3 * mean = (2.07, 1.41), the third should be (0.31, 0.53).
    # Row 3 is sqrt(0.317) from that and row 0 sqrt(0.757), although row 0 is nearer to the mean.
    assert herding(FOUR_ND, 4) == [2, 1, 3, 0]


@pytest.mark.parametrize("seed", range(5))
def test_herding_equals_a_plain_loop(seed: int) -> None:
    rows_ND = unit_rows(5 + 3 * seed, 2 + seed % 4, seed)
    assert herding(rows_ND, 12) == herding_by_hand(rows_ND.double().tolist(), 12)  # of 5 to 17 rows


def test_ties_go_to_the_lowest_index() -> None:
    assert herding(torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 2), 4) == [0, 1, 2, 3]


BIRDS = [(png(seed), label) for seed, label in enumerate([0, 1, 0, 1, 0, 0, 1, 0])]  # five tits, three wrens
DIGITS = [(png(100 + seed), seed % 3) for seed in range(9)]


def make_task(folder: Path, samples: Iterable[tuple[bytes, int]], class_names: tuple[str, ...]) -> Path:
    info = TaskInfo(folder.name, class_names, ("a photo of a {}.", "a {}."), "folder")
    train = [(image, "png", label) for image, label in samples]
    write_task(folder, info, train, train[:1], images_per_shard=3)
    return folder


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return make_task(tmp_path / "birds", BIRDS, ("tit", "wren"))


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    return make_task(tmp_path / "digits", DIGITS, ("zero", "one", "two"))


def choose(task: Path, memory: int, earlier: list[Exemplar] | None = None, batch_size: int = 4) -> list[Exemplar]:
    return choose_exemplars(tiny_clip(), task, memory=memory, earlier=earlier or [], batch_size=batch_size)


def test_images_of_a_class_are_chosen_by_herding_their_features(birds: Path) -> None:
    clip = tiny_clip()
    for label in (0, 1):
        images = [image for image, own in BIRDS if own == label]
        features_ND = image_features(clip, evaluation_pixels(clip, images), batch_size=8)
        expected = [images[index] for index in herding_by_hand(features_ND.double().tolist(), 2)]
        assert [each.image for each in choose(birds, memory=4) if each.label == label] == expected


def test_an_exemplar_has_its_class_prompt_and_rank(birds: Path) -> None:
    chosen = choose(birds, memory=4)
    assert [(each.key, each.task, each.label, each.class_name, each.prompt, each.rank) for each in chosen] == [
        ("birds-0000-0000", "birds", 0, "tit", "a photo of a tit.", 0),
        ("birds-0000-0001", "birds", 0, "tit", "a photo of a tit.", 1),
        ("birds-0001-0000", "birds", 1, "wren", "a photo of a wren.", 0),
        ("birds-0001-0001", "birds", 1, "wren", "a photo of a wren.", 1),
    ]


def test_all_classes_share_the_memory_and_earlier_ones_keep_their_first_exemplars(birds: Path, digits: Path) -> None:
    before = choose(birds, memory=10)  # 10 // 2 classes: five tits, and all three wrens
    assert [each.label for each in before] == [0, 0, 0, 0, 0, 1, 1, 1]
    after = choose(digits, memory=10, earlier=before)  # 10 // 5 classes
    assert after[:4] == [each for each in before if each.rank < 2]
    assert [(each.task, each.label, each.rank) for each in after[4:]] == [
        ("digits", label, rank) for label in range(3) for rank in range(2)
    ]


def test_every_class_keeps_one_image_in_a_smaller_memory(birds: Path, digits: Path) -> None:
    chosen = choose(digits, memory=3, earlier=choose(birds, memory=3))
    assert [each.rank for each in chosen] == [0] * 5


def test_the_choice_does_not_depend_on_the_batch_size(birds: Path) -> None:
    assert choose(birds, memory=6, batch_size=3) == choose(birds, memory=6, batch_size=100)

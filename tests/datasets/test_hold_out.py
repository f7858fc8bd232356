"""The validation part: a share of each class of the training images, the same for a seed, without any test image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from gift_core.artifacts.task import index_task, iterate_task
from gift_core.errors import UserError
from gift_core.report.rate_search import hold_out, sample_training_images
from tests.clip.tiny import png
from tests.made import made_task

PER_CLASS = (10, 4, 1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A task whose test tar is garbage: whoever reads it fails."""
    labels = [label for label, count in enumerate(PER_CLASS) for _ in range(count)]
    folder = made_task(tmp_path / "source" / "birds", labels, ("tit", "wren", "owl"))
    for tar in folder.glob("test-*.tar"):
        tar.write_bytes(b"garbage")
    return folder


def test_a_fifth_of_each_class_is_held_out_by_the_seed_and_the_rest_stays(source: Path, tmp_path: Path) -> None:
    parts = []
    for number, seed in enumerate((1, 1, 2)):
        target = tmp_path / str(number) / "birds"
        hold_out(source, target, seed=seed, images_per_shard=4)
        rest, held = (list(iterate_task(target, split)) for split in ("train", "test"))
        assert Counter(label for _, label in held) == {0: 2, 1: 1}  # the only owl stays for training
        assert sorted(rest + held) == sorted(iterate_task(source, "train"))
        parts.append(held)
    assert parts[0] == parts[1] != parts[2]


def test_a_validation_split_of_the_data_set_is_taken_and_all_training_images_stay(source: Path, tmp_path: Path) -> None:
    hold_out(source, tmp_path / "birds", seed=1, images_per_shard=4, validation=[(png(99), "png", 2)])
    assert list(iterate_task(tmp_path / "birds", "train")) == list(iterate_task(source, "train"))
    assert list(iterate_task(tmp_path / "birds", "test")) == [(png(99), 2)]


def test_single_images_of_each_class_cannot_be_held_out(tmp_path: Path) -> None:
    source = made_task(tmp_path / "source" / "birds", [0, 1])
    with pytest.raises(UserError, match="no class has two training images, so none can be held out"):
        hold_out(source, tmp_path / "birds", seed=1, images_per_shard=4)


@pytest.mark.parametrize(("most", "expected"), [(7, {0: 5, 1: 2}), (100, {0: 10, 1: 4, 2: 1})])
def test_a_sample_has_the_shares_of_classes(source: Path, tmp_path: Path, most: int, expected: dict[int, int]) -> None:
    sample_training_images(source, tmp_path / "birds", most=most, seed=1)
    assert Counter(image.label for image in index_task(tmp_path / "birds", "test")) == expected
    assert index_task(tmp_path / "birds", "train") == []

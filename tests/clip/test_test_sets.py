"""Test splits in batches give the same numbers as with all pixels at once, and a limit chooses their images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from gift_core.artifacts.task import TaskInfo, iterate_task, read_task, write_task
from gift_core.clip.encoding import class_features, image_features, predict
from gift_core.clip.images import CacheBudget, evaluation_pixels
from gift_core.clip.task_tests import classify
from gift_core.clip.test_sets import TestSet, choose_images, encode_test_set
from tests.clip.tiny import png, tiny_clip
from tests.made import made_task

IMAGES = 23
BYTES_AN_IMAGE = 3 * 16 * 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_task(
        tmp_path / "shapes", [row % 3 for row in range(IMAGES)], ("one", "two", "three"), ("a {}.", "the {}")
    )


def open_test_set(folder: Path, *, batch_size: int, kept_bytes: int = 0) -> TestSet:
    return TestSet(folder, batch_size=batch_size, cache_budget=CacheBudget(kept_bytes))


@pytest.mark.parametrize("kept_bytes", [0, 9 * BYTES_AN_IMAGE])
def test_features_and_classes_have_the_bits_of_the_whole_split_at_once(folder: Path, kept_bytes: int) -> None:
    clip, info = tiny_clip(), read_task(folder)
    pixels_NCHW = evaluation_pixels(clip, [image for image, _ in iterate_task(folder, "test")])
    at_once_ND = image_features(clip, pixels_NCHW, batch_size=4)
    images = open_test_set(folder, batch_size=4, kept_bytes=kept_bytes)
    for _ in range(2):
        streamed_ND = encode_test_set(clip, images)
        assert torch.equal(streamed_ND, at_once_ND)
    class_KD = class_features(clip, info.class_names, info.templates, batch_size=4)
    assert torch.equal(classify(clip, images)["predicted_N"], predict(at_once_ND, class_KD))


def test_a_damaged_image_is_an_error_and_no_missing_row(tmp_path: Path) -> None:
    info = TaskInfo("shapes", ("one", "two"), ("a {}.",), "made for a test")
    images = [(png(0), "png", 0), (b"no image", "png", 1), (png(1), "png", 0)]
    write_task(tmp_path / "shapes", info, images[:1], images, images_per_shard=10)
    with pytest.raises(OSError, match="cannot identify image"):
        list(open_test_set(tmp_path / "shapes", batch_size=2).batches(tiny_clip()))


@pytest.mark.parametrize(
    ("counts", "most", "expected"),
    [
        ((6, 3, 1), 5, (3, 1, 1)),  # one for the third, 4 of 9 for the others: 2.67 and 1.33
        ((6, 3, 1), 2, (1, 1, 0)),  # 1.2, 0.6 and 0.2: fewer images than classes
        ((97, 1, 1, 1), 4, (1, 1, 1, 1)),
        ((8, 2, 1, 1), 6, (3, 1, 1, 1)),  # without the two smallest 4 of 10: the second has 0.8, so it has one, too
        ((6, 3, 1), 10, (6, 3, 1)),
    ],
)
def test_a_class_has_its_share_and_at_least_one(counts: tuple[int, ...], most: int, expected: tuple[int, ...]) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    for seed in range(5):
        chosen = choose_images(labels, most, seed=seed)
        assert chosen == sorted(set(chosen))
        found = Counter(labels[at] for at in chosen)
        assert tuple(found[label] for label in range(len(counts))) == expected


def test_a_seed_samples_the_images_and_of_too_many_classes_those_that_have_one() -> None:
    labels = [number % 40 for number in range(400)]
    one, again, other = (choose_images(labels, 20, seed=seed) for seed in (0, 0, 1))
    assert one == again != other
    classes = {labels[at] for at in one}
    assert len(classes) == 20 and classes != set(range(20)) and classes != {labels[at] for at in other}

"""What is known about images before they become a task, and which of them are the validation part."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gift_core.artifacts.task import index_task, iterate_task
from gift_core.datasets.dataset import Dataset, Sample
from gift_core.datasets.status import check_images
from gift_core.driving import searches
from gift_core.driving.searches import hold_out, sample_training_images
from gift_core.errors import UserError
from tests.artifacts.damage import encoded
from tests.clip.tiny import png
from tests.made import made_task

PHOTO = (240, 180)


def photo(seed: int) -> Image.Image:
    """A picture with the soft shapes and the grain of a photo."""
    random = np.random.default_rng(seed)
    shapes = Image.fromarray(random.integers(0, 256, (5, 6, 3), np.uint8)).resize(PHOTO, Image.Resampling.BICUBIC)
    grain = random.normal(0, 12, (PHOTO[1], PHOTO[0], 3))
    return Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))


def sample(data: bytes, name: str, label: str = "wren") -> Sample:
    return Sample(label, name, len(data), lambda: data)


def dataset(train: list[Sample], test: list[Sample] | None = None) -> Dataset:
    return Dataset({"wren": "wren", "owl": "owl"}, ("{}",), train, test or [])


def test_nine_encodings_of_a_photo_look_alike_and_other_photos_do_not() -> None:
    """As programs save it: smaller, larger, worse, and turned by its EXIF data."""
    image, exif = photo(0), Image.Exif()
    exif[0x0112] = 6
    small, large = (image.resize((round(PHOTO[0] * scale), round(PHOTO[1] * scale))) for scale in (0.4, 3))
    nine = [encoded(image, "JPEG", quality=quality) for quality in (10, 60, 95)]
    nine += [encoded(image, kind) for kind in ("PNG", "WEBP", "GIF")]
    nine += [encoded(small, "JPEG", quality=75), encoded(large, "JPEG", quality=50)]
    nine.append(encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif))
    others = [sample(encoded(photo(seed), "JPEG"), f"{seed}.jpg") for seed in range(1, 40)]
    again = [sample(data, f"again{number}") for number, data in enumerate(nine)]
    found = check_images(dataset([*others, *again]), "birds")
    assert found.others["same_looks"] == [(f"again{number}", "again0") for number in range(1, 9)]
    assert not any(pairs for kind, pairs in found.others.items() if kind != "same_looks")
    (line,) = found.lines()
    assert line.startswith("8 images that look like another: again1 (again0), again2 (again0), ")
    assert line.endswith(", again5 (again0) and 3 more.")
    sound = "39 images decoded: none is broken, tiny, in both splits, or there twice."
    assert list(check_images(dataset(others), "birds").lines()) == [sound]


def test_an_image_in_both_splits_in_two_classes_copied_or_tiny_is_listed_once() -> None:
    one, two = photo(1), photo(2)
    files = {"a.png": encoded(one, "PNG"), "copy.png": encoded(one, "PNG"), "b.jpg": encoded(two, "JPEG")}
    files |= {"tiny.png": encoded(photo(3).resize((20, 40)), "PNG"), "broken.jpg": b"not at all", "empty.jpg": b""}
    train = [*(sample(data, name) for name, data in files.items()), sample(encoded(one, "JPEG"), "owl.jpg", "owl")]
    test = [sample(encoded(two, "WEBP"), "b.webp"), sample(encoded(photo(4), "PNG"), "c.png")]
    found = check_images(dataset(train, test), "birds")
    assert found.broken == [("broken.jpg", "not an image"), ("empty.jpg", "an empty file")]
    assert found.others == {
        "in_both_splits": [("b.webp", "b.jpg")],
        "in_two_classes": [("owl.jpg", "a.png")],
        "same_bytes": [("copy.png", "a.png")],
        "same_looks": [],
        "tiny": [("tiny.png", "20 x 40")],
    }
    assert next(found.lines()) == "1 image of the test split, also in the training split, or alike: b.webp (b.jpg)."


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
def test_a_sample_has_the_shares_of_classes(
    source: Path, tmp_path: Path, most: int, expected: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "MOST", most)
    sample_training_images(source, tmp_path / "birds", seed=1)
    assert Counter(image.label for image in index_task(tmp_path / "birds", "test")) == expected
    assert index_task(tmp_path / "birds", "train") == []

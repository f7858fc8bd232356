"""The miniature world: deterministic, disjoint, and named without ambiguity."""

import hashlib

import numpy as np
import pytest

from gift_core.config.tasks import MiniTaskConfig
from gift_core.datasets.ingest import ingest
from gift_core.errors import UserError
from gift_core.mini import world
from tests.datasets.folders import INGEST

TASKS = world.TASKS


def digest(pictures):
    return [(hashlib.sha256(image.tobytes()).hexdigest(), label) for image, label in pictures]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_new_names_and_depends_on_its_seed_alone_and_its_test_pictures_are_others(name):
    names = world.mini_task(name).class_names
    classes = len(names)
    assert len(set(names)) == classes >= 2 and not set(names) & set(world.base_vocabulary())
    first, second, other = (list(world.render_task(name, "train", 3 * classes, seed=seed)) for seed in (3, 3, 4))
    assert digest(first) == digest(second) != digest(other)
    assert all(image.size == (32, 32) and image.mode == "RGB" for image, _ in first)
    test = digest(world.render_task(name, "test", 60, seed=3))
    assert not {key for key, _ in digest(first)} & {key for key, _ in test}
    # classes are balanced, and a smaller count gives the first pictures of a larger one
    assert np.bincount([label for _, label in first], minlength=classes).tolist() == [3] * classes
    assert digest(world.render_task(name, "test", 7, seed=3)) == test[:7]


def test_there_are_eleven_tasks():
    assert len(TASKS) == len(set(TASKS)) == 11


def test_handwriting_is_split_once_for_every_seed_and_more_of_it_is_refused():
    train = {key for key, _ in digest(world.render_task("digits", "train", 1240, seed=0))}
    test = {key for key, _ in digest(world.render_task("digits", "test", 500, seed=9))}
    assert not train & test
    assert train == {key for key, _ in digest(world.render_task("digits", "train", 1240, seed=9))}
    with pytest.raises(UserError, match="501 test images requested, but there are only 500"):
        world.render_task("digits", "test", 501, seed=0)
    with pytest.raises(UserError, match="Did you mean 'digits'"):
        world.mini_task("digit")


def test_a_task_with_fewer_images_than_classes_is_refused(tmp_path):
    config = MiniTaskConfig(source="mini", path="data/mini", train_images=60, test_images=25)
    message = r"^params.yaml: tasks.letters.test_images: 25 images are fewer than the 26 classes. Write 26 or more.$"
    with pytest.raises(UserError, match=message):
        ingest("letters", config, tmp_path / "letters", ingest_config=INGEST, seed=1)


def test_scenes_have_two_captions_and_no_scene_is_in_both_splits():
    train, again = (list(world.render_scenes("train", 300, seed=3)) for _ in range(2))
    test = list(world.render_scenes("test", 200, seed=3))
    assert digest(train) == digest(again) and digest(train)[:40] == digest(world.render_scenes("train", 40, seed=3))
    assert not {captions for _, captions in train} & {captions for _, captions in test}
    assert len({captions for _, captions in test}) == 200  # so that one image is right for each
    ink, ground = next(iter(test))[1]
    assert ink.startswith("a photo of a ") and ground.startswith("against ")

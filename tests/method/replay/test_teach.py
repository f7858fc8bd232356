"""Every kind of replay, from the files of the stage teach to batches, over three steps, with the Fisher diagonals."""

from __future__ import annotations

import itertools
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gift_core.artifacts.shards import pair_key, write_manifest
from gift_core.artifacts.teacher_files import (
    FEATURES,
    FISHER,
    SOURCE,
    TEXT_FEATURES,
    Features,
    read_exemplars,
    read_features,
    read_fisher,
)
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_pixels, normalize
from gift_core.clip.model import Clip
from gift_core.config.method_options import MethodConfig
from gift_core.layout import Layout
from gift_core.method.methods import build_method, load_fisher, load_replay
from gift_core.method.pair_features import ReplayBatch
from gift_core.method.replay.fisher import estimate_fisher
from gift_core.method.replay.source import Replay, ReplaySource, Sampling, StepReplay, Teacher
from gift_core.method.replay.teach import REPLAYS, write_teacher_folder
from gift_core.work.publishing import build_folder
from tests.clip.tiny import png, tiny_clip
from tests.tiny_world import CAPTIONS, CLASSES, make_world, moved

STEPS = tuple(CLASSES)
SYNTHETIC = {"images": "synthetic", "teacher": "previous"}
TASK_IMAGES = {"images": "task", "texts": {"kind": "classes"}, "teacher": "previous"}
FOLDER = {"images": "reference", "teacher": "previous", "folder": "mine"}
LOSSES = {"distill_image_side": {"weight": 1.0, "temperature": 2.0}}
CLASS_PROMPTS = {task: [f"a photo of a {name}." for name in names] for task, names in CLASSES.items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_world(tmp_path_factory.mktemp("world"))


@cache
def teachers() -> dict[str, Teacher]:
    """The model before each task. They all differ."""
    return {task: Teacher(moved(tiny_clip(), seed=seed), f"model {seed}") for seed, task in enumerate(STEPS)}


def method(
    replay: dict[str, Any], *, losses: dict[str, Any] = LOSSES, consolidation: dict[str, Any] | None = None
) -> MethodConfig:
    row = {"learning_rate": 1e-3, "replay": replay, "losses": losses}
    return MethodConfig.model_validate({**row, "consolidation": consolidation or {"kind": "none"}})


class Steps:
    """The stage teach for each step of one method, in its own folder."""

    def __init__(self, world: Layout, folder: Path, row: MethodConfig) -> None:
        self.world, self.folder, self.row, self.teachers = world, folder, row, teachers()

    def replay(self, task: str) -> StepReplay[Any]:
        index = STEPS.index(task)
        source = ReplaySource(
            root=self.world.root,
            tasks=tuple(self.world.task(name) for name in STEPS[: index + 1]),
            shards=self.world.shards(task),
            earlier=tuple(map(self.world.shards, reversed(STEPS[:index]))),
            vocabulary=self.world.vocabulary(STEPS[index - 1]) if index else self.world.base_vocabulary(),
            teacher=self.folder / task,
            teacher_before=self.folder / STEPS[index - 1] if index else self.folder / "none",
            key="params.yaml: methods.test",
        )
        return REPLAYS[self.row.replay.images](self.row.replay, source, Sampling(4, 5, ("test", task)))

    def teach(self, task: str) -> None:
        """Writes the teacher's folder of the step."""
        replay = self.replay(task)
        with build_folder(self.folder / task) as folder:
            write_teacher_folder(self.teachers[task], replay, folder, read=replay.hashes())

    def load(self, task: str, clip: Clip) -> Replay | None:
        replay = self.replay(task)
        return load_replay(build_method(self.row), clip, replay)

    def batch(self, task: str) -> ReplayBatch:
        """The first batch for a student that is not the teacher."""
        return self.load(task, tiny_clip(seed=7)).sample(0)


def require_features_of(teacher: Teacher, batch: ReplayBatch, texts: list[str]) -> None:
    """Asserts that the batch has these texts, and the teacher's features, row by row."""
    assert torch.equal(batch.tokens_ML, tokenize(tiny_clip(), texts))
    with torch.no_grad():
        torch.testing.assert_close(batch.teacher_image_MD, encode_images(teacher.clip, batch.images_MCHW))
        torch.testing.assert_close(batch.teacher_text_MD, encode_tokens(teacher.clip, batch.tokens_ML))


def indices_of(batch: ReplayBatch, images: list[bytes]) -> list[int]:
    """For each row of the batch, its index among `images` under the evaluation transform."""
    clip = tiny_clip()
    known = normalize(clip, evaluation_pixels(clip, images))
    return [[torch.equal(row, image) for image in known].index(True) for row in batch.images_MCHW]


def source_json(steps: Steps, task: str) -> dict[str, Any]:
    return json.loads((steps.folder / task / SOURCE).read_text())  # type: ignore[no-any-return]


def test_without_replay_there_are_no_batches_and_source_json_is_constant(world: Layout, tmp_path: Path) -> None:
    steps = Steps(world, tmp_path, method({"images": "none"}, losses={}))
    steps.teachers = {task: Teacher(teacher.clip, "") for task, teacher in teachers().items()}
    for task in STEPS[:2]:
        steps.teach(task)
        assert source_json(steps, task) == {"replay": "none", "model": "", "read": {}, "files": {}}
        assert [file.name for file in (tmp_path / task).iterdir()] == [SOURCE]
    assert steps.replay("birds").load(tiny_clip(), ()) is None


REFERENCE = ("a cup", "a pen", "a cup", "a key", "a map")
VOCABULARY_LOSS = {"distill_vocabulary": {"weight": 1.0, "temperature": 2.0}}


def test_pairs_of_earlier_steps_are_replayed_beside_the_steps_own(world: Layout, tmp_path: Path) -> None:
    images = {task: [png(100 * number + 50 + row) for row in range(7)] for number, task in enumerate(STEPS)}
    for kept, tasks in ((1, ["letters", "digits"]), (5, ["letters", "digits", "birds"])):
        row = method(SYNTHETIC | {"keep_earlier": kept}, losses=VOCABULARY_LOSS)
        steps = Steps(world, tmp_path / str(kept), row)
        steps.teach("birds")
        steps.teach("letters")
        first = read_features(steps.folder / "birds" / FEATURES, Features).keys
        assert first == tuple(pair_key(0, row) for row in range(7))  # there are no earlier steps
        keys = read_features(steps.folder / "letters" / FEATURES, Features).keys
        assert keys == (*first, *(f"{task}/{key}" for task in tasks[1:] for key in first))
        assert sorted(source_json(steps, "letters")["read"]) == sorted(
            ["shards", "vocabulary", *(f"shards {task}" for task in tasks[1:])]
        )
        replay, known = steps.load("letters", tiny_clip(seed=7)), [image for task in tasks for image in images[task]]
        seen: list[int] = []
        for iteration in range(7 * len(tasks) // 4 + 1):  # the first epoch, and a little of the second
            batch = replay.sample(iteration)
            rows = batch.image_ids_M.tolist()
            assert rows == indices_of(batch, known)
            require_features_of(teachers()["letters"], batch, [CAPTIONS[index % 7] for index in rows])
            seen += rows
        assert sorted(seen[: 7 * len(tasks)]) == list(range(7 * len(tasks)))


def write_reference(folder: Path) -> None:
    folder.mkdir()
    for row in range(5):
        (folder / f"{row}.png").write_bytes(png(900 + row))
        (folder / f"{row}.txt").write_text(REFERENCE[row])


def test_reference_pairs_and_their_vocabulary_are_those_of_the_users_folder(tmp_path: Path) -> None:
    write_reference(tmp_path / "mine")
    row = method(FOLDER | {"teacher": "initial"}, losses=VOCABULARY_LOSS)
    steps = Steps(Layout(tmp_path), tmp_path / "teachers", row)
    steps.teach("birds")
    batch = steps.batch("birds")
    rows = indices_of(batch, [png(900 + row) for row in range(5)])
    require_features_of(teachers()["birds"], batch, [REFERENCE[row] for row in rows])
    teacher = teachers()["birds"].clip
    with torch.no_grad():
        expected = encode_tokens(teacher, tokenize(teacher, ["a cup", "a pen", "a key", "a map"]))
    torch.testing.assert_close(batch.vocabulary_text_PD, expected)
    assert torch.equal(batch.vocabulary_text_PD[batch.prompt_ids_M], batch.teacher_text_MD)
    assert torch.equal(batch.all_image_ND[batch.image_ids_M], batch.teacher_image_MD)
    folder = tmp_path / "teachers" / "birds"
    assert read_features(folder / FEATURES, Features).keys == ("0.png", "1.png", "2.png", "3.png", "4.png")
    assert not (folder / TEXT_FEATURES).exists()


STATIC_FISHER = {"kind": "static_fisher", "weight": 1.0, "scale": "model"}
MEMORY = {"images": "exemplars", "memory": 8, "teacher": "previous"}


def test_exemplars_are_of_the_earlier_tasks_with_their_prompts_and_passed_on(world: Layout, tmp_path: Path) -> None:
    steps, texts, kept = Steps(world, tmp_path, method(MEMORY)), list[str](), {}
    for task in STEPS:
        steps.teach(task)
        kept[task] = read_exemplars(tmp_path / task)
    assert kept["birds"] == [] and steps.load("birds", tiny_clip()) is None
    # 8 // 3 classes of birds are two each; 8 // (3 + 2) one each
    assert [(each.task, each.label, each.rank) for each in kept["digits"]] == [
        ("birds", label, rank) for label in range(3) for rank in range(2)
    ]
    assert kept["letters"][:3] == [each for each in kept["digits"] if each.rank == 0]
    assert [(each.task, each.rank) for each in kept["letters"][3:]] == [("digits", 0)] * 2
    for before, task in itertools.pairwise(STEPS):
        texts += CLASS_PROMPTS[before]
        batch = steps.batch(task)
        require_features_of(teachers()[task], batch, texts)  # all by the teacher of this step
        indices_of(batch, [each.image for each in kept[task]])
    shutil.rmtree(tmp_path / "birds")  # only the files of the step before are read
    steps.teach("letters")
    assert read_exemplars(tmp_path / "letters") == kept["letters"]


@pytest.mark.parametrize("accumulate", [False, True])
def test_diagonals_are_of_the_teachers_and_for_consolidation(world: Layout, tmp_path: Path, accumulate: bool) -> None:
    """EWC uses the pairs for the Fisher information only: nothing is replayed. It adds the diagonals of all steps."""
    replay = SYNTHETIC | {"fisher": {"estimator": "per_sample", "accumulate": accumulate}}
    steps, sums = Steps(world, tmp_path, method(replay, losses={}, consolidation=STATIC_FISHER)), {}
    for number, task in enumerate(STEPS):
        steps.teach(task)
        stored, loaded = read_fisher(tmp_path / task / FISHER), load_fisher(steps.row, tmp_path / task)
        assert (stored.estimator, stored.model) == ("per_sample", f"model {number}")
        clip = teachers()[task].clip
        pixels = evaluation_pixels(clip, [png(100 * number + 50 + row) for row in range(7)])
        own = estimate_fisher(clip, pixels, tokenize(clip, list(CAPTIONS)), estimator="per_sample", batch_size=4)
        sums = {name: value + (sums[name] if accumulate and number else 0) for name, value in own.items()}
        assert set(stored.diagonals) == set(loaded) == set(sums)
        for name, values in sums.items():
            np.testing.assert_allclose(stored.diagonals[name], values.numpy(), rtol=1e-3, atol=1e-7, err_msg=name)
            np.testing.assert_array_equal(loaded[name].numpy(), stored.diagonals[name])
        assert steps.load(task, tiny_clip()) is None


# The row, the entries of source.json's `read`, the one that changes, and the file that is changed.
READ: dict[str, tuple[dict[str, Any], list[str], str, str]] = {
    "synthetic": (SYNTHETIC, ["shards", "vocabulary"], "shards", "data/3_shards/digits/manifest.json"),
    "vocabulary": (SYNTHETIC, ["shards", "vocabulary"], "vocabulary", "data/2_prompts/vocabularies/birds.json"),
    "earlier shards": (
        SYNTHETIC | {"keep_earlier": 1},
        ["shards", "shards birds", "vocabulary"],
        "shards birds",
        "data/3_shards/birds/manifest.json",
    ),
    "reference": (FOLDER, ["reference"], "reference", "mine/1.png"),
    "captions": (FOLDER, ["reference"], "reference", "mine/1.txt"),
    "task": (TASK_IMAGES, ["task"], "task", "data/1_tasks/digits/task.json"),
    "exemplars": (MEMORY, ["task birds"], "task birds", "data/1_tasks/birds/task.json"),
}  # fmt: skip


@pytest.mark.parametrize("data", READ)
def test_source_json_changes_with_the_data_that_was_read(tmp_path: Path, data: str) -> None:
    """The stage finetune depends on the teacher's folder, not on the data, so it must see every change there."""
    replay, names, name, file = READ[data]
    world = make_world(tmp_path)
    write_reference(tmp_path / "mine")
    steps = Steps(world, tmp_path / "teachers", method(replay))

    def read_again() -> dict[str, Any]:
        for task in STEPS[:2]:
            steps.teach(task)
        return source_json(steps, "digits")

    first, again = read_again(), read_again()
    assert first == again and first["replay"] == replay["images"] and sorted(first["read"]) == names
    change(tmp_path / file)
    assert read_again()["read"][name] != first["read"][name]
    steps.load("digits", tiny_clip())


def change(file: Path) -> None:
    """Changes the file in a way that its readers accept."""
    if file.name == "manifest.json":
        write_manifest(file.parent, {"another": "run"}, {"count": 7, "sha256": "of the prompts"})
    elif file.suffix == ".json":
        file.write_text(file.read_text() + "\n")
    elif file.suffix == ".txt":
        file.write_text("another caption")
    else:
        file.write_bytes(png(7))

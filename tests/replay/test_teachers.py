"""The three teachers: the model before the task, the pre-trained one, and a mix of their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gift_core.artifacts.model_folder import model_hash
from gift_core.clip.model import save_clip
from gift_core.config.methods import SyntheticReplayConfig
from gift_core.replay.teach import TEACHERS, Teacher, load_teacher
from tests.clip.tiny import tiny_clip
from tests.tiny_world import moved


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models whose weights all differ, but for the frozen temperature."""
    root = tmp_path_factory.mktemp("models")
    save_clip(tiny_clip(), root / "initial", {})
    save_clip(moved(tiny_clip(), seed=1), root / "previous", {})
    return {name: root / name for name in ("initial", "previous")}


def teacher_of(folders: dict[str, Path], name: str, alpha: float | None = None) -> Teacher:
    options = SyntheticReplayConfig(images="synthetic", teacher=name, teacher_alpha=alpha)
    return load_teacher(options, **folders, device=torch.device("cpu"), precision="fp32")


def weights(teacher: Teacher) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in teacher.clip.model.named_parameters()}


def test_every_teacher_is_tried_here() -> None:
    assert set(TEACHERS) == {"previous", "initial", "mix"}


@pytest.mark.parametrize("name", ["previous", "initial"])
def test_a_teacher_is_the_model_it_is_called_after(folders: dict[str, Path], name: str) -> None:
    expected = {"initial": tiny_clip(), "previous": moved(tiny_clip(), seed=1)}[name]
    teacher = teacher_of(folders, name)
    assert teacher.model == model_hash(folders[name])
    for key, value in weights(teacher).items():
        assert torch.equal(value, expected.model.get_parameter(key).detach()), key


def test_a_mix_holds_the_share_alpha_of_the_model_before_the_task(folders: dict[str, Path]) -> None:
    initial, previous, mix = (
        weights(teacher_of(folders, "initial")),
        weights(teacher_of(folders, "previous")),
        weights(teacher_of(folders, "mix", 0.25)),
    )
    for name, value in mix.items():
        torch.testing.assert_close(value, 0.25 * previous[name] + 0.75 * initial[name], rtol=0, atol=1e-6)
    assert not torch.allclose(mix["visual.proj"], 0.75 * previous["visual.proj"] + 0.25 * initial["visual.proj"])


def test_a_mix_keeps_the_temperature_to_the_last_bit(folders: dict[str, Path]) -> None:
    mix, initial = teacher_of(folders, "mix", 0.3), teacher_of(folders, "initial")
    assert torch.equal(mix.clip.scale, initial.clip.scale)


@pytest.mark.parametrize(("alpha", "whole"), [(1.0, "previous"), (0.0, "initial")])
def test_a_mix_of_all_or_nothing_is_one_of_the_two(folders: dict[str, Path], alpha: float, whole: str) -> None:
    expected = weights(teacher_of(folders, whole))
    for name, value in weights(teacher_of(folders, "mix", alpha)).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-7)


def test_a_mix_names_both_models_and_the_share(folders: dict[str, Path]) -> None:
    previous, initial = model_hash(folders["previous"]), model_hash(folders["initial"])
    assert teacher_of(folders, "mix", 0.25).model == f"0.25 * {previous} + the rest * {initial}"


@pytest.mark.parametrize(("name", "alpha"), [("previous", None), ("initial", None), ("mix", 0.5)])
def test_a_teacher_is_in_evaluation_mode(folders: dict[str, Path], name: str, alpha: float | None) -> None:
    assert not teacher_of(folders, name, alpha).clip.model.training

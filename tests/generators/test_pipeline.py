"""A real diffusers pipeline: the miniature one, and every way in which one can fail to load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import TextToImage, load_pipeline

CPU = torch.device("cpu")
PROMPTS = ["a photo of a red snowman.", "a photo of a anchor.", "a photo of a cloud."]


def config(mini_params: dict[str, Any], **changes: Any) -> GeneratorConfig:
    return GeneratorConfig(**{**mini_params["generator"], "steps": 2, **changes})


@pytest.fixture(scope="module")
def text_to_image(project: Path, _mini_params: dict[str, Any]) -> TextToImage:
    return load_pipeline(config(_mini_params, pipeline=str(project / "data/mini/diffusion")), CPU)


def test_a_batch_has_one_rgb_image_a_prompt_of_the_size_asked_for(text_to_image: TextToImage) -> None:
    images = text_to_image.draw(PROMPTS, [1, 2, 3])
    assert [(image.mode, image.size) for image in images] == [("RGB", (32, 32))] * 3


def test_an_image_hangs_on_its_own_seed_and_not_on_its_neighbours(text_to_image: TextToImage) -> None:
    alone = text_to_image.draw(PROMPTS[1:2], [2])[0]
    among_others = text_to_image.draw(PROMPTS, [7, 2, 9])[1]
    other_seed = text_to_image.draw(PROMPTS[1:2], [3])[0]
    difference = np.abs(np.asarray(alone, dtype=int) - np.asarray(among_others, dtype=int))
    assert difference.max() <= 2  # the batch's size moves the last bits of floats
    assert np.abs(np.asarray(alone, dtype=int) - np.asarray(other_seed, dtype=int)).max() > 20


def test_a_scheduler_is_chosen_by_name(project: Path, mini_params: dict[str, Any]) -> None:
    folder = str(project / "data/mini/diffusion")
    chosen = load_pipeline(config(mini_params, pipeline=folder, scheduler="EulerDiscreteScheduler"), CPU)
    assert type(chosen.pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    with pytest.raises(UserError, match=r"generator\.scheduler.*EulerDiscretScheduler.*Did you mean 'EulerDiscrete"):
        load_pipeline(config(mini_params, pipeline=folder, scheduler="EulerDiscretScheduler"), CPU)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data/nowhere", r"generator\.pipeline: there is no folder data/nowhere"),
        ("./nowhere", r"there is no folder \./nowhere"),
        ("nobody/nothing", r"generator\.pipeline: nobody/nothing cannot be loaded .*Check the name and the revision"),
    ],
)
def test_a_pipeline_that_is_not_there_is_named_with_a_remedy(
    mini_params: dict[str, Any], name: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_pipeline(config(mini_params, pipeline=name), CPU)


def test_a_folder_without_model_index_is_no_pipeline(tmp_path: Path, mini_params: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"holds no model_index\.json"):
        load_pipeline(config(mini_params, pipeline=str(tmp_path)), CPU)


def test_a_damaged_folder_is_named(project: Path, tmp_path: Path, mini_params: dict[str, Any]) -> None:
    shutil.copytree(project / "data/mini/diffusion", tmp_path / "broken")
    weights = next((tmp_path / "broken" / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"broken cannot be loaded .*incomplete or damaged"):
        load_pipeline(config(mini_params, pipeline=str(tmp_path / "broken")), CPU)
    (tmp_path / "broken" / "model_index.json").write_text(json.dumps({"_class_name": "NoSuchPipeline"}))
    with pytest.raises(UserError, match=r"broken cannot be loaded"):
        load_pipeline(config(mini_params, pipeline=str(tmp_path / "broken")), CPU)

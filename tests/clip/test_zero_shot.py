"""The zero-shot head: all templates averaged on the unit sphere."""

from __future__ import annotations

import torch

from gift_core.clip.zero_shot import class_features, class_prompts, predict, text_features
from tests.clip.tiny import tiny_clip


def test_a_class_is_the_normalised_mean_of_its_unit_template_features() -> None:
    clip = tiny_clip()
    names, templates = ["cat", "dog"], ["a photo of a {}.", "{} art", "the {}"]
    class_KD = class_features(clip, names, templates, batch_size=4)
    for row, name in enumerate(names):
        prompts_ND = text_features(clip, [template.format(name) for template in templates], batch_size=100)
        mean_D = (prompts_ND[0] + prompts_ND[1] + prompts_ND[2]) / 3
        torch.testing.assert_close(class_KD[row], mean_D / mean_D.norm())


def test_training_prompts_use_the_first_template() -> None:
    assert class_prompts(["cat", "{dog}"], ["a {}.", "no {}"]) == ["a cat.", "a {dog}."]


def test_the_nearest_class_is_predicted() -> None:
    image_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    class_KD = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert predict(image_BD, class_KD).tolist() == [1, 0]

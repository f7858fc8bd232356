"""The two shipped models: other libraries load them, and their quality is that of the model cards."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from gift_core.mini import world
from recipes.mini import measure
from recipes.mini.measure import DATA, MiniClip

CAPTIONS = [
    "a photo of a snowman.",
    "a photo of a red anchor on a blue background.",
    "a photo of a rightwards arrow over leftwards arrow.",
    "A Photo of a striped   texture.",
    "words that the world has never seen, 42!",
    "",
]


@pytest.fixture(scope="module")
def clip():
    return MiniClip()


@pytest.fixture(scope="module")
def pipeline():
    return measure.load_pipeline()


def test_open_clip_transformers_and_the_pipeline_give_the_same_tokens(clip, pipeline):
    expected = clip.tokenize(CAPTIONS)
    assert expected.shape == (len(CAPTIONS), 20)
    for tokenizer in (AutoTokenizer.from_pretrained(DATA / "clip"), pipeline.tokenizer):
        tokens = tokenizer(CAPTIONS, padding="max_length", truncation=True, max_length=20, return_tensors="pt")
        assert torch.equal(tokens.input_ids, expected)


def test_base_symbols_are_recognized_zero_shot_and_tasks_only_in_part(clip):
    assert measure.base_accuracy(clip, 300) >= 0.9
    accuracies = [measure.task_accuracy(clip, name, "train", 100) for name in world.TASKS]
    assert 0.45 <= float(np.mean(accuracies)) <= 0.80
    assert min(accuracies) >= 0.15


def test_clip_picks_the_prompt_of_most_generated_pictures(clip, pipeline):
    prompts = measure.sample_prompts(64, seed=1)
    pictures = measure.generate(pipeline, prompts, steps=10, guidance=3.0, seed=1)
    assert measure.pick_accuracy(clip, pictures, prompts) >= 0.7
    assert pictures[0].size == (32, 32)

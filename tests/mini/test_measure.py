"""The two shipped models: other libraries load them, and their quality is that of the model cards."""

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file
from transformers import AutoTokenizer

from gift_core.mini import world
from recipes.mini import measure
from recipes.mini.measure import DATA, TEMPLATE, MiniClip

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


def test_weights_are_small_half_precision_safetensors():
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) <= 15_000_000
    files = sorted(DATA.rglob("*.safetensors"))
    assert len(files) == 4 and not sorted(DATA.rglob("*.bin"))
    for path in files:
        assert {value.dtype for value in load_file(path).values()} <= {torch.float16, torch.int64}


def test_both_are_loaded_in_full_precision_without_being_told(clip):
    loaded = DiffusionPipeline.from_pretrained(DATA / "diffusion")
    parts = [loaded.text_encoder, loaded.unet, loaded.vae, clip.model]
    assert {parameter.dtype for part in parts for parameter in part.parameters()} == {torch.float32}
    assert type(loaded).__name__ == "StableDiffusionPipeline" and loaded.safety_checker is None
    assert loaded.scheduler.config.prediction_type == "v_prediction"


def test_open_clip_transformers_and_the_pipeline_give_the_same_tokens(clip, pipeline):
    expected = clip.tokenize(CAPTIONS)
    assert expected.shape == (len(CAPTIONS), 20)
    for tokenizer in (AutoTokenizer.from_pretrained(DATA / "clip"), pipeline.tokenizer):
        tokens = tokenizer(CAPTIONS, padding="max_length", truncation=True, max_length=20, return_tensors="pt")
        assert torch.equal(tokens.input_ids, expected)


def test_no_prompt_of_the_world_is_cut_off(clip):
    prompts = [TEMPLATE.format(name) for name in world.base_vocabulary()]
    for name in world.task_names():
        task = world.mini_task(name)
        prompts += [template.format(word) for template in task.templates for word in task.class_names]
    tokens = clip.tokenize(prompts, context_length=60)
    assert int(tokens.argmax(dim=1).max()) < 20


def test_the_text_encoder_of_the_pipeline_is_clips_text_tower(clip, pipeline):
    tokens = clip.tokenize(CAPTIONS)
    model = clip.model
    with torch.no_grad():
        hidden = model.token_embedding(tokens) + model.positional_embedding
        hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask))
        theirs = pipeline.text_encoder(tokens).last_hidden_state
        feature = hidden[torch.arange(len(tokens)), tokens.argmax(1)] @ model.text_projection
        torch.testing.assert_close(feature, model.encode_text(tokens), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs, hidden, rtol=1e-4, atol=1e-4)


def test_base_symbols_are_recognized_zero_shot_and_tasks_only_in_part(clip):
    assert measure.base_accuracy(clip, 300) >= 0.9
    accuracies = [measure.task_accuracy(clip, name, "train", 100) for name in world.task_names()]
    assert 0.45 <= float(np.mean(accuracies)) <= 0.80
    assert min(accuracies) >= 0.15


def test_clip_picks_the_prompt_of_most_generated_pictures(clip, pipeline):
    prompts = measure.sample_prompts(64, seed=1)
    pictures = measure.generate(pipeline, prompts, steps=10, guidance=3.0, seed=1)
    assert measure.pick_accuracy(clip, pictures, prompts) >= 0.7
    assert pictures[0].size == (32, 32)

"""Settings of generator and prompts that contradict each other, and files that the pipeline would not watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gift_core.config import load_config
from gift_core.errors import UserError

Params = dict[str, Any]
MEMORY = {"vae_slicing": True, "vae_tiling": False, "offload": "model", "attention": None}
GATES = {
    "judge": {"name": "ViT-B-32", "pretrained": "openai"},
    "min_clip_score": 0.2,
    "max_similarity": None,
    "max_redraws": 5,
}


@pytest.mark.parametrize(
    ("section", "changes", "expected"),
    [
        ("generator", {"negative_prompt": "blurry", "guidance": 1.0},
         "generator.negative_prompt: 'blurry' has no effect at guidance 1.0"),
        ("generator", {"scheduler": "DPMSolverSDEScheduler"},
         "generator.scheduler: DPMSolverSDEScheduler draws noise that does not follow the images' seeds"),
        ("generator", {"memory": MEMORY},
         "generator.memory.offload: model, but run.device is cpu, where all is already"),
        ("generator", {"gates": {**GATES, "min_clip_score": None}},
         "generator.gates: neither min_clip_score nor max_similarity is set"),
        ("generator", {"gates": {**GATES, "judge": {"name": "local-dir:models/judge", "pretrained": None}}},
         "generator.gates.judge.name: models/judge lies outside data/0_raw/generators/"),
        ("generator", {"gates": {**GATES, "min_clip_score": 1.5}}, "generator.gates.min_clip_score"),
        ("generator", {"negative_prompt": {"text": "blurry", "true_guidance": 1.0}},
         "generator.negative_prompt.true_guidance: should be more than 1"),
        ("generator", {"negative_prompt": {"text": "blurry"}}, "generator.negative_prompt.true_guidance: missing"),
        ("generator", {"negative_prompt": 3}, "generator.negative_prompt: should be a text"),
        ("prompts", {"strategy": "captions"},
         "prompts.captions: strategy captions needs a file. Write captions: data/0_raw/prompts/captions.csv."),
        ("prompts", {"captions": "data/0_raw/prompts/mine.csv"},
         "prompts.captions: data/0_raw/prompts/mine.csv is not read by strategy class_template"),
        ("prompts", {"strategy": "captions", "captions": "mine.csv"},
         "prompts.captions: mine.csv lies outside data/0_raw/prompts/, where the pipeline watches for changes. Move"),
        ("prompts", {"strategy": "captions", "captions": "data/0_raw/prompts/../mine.csv"},
         "prompts.captions: data/0_raw/prompts/../mine.csv lies outside data/0_raw/prompts/"),
        ("prompts", {"base_vocabulary": "lists/words.txt"},
         "prompts.base_vocabulary: lists/words.txt lies outside data/0_raw/prompts/, where the pipeline watches"),
    ],
)  # fmt: skip
def test_a_contradiction_is_named_with_its_place(
    section: str, changes: Params, expected: str, mini_params: Params, write_params: Callable[[Params], Path]
) -> None:
    mini_params["run"]["device"] = "cpu"
    mini_params[section] |= changes
    with pytest.raises(UserError) as caught:
        load_config(write_params(mini_params))
    assert f"params.yaml: {expected}" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("generator", {"negative_prompt": {"text": "blurry", "true_guidance": 2.0}, "guidance": 0.0}),
        ("generator", {"gates": GATES}),
        ("generator", {"gates": {**GATES, "judge": {"name": "local-dir:data/0_raw/generators/j", "pretrained": None}}}),
        ("generator", {"memory": {**MEMORY, "offload": "none"}}),
        ("prompts", {"strategy": "captions", "captions": "data/0_raw/prompts/mine.csv"}),
        ("prompts", {"strategy": "all_templates", "base_vocabulary": "data/0_raw/prompts/words.txt"}),
    ],
)
def test_what_agrees_is_taken(
    section: str, changes: Params, mini_params: Params, write_params: Callable[[Params], Path]
) -> None:
    mini_params["run"]["device"] = "cpu"
    mini_params[section] |= changes
    load_config(write_params(mini_params))

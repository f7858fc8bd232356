"""Settings of generator and prompts that contradict each other, and files outside the watched folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gift_core.config.loading import load_config
from gift_core.errors import UserError

Params = dict[str, Any]
MEMORY = {"vae_slicing": True, "vae_tiling": False, "offload": "model", "attention": None}
FILTERS = {
    "scorer": {"name": "ViT-B-32", "pretrained": "openai"}, "min_clip_score": 0.2, "max_similarity": None,
    "max_redraws": 5,
}  # fmt: skip
OWN_SCORER = {"name": "local-dir:data/0_raw/generators/j", "pretrained": None}


@pytest.mark.parametrize(
    ("section", "changes", "expected"),
    [
        ("generator", {"negative_prompt": "blurry", "guidance": 1.0},
         "generator.negative_prompt: 'blurry' has no effect with guidance 1.0"),
        ("generator", {"scheduler": "DPMSolverSDEScheduler"},
         "generator.scheduler: the noise of DPMSolverSDEScheduler does not follow the images' seeds"),
        ("generator", {"memory": MEMORY},
         "generator.memory.offload: model moves parts to the CPU, but run.device is cpu already"),
        ("generator", {"filters": {**FILTERS, "min_clip_score": None}},
         "generator.filters: neither min_clip_score nor max_similarity is set"),
        ("generator", {"filters": {**FILTERS, "scorer": {"name": "local-dir:models/scorer", "pretrained": None}}},
         "generator.filters.scorer.name: models/scorer is outside data/0_raw/generators/"),
        ("generator", {"negative_prompt": {"text": "blurry", "true_guidance": 1.0}},
         "generator.negative_prompt.true_guidance: should be more than 1"),
        ("prompts", {"strategy": "captions"},
         "prompts.captions: strategy captions needs a file. Write captions: data/0_raw/prompts/captions.csv."),
        ("prompts", {"captions": "data/0_raw/prompts/mine.csv"},
         "prompts.captions: data/0_raw/prompts/mine.csv has no effect with strategy class_template"),
        ("prompts", {"strategy": "captions", "captions": "data/0_raw/prompts/../mine.csv"},
         "prompts.captions: data/0_raw/prompts/../mine.csv is outside data/0_raw/prompts/"),
        ("prompts", {"base_vocabulary": "lists/words.txt"},
         "prompts.base_vocabulary: lists/words.txt is outside data/0_raw/prompts/, which the pipeline watches"),
    ],
)  # fmt: skip
def test_the_error_for_a_contradiction_has_its_key(
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
        ("generator", {"filters": FILTERS}),
        ("generator", {"filters": {**FILTERS, "scorer": OWN_SCORER}}),
        ("generator", {"memory": {**MEMORY, "offload": "none"}}),
        ("prompts", {"strategy": "captions", "captions": "data/0_raw/prompts/mine.csv"}),
        ("prompts", {"strategy": "all_templates", "base_vocabulary": "data/0_raw/prompts/words.txt"}),
    ],
)  # fmt: skip
def test_what_agrees_is_taken(
    section: str, changes: Params, mini_params: Params, write_params: Callable[[Params], Path]
) -> None:
    mini_params["run"]["device"] = "cpu"
    mini_params[section] |= changes
    load_config(write_params(mini_params))

"""Every number of the paper's set-up, read back from the presets of its benchmarks."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import yaml

from gift_core.config.presets import complete_text, find_presets
from gift_core.report.published.mtil import ORDER_1, ORDER_2, Benchmark
from tests.imports import ROOT

FULL_SIZE = sorted(name for name in find_presets(ROOT) if not name.startswith("mini"))
BENCHMARKS = [name for name in FULL_SIZE if name not in ("bring_your_own", "laptop")]
# What the paper says (GIFT: "replay", "one training step", "training", "compared with"), and the key of the preset.
NUMBERS: list[tuple[str, str, Any]] = [
    ("setting: CLIP ViT-B/16, OpenAI's weights", "model.name", "ViT-B-16"),
    ("setting: CLIP ViT-B/16, OpenAI's weights", "model.pretrained", "openai"),
    ("training: fp32", "model.precision", "fp32"),
    ("replay: Stable Diffusion v1.5", "generator.pipeline", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    ("replay: the commit of these weights", "generator.revision", "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"),
    ("replay: fp16", "generator.dtype", "float16"),
    ("replay: 512 px", "generator.size", 512),
    ("replay: 50 denoising steps", "generator.steps", 50),
    ("replay: DPM-Solver++ only with fewer steps", "generator.scheduler", None),
    ("replay: guidance 7.5", "generator.guidance", 7.5),
    ("replay: no negative prompt", "generator.negative_prompt", ""),
    ("replay: no quality filters", "generator.filters", None),
    ("replay: ImageNet-1k's class names", "prompts.base_vocabulary", "imagenet"),
    ("replay: the template", "prompts.base_template", "a photo of a {}."),
    ("replay: 1,000 images per task", "prompts.images_per_task", 1000),
    ("replay: each class in its first template", "prompts.strategy", "class_template"),
    ("training: 1,000 steps a task", "training.iterations", 1000),
    ("training: 100 of them to warm up", "training.warmup_iterations", 100),
    ("training: B = 64 images", "training.batch_size", 64),
    ("training: M = 64 pairs", "training.replay_batch_size", 64),
    ("training: AdamW's betas", "training.betas", [0.9, 0.999]),
    ("training: no weight decay", "training.weight_decay", 0.0),
    ("task loss: label smoothing 0.2", "training.label_smoothing", 0.2),
    ("training: crops of 0.9 to 1.0", "training.crop_scale", [0.9, 1.0]),
    ("training: seed 42", "seed", 42),
    ("training: rate 1e-5", "methods.gift.learning_rate", 1e-5),
    ("distillation: the model before the task", "methods.gift.replay", {"images": "synthetic", "teacher": "previous"}),
    ("distillation: weight 1, T = 2", "methods.gift.losses.distill", {"weight": 1.0, "temperature": 2.0}),
    ("alignment: weight 0.25, smoothing 0.2", "methods.gift.losses.align", {"weight": 0.25, "label_smoothing": 0.2}),
    ("consolidation: adaptive, weight 1", "methods.gift.consolidation", {"kind": "adaptive_fisher", "weight": 1.0}),
    ("WiSE-FT: 0.8 new, 0.2 start", "methods.wise_ft.merge", {"kind": "interpolate", "alpha": 0.8}),
    ("ZSCL: the pre-trained teacher", "methods.zscl.replay", {"images": "synthetic", "teacher": "initial"}),
    ("ZSCL: L2 of weight 1", "methods.zscl.consolidation", {"kind": "uniform", "weight": 1.0}),
    ("ZSCL: the mean every 100 steps", "methods.zscl.average", {"kind": "running_mean", "every": 100}),
    ("LwF: T = 2", "methods.lwf.losses.distill_image_side", {"weight": 1.0, "temperature": 2.0}),
    ("LwF-VR: T = 2", "methods.lwf_vr.losses.distill_image_side", {"weight": 1.0, "temperature": 2.0}),
    ("LwF-VR: 1,000 texts", "methods.lwf_vr.replay.texts", {"kind": "random_tokens", "count": 1000, "length": 10}),
]


@cache
def read(preset: str) -> dict[str, Any]:
    return yaml.safe_load(complete_text(ROOT / "presets" / f"{preset}.yaml"))  # type: ignore[no-any-return]


def at(preset: str, path: str) -> Any:
    value = read(preset)
    for key in path.split("."):
        value = value[key]
    return value


@pytest.mark.parametrize(("sentence", "path", "value"), NUMBERS, ids=[f"{row[1]}" for row in NUMBERS])
def test_every_benchmark_has_the_papers_number(sentence: str, path: str, value: Any) -> None:
    assert {preset: at(preset, path) for preset in BENCHMARKS} == dict.fromkeys(BENCHMARKS, value), sentence


@pytest.mark.parametrize(
    ("preset", "order", "fast"), [("mtil_order_1", ORDER_1, {"aircraft", "mnist"}), ("mtil_order_2", ORDER_2, set())]
)
def test_mtil_has_the_papers_order_and_rates(preset: str, order: Benchmark, fast: set[str]) -> None:
    """In order I aircraft and mnist have 5e-5, all others 1e-5."""
    names, steps = order.data_sets, at(preset, "sequence")
    assert len(names) == 11 and [step["task"] for step in steps] == list(names)
    assert [step["after"] for step in steps] == ["../pretrained", *names[:-1]]
    assert [step["learning_rate_factor"] for step in steps] == [5.0 if name in fast else 1.0 for name in names]
    assert at(preset, "tasks") == {
        name: {"source": "catalogue", "dataset": name, "path": f"data/0_raw/{name}"} for name in names
    }


@pytest.mark.parametrize(("preset", "shots"), [("xtail_16_shot", 16), ("xtail_full", None)])
def test_xtail_is_order_1_without_cifar100_with_one_template_among_all_classes(preset: str, shots: int | None) -> None:
    """RAIL's texts of MNIST are `a photo of a number: "0 - zero".`. Flowers has ten training images of a class."""
    names = [name for name in ORDER_1.data_sets if name != "cifar100"]
    assert [step["task"] for step in at(preset, "sequence")] == names == list(at(preset, "tasks"))
    assert [step["after"] for step in at(preset, "sequence")] == ["../pretrained", *names[:-1]]
    templates = {name: ["a photo of a {}."] for name in names} | {"mnist": ['a photo of a number: "{}".']}
    assert {name: row["templates"] for name, row in at(preset, "tasks").items()} == templates
    fewer = {"flowers": 10} if shots else {}
    assert {name: row.get("shots") for name, row in at(preset, "tasks").items()} == dict.fromkeys(names, shots) | fewer
    assert at(preset, "evaluation.protocol") == "cross_domain"


@pytest.mark.parametrize("preset", BENCHMARKS)
def test_a_benchmark_has_all_methods_and_one_rate_for_all_that_learn(preset: str) -> None:
    methods = at(preset, "methods")
    assert list(methods) == list(at("mini_compare", "run.methods"))
    other = {name: methods[name]["learning_rate"] for name in ("gift_vocabulary", "finetune_lora", "gift_lora")}
    assert other == {"gift_vocabulary": 2e-5, "finetune_lora": 1e-4, "gift_lora": 1e-4}  # not of the paper
    rates = {name: row["learning_rate"] for name, row in methods.items() if name not in other}
    assert set(rates.values()) == {None, 1e-5}
    assert [name for name, row in methods.items() if row["learning_rate"] is None] == ["zero_shot"]

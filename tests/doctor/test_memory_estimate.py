"""Operations and bytes against torch's own counter, published numbers and measured peaks; advice for small devices."""

from __future__ import annotations

import copy
import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from gift_core.config.experiment import GeneratorConfig, TrainingConfig
from gift_core.config.method_options import MethodConfig
from gift_core.doctor.counting import count_clip, count_pipeline, empty_clip
from gift_core.doctor.inputs import known_models
from gift_core.doctor.memory_estimate import (
    CONTEXT,
    MARGIN,
    DeviceMemory,
    check_memory,
    check_training,
    generation_bytes,
    training_bytes,
)
from tests.doctor.projects import make_project, own_project
from tests.imports import ROOT
from tests.method.training.tiny_training import gift, method_config, training

GIGA, GIB = 10**9, 2**30
VIT_B_16: dict[str, Any] = open_clip.get_model_config("ViT-B-16-quickgelu")
V1 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
# Activations in GiB of benchmarks/memory.md, 2026-11-24: four layers, 24 images, 24 pairs, 100 classes.
ACTIVATIONS: list[tuple[dict[str, Any], str, float]] = [
    ({}, "fp32", 1.414),
    ({"micro_batch_size": 16}, "fp32", 0.888),
    ({"micro_batch_size": 8}, "fp32", 0.500),
    ({"gradient_checkpointing": True}, "fp32", 0.580),
    ({"micro_batch_size": 8, "gradient_checkpointing": True}, "fp32", 0.410),
    ({}, "amp_bf16", 0.911),
    ({"micro_batch_size": 8, "gradient_checkpointing": True}, "amp_bf16", 0.439),
]
# Peaks in GiB of benchmarks/smoke_full.md, 2026-11-24: ViT-B/16, 4 images, 2 pairs. Python replaces the CONTEXT.
PEAKS = [(gift(), 100, 5.87), (gift(), 10, 4.94), (method_config(), 100, 4.08), (method_config(), 10, 3.21)]


def estimate(
    config: dict[str, Any], row: MethodConfig, settings: TrainingConfig, *, classes: int, precision: str = "fp32"
) -> int:
    count = count_clip(config, checkpointing=settings.gradient_checkpointing)
    return training_bytes(count, row, settings, trained=count.weights, precision=precision, texts=classes)


def test_the_peaks_of_the_benchmarks_are_met_within_the_margin() -> None:
    config = copy.deepcopy(open_clip.get_model_config("ViT-B-16"))  # with GELU
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 4
    for changes, precision, activations in ACTIVATIONS:
        settings = training(batch_size=24, replay_batch_size=24, **changes)
        found = estimate(config, gift(), settings, classes=100, precision=precision) - CONTEXT
        measured = activations * GIB + 6 * 4 * count_clip(config).weights
        assert 1 / MARGIN < found / measured < MARGIN, (changes, precision)
    for row, classes, peak in PEAKS:
        found = estimate(VIT_B_16, row, training(batch_size=4, replay_batch_size=2), classes=classes)
        assert 1 / MARGIN < found / (peak * GIB) < MARGIN, (row, classes)
    # of the same run: Stable Diffusion v1.5 without its safety checker, one image
    parts = {name: part for name, part in known_models()[V1].items() if name != "safety_checker"}
    for peak in (5.71, 6.18):
        found = generation_bytes(count_pipeline(parts, 512), generator(dtype="float32", batch_size=1))
        assert 1 / MARGIN < found / (peak * GIB) < MARGIN


def test_the_table_in_the_docs_is_what_the_formula_gives() -> None:
    columns: list[tuple[dict[str, Any], str]] = [({}, "fp32"), ({}, "amp_bf16")]
    savers = ({"micro_batch_size": 64}, {"micro_batch_size": 16}, {"gradient_checkpointing": True})
    columns += [(changes, "fp32") for changes in savers]
    lines = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("| classes | fp32"))
    for line in takewhile(lambda line: line.startswith("|"), lines[start + 2 :]):
        classes, *sizes = [field.strip() for field in line.strip("|").split("|")]
        for (changes, precision), size in zip(columns, sizes, strict=True):
            settings = training(batch_size=64, replay_batch_size=64, **changes)
            found = estimate(VIT_B_16, gift(), settings, classes=int(classes.split()[0]), precision=precision)
            assert f"{MARGIN * found / 1e9:.1f}" == size, line


def generator(**changes: Any) -> GeneratorConfig:
    row = yaml.safe_load((ROOT / "presets" / "mtil_order_1.yaml").read_text(encoding="utf-8"))["generator"]
    return GeneratorConfig.model_validate({**row, **changes})


def gpu(size: int) -> DeviceMemory:
    return DeviceMemory("a GPU", size * GIGA, size * GIGA)


def test_generation_is_checked_where_a_method_needs_pairs_and_training_with_a_remedy(tmp_path: Path) -> None:
    found = list(check_memory(make_project(tmp_path, "mtil_order_1", run__device="cpu")))
    assert [finding.subject for finding in found] == ["training memory", "generation memory", "device"]
    assert (found[-1].mark, "float16" in found[-1].found) == ("warn", True)
    run = {"methods": ["finetune"], "device": "cpu"}
    found = list(check_memory(make_project(tmp_path, "mtil_order_1", run=run)))
    assert [finding.subject for finding in found] == ["training memory"]
    assert "for 100 classes (my_task)" in check_training(own_project(tmp_path), gpu(40)).found  # not known yet
    pairs = {"source": "pairs", "path": "data/0_raw/pets", "vocabulary_captions": 200, "on_bad_image": "refuse"}
    project = own_project(tmp_path, tasks={"my_task": pairs})
    assert f"for {project.config.training.batch_size} captions (my_task)" in check_training(project, gpu(40)).found
    # on a small GPU the largest micro-batch that fits is suggested
    project = make_project(tmp_path, "mtil_order_1")
    fits, small = check_training(project, gpu(40)), check_training(project, gpu(16))
    assert (fits.mark, "397 classes (sun397)" in fits.found) == ("ok", True)
    assert small.mark == "fail" and small.remedy.startswith("Write training.micro_batch_size: 32 (up to ")
    assert check_training(make_project(tmp_path, "mtil_order_1", training__micro_batch_size=32), gpu(16)).mark == "ok"


MINI: dict[str, Any] = json.loads((ROOT / "data/mini/clip/open_clip_config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "config", [MINI["model_cfg"], open_clip.get_model_config("ViT-B-32")], ids=["mini", "ViT-B-32"]
)
def test_the_operations_of_a_clip_are_what_torch_counts(config: dict[str, Any]) -> None:
    found, model = count_clip(config), empty_clip(config).model
    side, context = config["vision_cfg"]["image_size"], config["text_cfg"].get("context_length", 77)
    inputs = {"image": torch.empty(1, 3, side, side), "text": torch.zeros(1, context, dtype=torch.long)}
    operations = {}
    for name, value in inputs.items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            getattr(model, f"encode_{name}")(value.to("meta"))
        operations[name] = counter.get_total_flops()
    assert (found.image, found.token * context) == pytest.approx(tuple(operations.values()))
    assert found.weights == sum(each.numel() for each in model.parameters())


def test_a_published_pipeline_has_its_parameters_and_operations_before_it_is_here() -> None:
    found = count_pipeline(known_models()[V1], 512)
    files = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480, "safety_checker": 303_981_588}
    assert found.parameters == files
    assert (found.denoiser / 1e12, found.decoder / 1e12) == pytest.approx((0.803, 2.515), rel=1e-3)
    small = count_pipeline(known_models()["IDKiro/sdxs-512-dreamshaper"], 512).parameters
    assert small == {"unet": 315_746_244, "vae": 2_445_063, "text_encoder": 123_060_480}

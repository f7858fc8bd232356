"""Estimates of memory: by hand, and against measured peaks of the real training loop and of a real decoder."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP

from gift_core.clip.batches import TaskBatch
from gift_core.clip.model import Clip
from gift_core.config.experiment import TrainingConfig
from gift_core.config.generator import GeneratorConfig
from gift_core.config.methods import MethodConfig
from gift_core.doctor.architecture import Architecture, Tower, read_architecture
from gift_core.doctor.memory import CONTEXT, drawing_bytes, graph_bytes, learning_bytes
from gift_core.methods import build_method
from gift_core.replay.pairs import ReplayBatch
from gift_core.training.loop import finetune
from tests.doctor.profiling import peak_bytes
from tests.imports import ROOT

# 1,000 parameters a tower and one; 100 numbers kept of an image, 10 of a text.
TOY = Architecture(
    vision=Tower(layers=0, width=1, tokens=1, hidden=4, front=100, others=1000),
    text=Tower(layers=0, width=1, tokens=1, hidden=4, front=10, others=1000),
    quick_gelu=False,
)
SMALL: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 2000, "width": 64, "heads": 2, "layers": 4},
}
IMAGES, PAIRS, CLASSES = 16, 16, 40


def method(**slots: Any) -> MethodConfig:
    row = {"learning_rate": 1e-5, "replay": {"images": "none"}, "losses": {}, "consolidation": {"kind": "none"}}
    return MethodConfig.model_validate({**row, **slots})


def gift() -> MethodConfig:
    return method(
        replay={"images": "synthetic", "teacher": "previous"},
        losses={"distill": {"weight": 1.0, "temperature": 2.0}, "align": {"weight": 0.25, "label_smoothing": 0.2}},
        consolidation={"kind": "adaptive_fisher", "weight": 1.0},
    )


def training(**changes: Any) -> TrainingConfig:
    numbers = {
        "iterations": 2, "batch_size": IMAGES, "replay_batch_size": PAIRS, "warmup_iterations": 1, "weight_decay": 0.0,
        "betas": (0.9, 0.999), "label_smoothing": 0.2, "crop_scale": (0.9, 1.0), "micro_batch_size": None,
        "gradient_checkpointing": False,
    }  # fmt: skip
    return TrainingConfig(**{**numbers, **changes})


class Batches:
    """Random images of 40 classes, and random pairs with random teachers."""

    class_prompts = tuple(f"a {number}." for number in range(CLASSES))

    def draw(self, step: int) -> TaskBatch:
        return TaskBatch(torch.randn(IMAGES, 3, 64, 64), torch.randint(0, CLASSES, (IMAGES,)), slice(0, CLASSES))


class Pairs:
    def draw(self, step: int) -> tuple[ReplayBatch, ...]:
        features_MD = torch.nn.functional.normalize(torch.randn(PAIRS, 64), dim=-1)
        tokens_ML = torch.randint(0, 1900, (PAIRS, 32))
        return (ReplayBatch(torch.randn(PAIRS, 3, 64, 64), tokens_ML, torch.arange(PAIRS), features_MD, features_MD),)


def tokenizer(texts: list[str]) -> torch.Tensor:
    return torch.arange(len(texts) * 32).reshape(-1, 32) % 1900


@pytest.mark.parametrize("changes", [{}, {"micro_batch_size": 4}, {"gradient_checkpointing": True}])
def test_learning_takes_about_what_it_is_measured_to_take(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = CLIP(**SMALL)
    clip = Clip(model, tokenizer, {"model_cfg": SMALL, "preprocess_cfg": {}}, "fp32")  # type: ignore[arg-type]
    settings = training(**changes)
    measured = peak_bytes(
        lambda: finetune(
            clip,
            Batches(),
            method=build_method(gift()),
            replay=Pairs(),
            training=settings,
            learning_rate=1e-5,
            steps=2,
            seed=1,
        )
    )
    measured += 4 * sum(parameter.numel() for parameter in model.parameters())
    architecture = read_architecture(SMALL)
    assert architecture is not None
    estimate = learning_bytes(architecture, gift(), settings, precision="fp32", classes=CLASSES) - CONTEXT
    assert 0.9 < estimate / measured < 1.3


def test_vit_b_16_at_the_papers_batch_by_hand() -> None:
    config = {**open_clip.get_model_config("ViT-B-16"), "quick_gelu": True}
    architecture = read_architecture(config)
    assert architecture is not None
    image = 12 * 197 * 768 * 20 + 3 * 224**2 + 3 * 197 * 768
    text = 12 * 77 * 512 * 20 + 2 * 77 * 512
    settings = training(batch_size=64, replay_batch_size=64)
    assert graph_bytes(architecture, settings, bytes_each=4, texts=397) == 4 * (64 * image + 397 * text)
    whole = learning_bytes(architecture, gift(), settings, precision="fp32", classes=397)
    # value, gradient, two moments, start and importance of 149.6 million parameters; the graph of 64 images, 397 texts
    assert whole == CONTEXT + 4 * 6 * 149_620_737 + 4 * (64 * image + 397 * text)


def test_the_table_of_the_docs_is_what_the_formulas_give() -> None:
    architecture = read_architecture({**open_clip.get_model_config("ViT-B-16"), "quick_gelu": True})
    assert architecture is not None
    columns: list[tuple[dict[str, Any], str]] = [
        ({}, "fp32"),
        ({}, "amp_bf16"),
        ({"micro_batch_size": 64}, "fp32"),
        ({"micro_batch_size": 16}, "fp32"),
        ({"gradient_checkpointing": True}, "fp32"),
        ({"micro_batch_size": 16, "gradient_checkpointing": True}, "fp32"),
    ]
    lines = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("| classes | fp32"))
    for line in lines[start + 2 : start + 5]:
        classes, *sizes = [cell.strip() for cell in line.strip("|").split("|")]
        for (changes, precision), size in zip(columns, sizes, strict=True):
            settings = training(batch_size=64, replay_batch_size=64, **changes)
            found = learning_bytes(architecture, gift(), settings, precision=precision, classes=int(classes.split()[0]))
            assert f"{found / 1e9:.1f}" == size, line


@pytest.mark.parametrize(
    ("slots", "copies"),
    [
        ({}, 4),
        ({"consolidation": {"kind": "uniform", "weight": 1.0}}, 5),
        ({"merge": {"kind": "interpolate", "alpha": 0.8}}, 5),
        ({"average": {"kind": "running_mean", "every": 1}, "merge": {"kind": "interpolate", "alpha": 0.8}}, 6),
    ],
)
def test_what_a_method_holds_of_every_parameter(slots: dict[str, Any], copies: int) -> None:
    found = learning_bytes(TOY, method(**slots), training(), precision="fp32", classes=2)
    pulled = 2 * 4 * 2001 if "consolidation" in slots else 0
    graph = 4 * (IMAGES * 100 + PAIRS * 10)  # the pairs': the task has 2 prompts alone
    assert found == CONTEXT + 4 * copies * 2001 + max(graph, pulled)


def test_half_precision_halves_the_graph_and_copies_the_weights() -> None:
    single, half = (
        learning_bytes(TOY, method(), training(), precision=precision, classes=1000)
        for precision in ("fp32", "amp_bf16")
    )
    graph = 4 * (IMAGES * 100 + 1000 * 10)
    assert single - half == graph // 2 - 2 * 2001


def test_micro_batches_hold_one_part_of_one_tower_at_once() -> None:
    assert graph_bytes(TOY, training(micro_batch_size=4), bytes_each=4, texts=1000) == 4 * 4 * 100
    assert graph_bytes(TOY, training(micro_batch_size=99), bytes_each=4, texts=1000) == 4 * IMAGES * 100


def generator(**changes: Any) -> GeneratorConfig:
    import yaml

    row = yaml.safe_load((ROOT / "presets" / "mtil_order_1.yaml").read_text(encoding="utf-8"))["generator"]
    return GeneratorConfig.model_validate({**row, **changes})


PARTS = {"unet": 1000, "vae": 10}


def test_drawing_by_hand() -> None:
    pixels = 512**2
    assert drawing_bytes(PARTS, generator()) == CONTEXT + 2 * (1010 + pixels * (768 * 10 + 256))
    assert drawing_bytes(PARTS, generator(dtype="float32", batch_size=1)) == CONTEXT + 4 * (1010 + pixels * 1024)


@pytest.mark.parametrize(
    ("savers", "held"),
    [
        ({"vae_slicing": True}, 1010 + 512**2 * 320 * 10),
        ({"vae_slicing": True, "offload": "model"}, 1000 + 512**2 * 320 * 10),
        ({"offload": "sequential"}, 512**2 * (768 * 10 + 256)),
    ],
)
def test_memory_savers_take_their_part_away(savers: dict[str, Any], held: int) -> None:
    memory = {"vae_slicing": False, "vae_tiling": False, "offload": "none", "attention": None, **savers}
    assert drawing_bytes(PARTS, generator(memory=memory)) == CONTEXT + 2 * held


def test_tiling_bounds_the_decoder_at_512_px() -> None:
    memory = {"vae_slicing": True, "vae_tiling": True, "offload": "none", "attention": None}
    found = drawing_bytes(PARTS, generator(memory=memory, size=1024, batch_size=1))
    assert found == CONTEXT + 2 * (1010 + max(512**2 * 1024, 1024**2 * 320))


def test_decoding_takes_about_what_a_real_decoder_takes() -> None:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    decoder = AutoencoderKL(  # Stable Diffusion's, with random weights
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
    ).eval()
    latents_BCHW = torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        measured = peak_bytes(lambda: decoder.decode(latents_BCHW))
    row = generator(size=64, batch_size=2, dtype="float32")
    assert drawing_bytes({"vae": 0}, row) - CONTEXT == pytest.approx(measured, rel=0.25)

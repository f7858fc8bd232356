"""The size of a CLIP from its configuration, against the model itself."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP

from gift_core.doctor.architecture import Tower, read_architecture

SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 128, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 1000, "width": 64, "heads": 2, "layers": 3},
}


def saved_numbers(model: CLIP, *, kind: str, count: int) -> float:
    """What autograd keeps of `count` items beside the parameters, each storage once, in float32 numbers an item."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, int] = {}
    kept = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)  # alive, so that no place in memory is counted for two
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if kind == "vision":
            model.encode_image(torch.zeros(count, 3, 64, 64))
        else:
            model.encode_text(torch.zeros(count, 20, dtype=torch.long))
    return sum(storages.values()) / 4 / count


def test_vit_b_16_has_149_620_737_parameters() -> None:
    architecture = read_architecture(open_clip.get_model_config("ViT-B-16"))
    assert architecture is not None
    assert architecture.parameters == 149_620_737


@pytest.mark.parametrize(
    "name", ["ViT-B-16", "ViT-B-32-quickgelu", "ViT-L-14-336", "ViT-H-14", "ViT-g-14", "ViT-S-16-alt"]
)
def test_parameters_are_those_of_the_model_itself(name: str) -> None:
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        model = CLIP(**config)
    architecture = read_architecture(config)
    assert architecture is not None
    assert architecture.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_towers_of_a_configuration_are_told_apart() -> None:
    architecture = read_architecture(open_clip.get_model_config("ViT-B-16"))
    assert architecture is not None
    assert (architecture.vision.tokens, architecture.vision.width, architecture.vision.hidden) == (197, 768, 3072)
    assert (architecture.text.tokens, architecture.text.width, architecture.text.hidden) == (77, 512, 2048)


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16-SigLIP", "coca_ViT-B-32", "EVA02-B-16", "roberta-ViT-B-32"])
def test_towers_that_are_no_plain_transformers_have_no_estimate(name: str) -> None:
    assert read_architecture(open_clip.get_model_config(name)) is None


def test_what_is_kept_by_hand() -> None:
    tower = Tower(layers=2, width=10, tokens=3, hidden=40, front=7, others=0)
    # a layer: 8 * 3 * 10 + 2 * 3 * 40 = 480; QuickGELU 3 * 40 more
    assert tower.kept(quick_gelu=False, checkpointing=False) == 2 * 480 + 7
    assert tower.kept(quick_gelu=True, checkpointing=False) == 2 * 600 + 7
    assert tower.kept(quick_gelu=False, checkpointing=True) == 2 * 30 + 480 + 7


@pytest.mark.parametrize("kind", ["vision", "text"])
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_what_is_kept_is_what_autograd_saves(kind: str, quick_gelu: bool) -> None:
    torch.manual_seed(0)
    model = CLIP(**SMALL, quick_gelu=quick_gelu).train()
    architecture = read_architecture({**SMALL, "quick_gelu": quick_gelu})
    assert architecture is not None
    tower = {"vision": architecture.vision, "text": architecture.text}[kind]
    measured = saved_numbers(model, kind=kind, count=8)
    assert tower.kept(quick_gelu=architecture.quick_gelu, checkpointing=False) == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("kind", ["vision", "text"])
def test_a_layer_more_keeps_what_the_formula_says(kind: str) -> None:
    sizes = []
    for layers in (1, 2):
        section = {**SMALL[f"{kind}_cfg"], "layers": layers}
        sizes.append(saved_numbers(CLIP(**{**SMALL, f"{kind}_cfg": section}).train(), kind=kind, count=8))
    architecture = read_architecture(SMALL)
    assert architecture is not None
    tower = {"vision": architecture.vision, "text": architecture.text}[kind]
    layer = (tower.kept(quick_gelu=False, checkpointing=False) - tower.front) / tower.layers
    assert sizes[1] - sizes[0] == pytest.approx(layer, rel=0.01)

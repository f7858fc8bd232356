"""Fisher information by layer: parameter names of three architectures, means computed by hand, and the heatmap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gift_core.artifacts.fisher_file import Fisher, write_fisher
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.fisher_heatmap import (
    fisher_heatmaps,
    layer_of,
    ratio_text,
    read_profile,
    relative_means,
    shade_of_ratio,
)
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from tests.report.run_folder import MATRICES, write_run

NAMES = {
    "visual.transformer.resblocks.3.mlp.c_fc.weight": ("image", "block 4"),
    "visual.conv1.weight": ("image", "embedding"),
    "visual.class_embedding": ("image", "embedding"),
    "visual.ln_pre.weight": ("image", "embedding"),
    "visual.ln_post.weight": ("image", "projection"),
    "visual.proj": ("image", "projection"),
    "visual.layer2.0.conv1.weight": ("image", "stage 2 block 1"),
    "visual.layer4.2.downsample.0.weight": ("image", "stage 4 block 3"),
    "visual.attnpool.c_proj.weight": ("image", "projection"),
    "visual.trunk.blocks.11.attn.proj.weight": ("image", "block 12"),
    "transformer.resblocks.1.attn.out_proj.weight": ("text", "block 2"),
    "token_embedding.weight": ("text", "embedding"),
    "positional_embedding": ("text", "embedding"),
    "ln_final.bias": ("text", "projection"),
    "text_projection": ("text", "projection"),
    "text.transformer.resblocks.0.ln_1.weight": ("text", "block 1"),
    "logit_scale": ("both", "temperature"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_belongs_to_a_tower_and_a_layer(name: str) -> None:
    layer = layer_of(name)
    assert (layer.tower, layer.name) == NAMES[name]


def test_layers_sort_by_their_position_in_the_forward_pass() -> None:
    blocks = [f"visual.transformer.resblocks.{block}.ln_1.weight" for block in (10, 2)]
    parameters = ["text_projection", "token_embedding.weight", "visual.proj", *blocks, "visual.conv1.weight"]
    names = [f"{layer.tower} {layer.name}" for layer in sorted(map(layer_of, parameters))]
    assert names == [
        "image embedding", "image block 3", "image block 11", "image projection", "text embedding", "text projection",
    ]  # fmt: skip


def test_relative_means_compare_a_layer_with_the_model(tmp_path: Path) -> None:
    diagonals = {  # mean of all: (4 x 100 + 2 x 4 + 4 x 1) / 10 = 41.2
        "visual.layer1.0.conv1.weight": np.full((2, 2), 100, np.float32),
        "visual.layer2.0.conv1.weight": np.full(2, 4, np.float32),
        "visual.layer2.0.bn1.weight": np.full(4, 1, np.float32),
    }
    write_fisher(tmp_path / "fisher.safetensors", Fisher(diagonals, "batch", "0" * 64))
    profile = read_profile(tmp_path / "fisher.safetensors")
    assert profile.estimator == "batch"
    assert list(relative_means(profile).values()) == pytest.approx([100 / 41.2, (8 + 4) / 6 / 41.2])


def test_without_any_information_every_layer_equals_the_mean(tmp_path: Path) -> None:
    write_fisher(tmp_path / "f.safetensors", Fisher({"visual.proj": np.zeros(3, np.float32)}, "batch", "0" * 64))
    assert list(relative_means(read_profile(tmp_path / "f.safetensors")).values()) == [1.0]


def test_ratios_are_shaded_by_their_factor_and_printed_in_few_characters() -> None:
    assert [shade_of_ratio(ratio) for ratio in (1, 1.4, 1.6, 1 / 4, 100, 0)] == [
        "same", "same", "gain1", "loss2", "gain5", "loss5",
    ]  # fmt: skip
    assert [ratio_text(ratio) for ratio in (123.4, 9.96, 1.23, 0.996, 0.123, 0.001, 0)] == [
        "123", "10", "1.2", "1.0", "0.12", "<.01", "0",
    ]  # fmt: skip


def test_methods_that_need_fisher_information_have_a_heatmap(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={**MATRICES, "ewc": MATRICES["gift"]})
    record = read_run(Layout(tmp_path), config)
    [heatmap] = fisher_heatmaps(record.fisher, record.tasks)
    rows = [(row.tower, row.name, row.cells[0].text, row.share) for row in heatmap.rows]
    assert (heatmap.title, heatmap.estimator) == ("EWC", "per sample")
    assert rows == [
        ("image", "stage 2 block 1", "2.5", "99.0%"),  # 100 / 40.4; 400 of 404
        ("text", "block 2", "0.02", "1.0%"),
        ("", "projection", "0", "0.0%"),
    ]
    assert 'id="fisher"' in render_page(record)


def test_without_such_a_method_the_page_has_no_fisher_section(tmp_path: Path) -> None:
    record = read_run(Layout(tmp_path), write_run(tmp_path))
    assert 'id="fisher"' not in render_page(record)


def test_a_missing_or_damaged_fisher_file_is_refused_with_its_stage(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"fisher\.safetensors.*dvc repro teach"):
        read_profile(tmp_path / "fisher.safetensors")
    (tmp_path / "fisher.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ContractError, match=r"fisher\.safetensors.*dvc repro teach"):
        read_profile(tmp_path / "fisher.safetensors")

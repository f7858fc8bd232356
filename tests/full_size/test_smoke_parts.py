"""The parts of the smoke run: its experiment, its random models, what it measures and what it records."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pandas as pd
import pytest
import torch
from diffusers import DiffusionPipeline

from benchmarks.experiment import read_experiment
from benchmarks.smoke.experiment import PRESET, TASKS, smoke_experiment
from benchmarks.smoke.measure import Measured, read_notes, write_shim
from benchmarks.smoke.random_models import parameter_count, part_sizes, require_models
from benchmarks.smoke.record import GIB, heading, table_of, write_record
from benchmarks.smoke.sizes import CUT, FULL, VIT_B_16
from benchmarks.smoke.work import TERA, parts
from benchmarks.smoke_full import PAGE
from benchmarks.time_estimate import of_stages
from gift_core.config.loading import load_config

HELD = 300 * 2**20
STAGE = f"""
import sys, time
held = bytearray({HELD})
held[::4096] = b"1" * len(held[::4096])
del held
time.sleep(0.5)
print(sys.argv[1:])
sys.exit(3 if "fail" in sys.argv else 0)
"""


def test_the_experiment_has_the_presets_methods_tasks_and_size(write_params: Callable[[dict[str, Any]], Path]) -> None:
    preset, smoke = read_experiment(PRESET), smoke_experiment(FULL, ["gift"])
    assert load_config(write_params(smoke)).run.methods == ("gift",)
    assert smoke["methods"]["gift"] == preset["methods"]["gift"]
    assert all(smoke["tasks"][task] == preset["tasks"][task] | {"allow_partial": True} for task in TASKS)
    assert smoke["generator"]["size"] == preset["generator"]["size"] == 512


def test_every_full_part_has_the_parameters_of_the_published_weights() -> None:
    assert open_clip.get_model_config("ViT-B-16-quickgelu") == VIT_B_16
    found = part_sizes(FULL)
    millions = {name: round(count / 1e6, 1) for name, count in found.items()}
    assert millions == {"clip": 149.6, "unet": 859.5, "vae": 83.7, "text_encoder": 123.1}
    assert found == FULL.parameters


@pytest.mark.slow
def test_the_full_models_are_written_and_open(tmp_path: Path) -> None:
    clip, diffusion = require_models(tmp_path, FULL)
    assert parameter_count(open_clip.create_model(f"local-dir:{clip}")) == FULL.parameters["clip"]
    pipeline = DiffusionPipeline.from_pretrained(diffusion, dtype=torch.float16)
    for name in ("unet", "vae", "text_encoder"):
        assert parameter_count(getattr(pipeline, name)) == FULL.parameters[name]


def test_the_operations_of_the_image_tower_are_its_patches_layers_and_projection() -> None:
    tokens, width, layers = 14 * 14 + 1, 128, 2
    layer = 12 * tokens * width**2 + 2 * tokens**2 * width  # projections and MLP; scores and mixing of attention
    products = 14 * 14 * (3 * 16**2) * width + layers * layer + width * 64
    assert parts(CUT)["image tower"] == pytest.approx(2 * products / TERA, rel=1e-6)


def test_a_stage_is_noted_with_its_arguments_and_what_it_took_and_ends_as_before(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__main__.py").write_text(STAGE)
    write_shim(tmp_path / "bin", tmp_path / "notes.jsonl")
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}

    def run(*arguments: str) -> tuple[int, str]:
        words = ["/bin/sh", "-c", '"$@"', "sh", "python", *arguments]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout.strip()

    assert run("-m", "stages", "finetune", "gift", "mnist") == (0, "['finetune', 'gift', 'mnist']")
    assert run("-m", "stages", "fail")[0] == 3
    assert run("-c", "print('it runs')") == (0, "it runs")
    notes = read_notes(tmp_path / "notes.jsonl")
    assert [note.stage for note in notes] == ["finetune gift mnist", "fail"]
    assert HELD < notes[0].peak_bytes < HELD + 100 * 2**20  # also memory that was given back
    assert notes[0].seconds >= notes[0].cpu_seconds + 0.5 - 0.1  # it sleeps


STAGES = [
    Measured(("synthesize", "mnist"), seconds=90.0, cpu_seconds=170.0, peak_bytes=7 * GIB),
    Measured(("report",), seconds=0.94, cpu_seconds=0.9, peak_bytes=GIB // 2),
]


def test_the_record_holds_what_ran_and_what_was_checked(tmp_path: Path) -> None:
    table = table_of(STAGES, {})
    head = heading(PAGE, table, threads=2, load=0.25)
    write_record(tmp_path / "smoke_full", table, ["mnist: 10 classes"], head=head)
    page = (tmp_path / "smoke_full.md").read_text(encoding="utf-8")
    assert "threads: 2, load 0.2 at the start" in page and "2 stages, 1.5 minutes" in page and "at most 7.0 GiB" in page
    assert page.rstrip().endswith("- mnist: 10 classes")
    assert pd.read_csv(tmp_path / "smoke_full.csv").stage.tolist() == ["synthesize mnist", "report"]


def test_what_the_estimate_is_compared_with_leaves_out_the_imports_of_stages_with_a_model() -> None:
    found = of_stages(table_of(STAGES, {}), imports=10.0)
    assert {stage: round(seconds, 6) for stage, seconds in found.items()} == {"synthesize": 160.0, "other stages": 0.9}

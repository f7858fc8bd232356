"""`gift release METHOD --choose` on a tiny real model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from gift_core.artifacts.model_folder import PROVENANCE, WEIGHTS
from gift_core.clip import task_tests
from gift_core.clip.images import CacheBudget
from gift_core.clip.test_sets import TestSet
from gift_core.config.loading import load_config
from gift_core.driving.searches import sample_training_images
from gift_core.use.release import release_model
from tests.clip.tiny import png
from tests.clone import content
from tests.stages.experiment import invoke
from tests.tiny_world import CLASSES, TinyExperiment, load, make_world, write_pair_task


@pytest.mark.parametrize("captions", [False, True])
def test_choosing_alpha_tests_and_writes_one(tmp_path: Path, mini_params: dict[str, Any], captions: bool) -> None:
    """Low-rank adapters; `digits` has a validation split, `birds` may have captions, and `letters` is the probe."""
    row, method = mini_params["methods"]["finetune_lora"], "finetune_lora"
    experiment = TinyExperiment(make_world(tmp_path), mini_params, method, row, iterations=4)
    layout, params = experiment.layout, experiment.params
    text = params.read_text(encoding="utf-8").replace("probes: []", "probes:\n  - letters")
    params.write_text(text.replace("- task: letters\n  after: digits\n  learning_rate_factor: 1.0\n", ""))
    for number, name in enumerate(CLASSES["digits"] * 4):
        file = tmp_path / "data/0_raw/digits" / ("train", "test", "val", "val")[number // 2] / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(number))
    if captions:
        write_pair_task(layout.task("birds"))
    trained, pretrained = experiment.run("digits"), load(layout.pretrained())
    before, words = content(tmp_path / "data"), ("release", method)
    found = json.loads(
        experiment.gift(*words, "--choose", "--alphas", "0", "--alphas", "0.5", "--json", "--write").stdout
    )
    said = experiment.gift(*words, "--choose", "--alphas", "0.5").output
    assert content(tmp_path / "data") == before
    assert "The images of birds are training images, which favors alpha 1" in said
    assert found["images"] == {"birds": "training", "digits": "validation"}
    assert [each["alpha"] for each in found["alphas"]] == [0, 0.5, 1]
    sample_training_images(layout.task("letters"), tmp_path / "letters", seed=load_config(params).seed)
    probe = TestSet(tmp_path / "letters", batch_size=4, cache_budget=CacheBudget(0))  # no test image chooses
    for clip, of_alpha in ((pretrained, found["alphas"][0]), (trained, found["alphas"][2])):
        assert of_alpha["probes"]["letters"] == pytest.approx(100 * task_tests.test_of(clip, probe).top1, abs=1e-3)
    assert "</svg>" in (tmp_path / "exports" / f"over_alpha_{method}.svg").read_text(encoding="utf-8")
    release = load_config(params).methods[method].release
    assert release is not None and release.alpha == found["proposed"]
    assert f"alpha {found['proposed']:g}" in experiment.gift(*words).output
    assert re.search(r"Images tested: birds \d+, digits \d+, letters \d+\.\n", said)
    assert "\nletters: too few images to choose alpha by" in said
    folder = layout.released(method, "digits")
    release_model(layout.model(method, "digits"), layout.pretrained(), folder, release)
    assert {*load_file(folder / WEIGHTS)} == {*load_file(layout.pretrained() / WEIGHTS)}  # the adapters are merged
    for file in (WEIGHTS, PROVENANCE):
        shutil.copy(folder / file, layout.pretrained() / file)  # as after a new model.name
    refused = experiment.gift(*words, "--choose", expect=1).output
    assert "was trained from another model than the one in" in refused and "Run: dvc repro" in refused


def test_methods_without_a_last_model_and_wrong_alphas_are_refused(mini_project: Path) -> None:
    def said(*words: str) -> str:
        return " ".join(invoke("release", *words, "--root", mini_project).output.split())

    for method, what in {"zero_shot": "it learns nothing", "individual": "each task has a model of its own"}.items():
        assert f"methods.{method}: {what}, so there is no alpha to choose" in said(method)
    assert "1.5 should be less than or equal to 1" in said("gift", "--alphas", "0.5", "1.5")
    assert "release of gift: as it was trained" in said("gift")
    assert "dvc repro" in said("gift", "--choose")

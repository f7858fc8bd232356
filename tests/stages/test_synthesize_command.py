"""write_vocabulary, write_prompts and synthesize with a custom vocabulary, captions and filters, also with --root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.shards import read_manifest
from tests.imports import ROOT
from tests.stages.experiment import Experiment, tiny

RAW = Path("data/0_raw")
SCORER = {"name": f"local-dir:{RAW / 'generators/scorer'}", "pretrained": None}


def test_vocabulary_captions_and_filters_are_used(
    tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = tiny(mini_params)
    params["training"]["replay_batch_size"] = 4
    words, captions = RAW / "prompts/words.txt", RAW / "prompts/captions.csv"
    params["prompts"] |= {"images_per_task": 6, "base_vocabulary": str(words)}
    params["prompts"] |= {"strategy": "captions", "captions": str(captions)}
    filters = {"scorer": SCORER, "min_clip_score": -1.0, "max_similarity": 1.0, "max_redraws": 3}
    params["generator"] |= {"filters": filters}
    for folder in ("prompts", "generators"):
        (RAW / folder).mkdir(parents=True)
    words.write_text("red star\nblue heart\n")
    captions.write_text("class_name,caption\nred star,a red star at night\nred stra,a typo\n")
    (RAW / "generators/scorer").symlink_to(ROOT / "data/mini/clip")
    experiment = Experiment(tmp_path, params)
    experiment.succeed("write_vocabulary")
    experiment.succeed("ingest", "games")
    said = " ".join(experiment.succeed("write_prompts", "games").split())
    prompts = read_prompts(experiment.layout.prompts("games"))
    captioned = int((prompts.prompt == "a red star at night").sum())
    assert 0 < captioned < 6
    assert set(prompts.prompt) == {"a red star at night", "a photo of a blue heart."}
    assert f"6 prompts from 2 class names (1 sources), {captioned} from captions" in said
    assert "captions of 1 class are not used, because no task until now has that name: " in said
    assert "'red stra' (Did you mean 'red star'?)" in said
    said = experiment.succeed("synthesize", "games")
    assert "0 black images generated again, 0 low CLIP score, 0 near-duplicate" in said
    assert read_manifest(experiment.layout.shards("games")).rejected == {"clip_score": 0, "duplicate": 0}

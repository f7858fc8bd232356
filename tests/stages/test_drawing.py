"""write_vocabulary, write_prompts and synthesize with a user's own words and captions, and with quality gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gift_core.artifacts.pool import read_pool
from gift_core.artifacts.prompts import read_prompts
from gift_core.artifacts.shards import read_manifest
from gift_core.artifacts.task import read_task
from gift_core.layout import Layout
from stages.__main__ import app

TASKS = ("games", "arrows")


class Drawing:
    """A project folder in which stages run on paths relative to it."""

    def __init__(self, folder: Path, params: dict[str, Any]) -> None:
        self.folder, self.params, self.layout = folder, params, Layout(Path())

    def run(self, *command: str) -> str:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params, sort_keys=False))
        result = CliRunner().invoke(app, list(command))
        assert "Traceback" not in result.output
        assert result.exit_code in (0, 1), repr(result.exception)
        return " ".join(result.output.split())


@pytest.fixture
def drawing(tmp_path: Path, mini_params: dict[str, Any], project: Path, monkeypatch: pytest.MonkeyPatch) -> Drawing:
    """A project of two tasks, as a user's own: paths are relative to it."""
    row = {"source": "mini", "path": "gift_core/mini/symbols.csv", "train_images": 40, "test_images": 35}
    mini_params["tasks"] = {task: dict(row) for task in TASKS}
    befores = zip(TASKS, ("../pretrained", *TASKS), strict=False)
    mini_params["sequence"] = [{"task": task, "after": after, "learning_rate_factor": 1.0} for task, after in befores]
    mini_params["training"]["replay_batch_size"] = 4
    mini_params["prompts"] |= {"images_per_task": 6, "base_vocabulary": "data/0_raw/prompts/words.txt"}
    mini_params["generator"] |= {"steps": 2, "pipeline": str(project / "data/mini/diffusion")}
    for folder in ("prompts", "generators"):
        (tmp_path / "data/0_raw" / folder).mkdir(parents=True)
    (tmp_path / "data/0_raw/prompts/words.txt").write_text("red star\nblue heart\n")
    (tmp_path / "data/0_raw/generators/judge").symlink_to(project / "data/mini/clip")
    monkeypatch.chdir(tmp_path)
    return Drawing(tmp_path, mini_params)


def test_a_users_words_captions_and_gates_reach_the_images(drawing: Drawing) -> None:
    captions = "class_name,caption\nred star,a red star at night\n"
    (drawing.folder / "data/0_raw/prompts/captions.csv").write_text(captions)
    drawing.params["prompts"] |= {"strategy": "captions", "captions": "data/0_raw/prompts/captions.csv"}
    judge = {"name": "local-dir:data/0_raw/generators/judge", "pretrained": None}
    gates = {"judge": judge, "min_clip_score": -1.0, "max_similarity": 1.0, "max_redraws": 3}
    drawing.params["generator"]["filters"] = gates
    assert "2 class names from data/0_raw/prompts/words.txt" in drawing.run("write_vocabulary")
    drawing.run("ingest", "games")
    said = drawing.run("write_prompts", "games")
    prompts = read_prompts(drawing.layout.prompts("games"))
    captioned = int((prompts.prompt == "a red star at night").sum())
    assert 0 < captioned < 6
    assert set(prompts.prompt) == {"a red star at night", "a photo of a blue heart."}
    assert f"6 prompts from 2 class names (1 sources), {captioned} worded by captions" in said
    said = drawing.run("synthesize", "games")
    assert "0 black ones drawn again, 0 below the CLIP score, 0 near-duplicates" in said
    assert read_manifest(drawing.layout.shards("games"))["rejected"] == {"clip_score": 0, "duplicate": 0}


def test_an_unreachable_gate_ends_the_stage_with_the_score_reached(drawing: Drawing) -> None:
    judge = {"name": "local-dir:data/0_raw/generators/judge", "pretrained": None}
    gates = {"judge": judge, "min_clip_score": 0.99, "max_similarity": None, "max_redraws": 1}
    drawing.params["generator"]["filters"] = gates
    for command in (["write_vocabulary"], ["ingest", "games"], ["write_prompts", "games"]):
        drawing.run(*command)
    assert "was turned away 2 times: 2 with a CLIP score of 0." in drawing.run("synthesize", "games")
    assert not drawing.layout.shards("games").exists()


def test_all_templates_of_a_learned_task_word_its_prompts(drawing: Drawing) -> None:
    drawing.params["prompts"] |= {"strategy": "all_templates", "base_vocabulary": "none", "images_per_task": 200}
    drawing.run("write_vocabulary")
    for task in TASKS:
        drawing.run("ingest", task)
    assert "none leaves nothing to draw for task 'games', the first" in drawing.run("write_prompts", "games")
    drawing.params["prompts"] |= {"base_vocabulary": "data/0_raw/prompts/words.txt"}
    drawing.run("write_vocabulary")
    for task in TASKS:
        drawing.run("write_prompts", task)
    templates = read_task(drawing.layout.task("games")).templates
    learned = [entry for entry in read_pool(drawing.layout.pool("games")) if entry.source_task == "games"]
    assert {entry.templates for entry in learned} == {templates}
    prompts = read_prompts(drawing.layout.prompts("arrows"))
    assert set(prompts[prompts.source_task == "games"].template) == set(templates)

"""write_vocabulary, write_prompts and synthesize with a custom vocabulary, captions and quality filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gift_core.artifacts.prompt_files import read_prompts, read_vocabulary
from gift_core.artifacts.shards import read_manifest
from gift_core.artifacts.task import read_task
from gift_core.layout import Layout
from stages.app import app

TASKS = ("games", "arrows")


class Experiment:
    """A project folder in which stages run on paths relative to it."""

    def __init__(self, path: Path, params: dict[str, Any]) -> None:
        self.path, self.params, self.layout = path, params, Layout(Path())

    def run(self, *command: str) -> str:
        (self.path / "params.yaml").write_text(yaml.safe_dump(self.params, sort_keys=False))
        result = CliRunner().invoke(app, list(command))
        assert "Traceback" not in result.output
        assert result.exit_code in (0, 1), repr(result.exception)
        return " ".join(result.output.split())


@pytest.fixture
def experiment(
    tmp_path: Path, mini_params: dict[str, Any], project: Path, monkeypatch: pytest.MonkeyPatch
) -> Experiment:
    """A project with two tasks and relative paths."""
    row = {"source": "mini", "path": "data/mini", "train_images": 40, "test_images": 35}
    mini_params["tasks"] = {task: dict(row) for task in TASKS}
    befores = zip(TASKS, ("../pretrained", *TASKS), strict=False)
    mini_params["sequence"] = [{"task": task, "after": after, "learning_rate_factor": 1.0} for task, after in befores]
    mini_params["training"]["replay_batch_size"] = 4
    mini_params["prompts"] |= {"images_per_task": 6, "base_vocabulary": "data/0_raw/prompts/words.txt"}
    mini_params["generator"] |= {"steps": 2, "pipeline": str(project / "data/mini/diffusion")}
    for folder in ("prompts", "generators"):
        (tmp_path / "data/0_raw" / folder).mkdir(parents=True)
    (tmp_path / "data/0_raw/prompts/words.txt").write_text("red star\nblue heart\n")
    (tmp_path / "data/0_raw/generators/scorer").symlink_to(project / "data/mini/clip")
    monkeypatch.chdir(tmp_path)
    return Experiment(tmp_path, mini_params)


def test_vocabulary_captions_and_filters_are_used(experiment: Experiment) -> None:
    captions = "class_name,caption\nred star,a red star at night\n"
    (experiment.path / "data/0_raw/prompts/captions.csv").write_text(captions)
    experiment.params["prompts"] |= {"strategy": "captions", "captions": "data/0_raw/prompts/captions.csv"}
    scorer = {"name": "local-dir:data/0_raw/generators/scorer", "pretrained": None}
    filters = {"scorer": scorer, "min_clip_score": -1.0, "max_similarity": 1.0, "max_redraws": 3}
    experiment.params["generator"]["filters"] = filters
    assert "2 class names from data/0_raw/prompts/words.txt" in experiment.run("write_vocabulary")
    experiment.run("ingest", "games")
    said = experiment.run("write_prompts", "games")
    prompts = read_prompts(experiment.layout.prompts("games"))
    captioned = int((prompts.prompt == "a red star at night").sum())
    assert 0 < captioned < 6
    assert set(prompts.prompt) == {"a red star at night", "a photo of a blue heart."}
    assert f"6 prompts from 2 class names (1 sources), {captioned} from captions" in said
    said = experiment.run("synthesize", "games")
    assert "0 black images generated again, 0 below the CLIP score, 0 near-duplicates" in said
    assert read_manifest(experiment.layout.shards("games"))["rejected"] == {"clip_score": 0, "duplicate": 0}


def test_captions_of_classes_that_no_task_has_are_told(experiment: Experiment) -> None:
    captions = "class_name,caption\nred star,a red star at night\nred stra,a typo\n"
    (experiment.path / "data/0_raw/prompts/captions.csv").write_text(captions)
    experiment.params["prompts"] |= {"strategy": "captions", "captions": "data/0_raw/prompts/captions.csv"}
    experiment.run("write_vocabulary")
    experiment.run("ingest", "games")
    said = experiment.run("write_prompts", "games")
    assert "captions of 1 class are not used, because no task until now has that name: " in said
    assert "'red stra' (did you mean 'red star'?)" in said


def test_an_image_that_cannot_pass_the_filters_ends_the_stage(experiment: Experiment) -> None:
    scorer = {"name": "local-dir:data/0_raw/generators/scorer", "pretrained": None}
    filters = {"scorer": scorer, "min_clip_score": 0.99, "max_similarity": None, "max_redraws": 1}
    experiment.params["generator"]["filters"] = filters
    for command in (["write_vocabulary"], ["ingest", "games"], ["write_prompts", "games"]):
        experiment.run(*command)
    assert "was rejected 2 times: 2 for a CLIP score of at most 0." in experiment.run("synthesize", "games")
    assert not experiment.layout.shards("games").exists()


def test_prompts_use_all_templates_of_a_learned_task(experiment: Experiment) -> None:
    experiment.params["prompts"] |= {"strategy": "all_templates", "base_vocabulary": "none", "images_per_task": 200}
    experiment.run("write_vocabulary")
    for task in TASKS:
        experiment.run("ingest", task)
    assert "none leaves no prompts for the first task, 'games'" in experiment.run("write_prompts", "games")
    experiment.params["prompts"] |= {"base_vocabulary": "data/0_raw/prompts/words.txt"}
    experiment.run("write_vocabulary")
    for task in TASKS:
        experiment.run("write_prompts", task)
    templates = read_task(experiment.layout.task("games")).templates
    learned = [
        entry for entry in read_vocabulary(experiment.layout.vocabulary("games")) if entry.source_task == "games"
    ]
    assert {entry.templates for entry in learned} == {templates}
    prompts = read_prompts(experiment.layout.prompts("arrows"))
    assert set(prompts[prompts.source_task == "games"].template) == set(templates)

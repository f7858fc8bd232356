"""Each stage on tiny inputs with the real miniature models, and what bad input meets."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.artifacts.accuracy import environment_of, read_accuracy
from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import model_hash, read_losses, read_provenance
from gift_core.artifacts.prompt_files import read_prompts, read_vocabulary
from gift_core.artifacts.shards import read_manifest
from gift_core.artifacts.task import read_task
from gift_core.artifacts.teacher_files import Features, read_features, read_source
from gift_core.provenance import environment
from tests.imports import ROOT
from tests.stages.experiment import TASKS, Experiment, tiny

RAW = Path("data/0_raw")
SCORER = {"name": f"local-dir:{RAW / 'generators/scorer'}", "pretrained": None}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any]) -> Experiment:
    """An experiment of two tasks in which every stage has run."""
    params = tiny(copy.deepcopy(_mini_params))
    params["sequence"][1]["learning_rate_factor"] = 2.0
    experiment = Experiment(tmp_path_factory.mktemp("experiment"), params)
    experiment.succeed("import_model")
    experiment.succeed("write_vocabulary")
    for task in TASKS:
        experiment.learn(task)
    experiment.succeed("report")
    return experiment


def test_images_prompts_pairs_and_teachers_are_those_asked_for(done: Experiment) -> None:
    layout, info = done.layout, read_task(done.layout.task("games"))
    assert dict(info.counts) == {"train": 40, "test": 35} and "black chess knight" in info.class_names
    assert set(read_prompts(layout.prompts("games")).source_task) == {"base"}
    vocabularies = [read_vocabulary(path) for path in (layout.base_vocabulary(), layout.vocabulary("games"))]
    base, after_games = ([entry.class_name for entry in vocabulary] for vocabulary in vocabularies)
    assert after_games == base + list(info.class_names)
    manifest = read_manifest(layout.shards("arrows"))
    assert (manifest.images, len(manifest.shards)) == (12, 2)
    for task, teacher in (("games", layout.pretrained()), ("arrows", layout.model("gift", "games"))):
        features = read_features(layout.teacher("gift", task) / "features.parquet", Features)
        assert features.metadata["model"] == model_hash(teacher)


def test_losses_have_a_column_per_loss_and_the_rate_has_the_factor_of_the_step(done: Experiment) -> None:
    plain = read_losses(done.layout.model("finetune", "games") / "losses.jsonl")
    gift = read_losses(done.layout.model("gift", "games") / "losses.jsonl")
    assert len(plain) == len(gift) == 3
    assert {"task", "consolidation", "total"} <= set(plain[0])
    assert {"task", "distill", "align", "consolidation", "total"} <= set(gift[0])
    assert plain[0]["task"] == pytest.approx(gift[0]["task"], rel=1e-4)  # all methods see the same batches
    rate = done.params["methods"]["gift"]["learning_rate"]
    rows = read_losses(done.layout.model("gift", "arrows") / "losses.jsonl")
    assert max(row["learning_rate"] for row in rows) == pytest.approx(2 * rate)


def test_an_accuracy_file_stands_for_all_that_the_report_reads(done: Experiment) -> None:
    """Each line is a link of a chain of hashes, so a change of what the report reads changes an accuracy file."""
    model, teacher = done.layout.model("gift", "arrows"), done.layout.teacher("gift", "arrows")
    _, metadata = read_accuracy(done.layout.accuracy("gift", "arrows"))
    provenance = read_provenance(model)
    assert metadata["losses"] == sha256_of(model / "losses.jsonl")
    assert metadata["provenance"] == sha256_of(model / "provenance.json")
    assert metadata["task:arrows"] == sha256_of(done.layout.task("arrows") / "task.json")
    assert metadata["model:pretrained"] == model_hash(done.layout.pretrained())
    files = {file.name: sha256_of(file) for file in teacher.iterdir()}
    assert provenance["teacher"] == files.pop("source.json")
    assert read_source(teacher).files == files and "features.parquet" in files
    assert read_source(teacher).read == {
        "shards": sha256_of(done.layout.shards("arrows") / "manifest.json"),
        "vocabulary": sha256_of(done.layout.vocabulary("games")),
    }


def test_every_result_has_the_environment_and_the_settings_that_it_was_computed_with(done: Experiment) -> None:
    here = environment(torch.device("cpu"))
    assert here["threads"] == torch.get_num_threads()
    for task in TASKS:
        assert read_manifest(done.layout.shards(task)).environment == here
        assert read_source(done.layout.teacher("gift", task)).environment == here
        for method in ("finetune", "gift"):
            assert read_provenance(done.layout.model(method, task))["environment"] == here | {"processes": 1}
            accuracy = done.layout.accuracy(method, task)
            assert environment_of(accuracy, read_accuracy(accuracy)[1]) == here
    # nothing is computed for the pre-trained model: it is the same on every machine
    assert "environment" not in read_provenance(done.layout.pretrained())
    # settings that params.yaml leaves out are recorded, too
    assert "start" not in done.params["methods"]["gift"]
    settings = read_provenance(done.layout.model("gift", "arrows"))["settings"]
    assert (settings["start"], settings["learns"]) == ("previous", "task")


def test_vocabulary_captions_and_filters_are_used_and_the_stage_that_makes_a_missing_input_is_named(
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
    assert "import_model" in experiment.fail("teach", "gift", "games")
    assert "dvc repro" in experiment.fail("write_prompts", "games")
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

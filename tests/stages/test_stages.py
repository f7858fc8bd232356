"""Each stage through typer's runner, on tiny inputs and with the real miniature models; and what bad input meets."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner, Result

from gift_core.artifacts.accuracy import environment_of, read_accuracy
from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.features import read_features
from gift_core.artifacts.model_folder import model_hash, read_losses, read_provenance
from gift_core.artifacts.prompt_files import read_prompts, read_vocabulary
from gift_core.artifacts.shards import read_manifest
from gift_core.artifacts.task import read_task
from gift_core.artifacts.teacher_source import read_source
from gift_core.config.overlays import complete_text
from gift_core.layout import Layout
from stages.app import app

TASKS = ["games", "arrows"]
UMASK = 0o026  # no default of a system
RUNNER = CliRunner()


class Experiment:
    """A params file and a root folder of its own, and the commands run on them."""

    def __init__(self, folder: Path, params: dict[str, Any]) -> None:
        self.folder, self.params, self.layout = folder, params, Layout(folder)
        self.write(params)

    def write(self, params: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def run(self, *command: str) -> Result:
        options = ["--params", str(self.folder / "params.yaml"), "--root", str(self.folder)]
        return RUNNER.invoke(app, [*command, *options])

    def succeed(self, *command: str) -> str:
        result = self.run(*command)
        assert result.exit_code == 0, f"{command}: {result.output}\n{result.exception!r}"
        return result.output

    def fail(self, *command: str) -> str:
        result = self.run(*command)
        assert result.exit_code == 1, f"{command} ended with {result.exit_code}: {result.output}\n{result.exception!r}"
        assert "Traceback" not in result.output
        return result.output


def tiny(params: dict[str, Any], project: Path) -> dict[str, Any]:
    row = {"source": "mini", "path": "data/mini", "train_images": 40, "test_images": 35}
    params["tasks"] = {task: dict(row) for task in TASKS}
    params["sequence"] = [
        {"task": "games", "after": "../pretrained", "learning_rate_factor": 1.0},
        {"task": "arrows", "after": "games", "learning_rate_factor": 2.0},
    ]
    params["training"] |= {"iterations": 3, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
    params["prompts"] |= {"images_per_task": 12}
    params["generator"] |= {"images_per_shard": 8, "steps": 2, "pipeline": str(project / "data/mini/diffusion")}
    params["model"] |= {"name": f"local-dir:{project / 'data/mini/clip'}"}
    return params


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any], project: Path) -> Iterator[Experiment]:
    """An experiment of two tasks in which every stage has run, with a umask of its own."""
    params = tiny(yaml.safe_load(yaml.safe_dump(_mini_params)), project)
    experiment = Experiment(tmp_path_factory.mktemp("experiment"), params)
    before = os.umask(UMASK)
    try:
        run_every_stage(experiment)
    finally:
        os.umask(before)
    yield experiment


def run_every_stage(experiment: Experiment) -> None:
    experiment.succeed("import_model")
    experiment.succeed("write_vocabulary")
    for task, factor in zip(TASKS, ("1.0", "2.0"), strict=True):
        experiment.succeed("ingest", task)
        experiment.succeed("write_prompts", task)
        experiment.succeed("synthesize", task)
        experiment.succeed("teach", "gift", task)
        for method in ("finetune", "gift"):
            experiment.succeed("finetune", method, task, "--learning-rate-factor", factor)
            experiment.succeed("evaluate", method, task)
    experiment.succeed("report")


@pytest.fixture
def fresh(tmp_path: Path, mini_params: dict[str, Any], project: Path) -> Experiment:
    """An experiment in which nothing has run."""
    return Experiment(tmp_path, tiny(mini_params, project))


def test_every_stage_writes_files_and_folders_with_the_modes_of_the_umask(done: Experiment) -> None:
    written = [path for name in ("data", "reports", ".gift") for path in (done.folder / name).rglob("*")]
    assert len(written) > 60 and any(path.suffix == ".safetensors" for path in written)
    wrong = {
        str(path): oct(path.stat().st_mode & 0o777)
        for path in written
        if path.stat().st_mode & 0o777 != (0o777 if path.is_dir() else 0o666) & ~UMASK
    }
    assert not wrong


def test_ingest_keeps_the_images_and_class_names_asked_for(done: Experiment) -> None:
    info = read_task(done.layout.task("games"))
    assert dict(info.counts) == {"train": 40, "test": 35}
    assert "black chess knight" in info.class_names


def test_prompts_of_the_first_task_come_from_the_base_vocabulary_alone(done: Experiment) -> None:
    assert set(read_prompts(done.layout.prompts("games")).source_task) == {"base"}
    base, after_games = read_vocabulary(done.layout.base_vocabulary()), read_vocabulary(done.layout.vocabulary("games"))
    learned = read_task(done.layout.task("games")).class_names
    assert [entry.class_name for entry in after_games] == [entry.class_name for entry in base] + list(learned)


def test_synthesize_generates_one_pair_per_prompt(done: Experiment) -> None:
    manifest = read_manifest(done.layout.shards("arrows"))
    assert manifest["images"] == 12
    assert len(manifest["shards"]) == 2


def test_the_first_teacher_is_the_pretrained_model_and_the_second_the_model_after_the_first_task(
    done: Experiment,
) -> None:
    from gift_core.artifacts.model_folder import model_hash

    first = read_features(done.layout.teacher("gift", "games") / "features.parquet")
    second = read_features(done.layout.teacher("gift", "arrows") / "features.parquet")
    assert first.metadata["model"] == model_hash(done.layout.pretrained())
    assert second.metadata["model"] == model_hash(done.layout.model("gift", "games"))


def test_losses_have_a_column_per_loss(done: Experiment) -> None:
    plain = read_losses(done.layout.model("finetune", "games") / "losses.jsonl")
    gift = read_losses(done.layout.model("gift", "games") / "losses.jsonl")
    assert len(plain) == len(gift) == 3
    assert {"task", "consolidation", "total"} <= set(plain[0])
    assert {"task", "distill", "align", "consolidation", "total"} <= set(gift[0])
    assert plain[0]["task"] == pytest.approx(gift[0]["task"], rel=1e-4)  # all methods see the same batches


def test_the_rate_factor_of_a_step_multiplies_the_methods_rate(done: Experiment) -> None:
    rate = done.params["methods"]["gift"]["learning_rate"]
    rows = read_losses(done.layout.model("gift", "arrows") / "losses.jsonl")
    assert max(row["learning_rate"] for row in rows) == pytest.approx(2 * rate)


def test_a_trained_model_opens_in_open_clip_without_our_code(done: Experiment) -> None:
    import open_clip
    import torch

    folder = done.layout.model("gift", "arrows")
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["a photo of a upwards arrow."])
    with torch.no_grad():
        assert torch.isfinite(model.encode_text(tokens)).all()


def test_the_accuracies_of_all_steps_together_are_the_whole_matrix(done: Experiment) -> None:
    files = [done.layout.accuracy("gift", task) for task in TASKS]
    rows = pd.concat([read_accuracy(file)[0] for file in files])
    entries = {(row.step, row.eval_task, row.phase) for row in rows.itertuples()}
    assert entries == {
        (-1, "games", "pretrained"), (-1, "arrows", "pretrained"),
        (0, "games", "current"), (0, "arrows", "future"), (1, "games", "past"), (1, "arrows", "current"),
    }  # fmt: skip


def test_an_exchanged_earlier_model_is_noticed_when_it_is_evaluated_again(done: Experiment, tmp_path: Path) -> None:
    copy = Experiment(shutil.copytree(done.folder, tmp_path / "copy"), done.params)
    shutil.copytree(copy.layout.model("finetune", "games"), copy.layout.model("gift", "games"), dirs_exist_ok=True)
    assert "games" in copy.fail("evaluate", "gift", "arrows")


def test_an_accuracy_file_stands_for_all_that_the_report_reads(done: Experiment) -> None:
    """Each line is a link of a chain of hashes, so a change of what the report reads changes an accuracy file."""
    model, teacher, shards = done.layout.model("gift", "arrows"), done.layout.teacher("gift", "arrows"), "arrows"
    _, metadata = read_accuracy(done.layout.accuracy("gift", "arrows"))
    provenance = read_provenance(model)
    assert metadata["losses"] == sha256_of(model / "losses.jsonl")
    assert metadata["provenance"] == sha256_of(model / "provenance.json")
    assert metadata["task:arrows"] == sha256_of(done.layout.task("arrows") / "task.json")
    assert metadata["model:pretrained"] == model_hash(done.layout.pretrained())
    files = {file.name: sha256_of(file) for file in teacher.iterdir()}
    assert provenance["teacher"] == files.pop("source.json")
    assert read_source(teacher)["files"] == files and "features.parquet" in files
    assert read_source(teacher)["read"] == {
        "shards": sha256_of(done.layout.shards(shards) / "manifest.json"),
        "vocabulary": sha256_of(done.layout.vocabulary(TASKS[TASKS.index("arrows") - 1])),
    }


def test_every_result_has_the_environment_that_computed_it(done: Experiment) -> None:
    import torch

    from gift_core.provenance import environment

    here = environment(torch.device("cpu"))
    assert here["threads"] == torch.get_num_threads()
    for task in TASKS:
        assert read_manifest(done.layout.shards(task))["environment"] == here
        assert read_source(done.layout.teacher("gift", task))["environment"] == here
        for method in ("finetune", "gift"):
            assert read_provenance(done.layout.model(method, task))["environment"] == here | {"processes": 1}
            accuracy = done.layout.accuracy(method, task)
            assert environment_of(accuracy, read_accuracy(accuracy)[1]) == here
    # nothing is computed for the pre-trained model: it is the same on every machine
    assert "environment" not in read_provenance(done.layout.pretrained())


def test_provenance_has_the_settings_that_params_yaml_leaves_out(done: Experiment) -> None:
    assert "start" not in done.params["methods"]["gift"]
    settings = read_provenance(done.layout.model("gift", "arrows"))["settings"]
    assert (settings["start"], settings["learns"]) == ("previous", "task")


def test_show_prints_the_table_and_the_location_of_the_report(done: Experiment) -> None:
    result = RUNNER.invoke(app, ["show", "--root", str(done.folder)])
    assert result.exit_code == 0
    assert "Transfer" in result.output and "zero_shot" in result.output
    assert "index.html" in result.output.replace("\n", "")
    as_json = RUNNER.invoke(app, ["show", "--json", "--root", str(done.folder)])
    assert set(json.loads(as_json.stdout)["methods"]) == {"zero_shot", "finetune", "gift"}


def test_running_a_stage_again_gives_the_same_bytes(done: Experiment) -> None:
    kept = {
        done.layout.task("games"): ("ingest", "games"),
        done.layout.shards("games"): ("synthesize", "games"),
        done.layout.teacher("gift", "games"): ("teach", "gift", "games"),
        done.layout.model("gift", "games"): ("finetune", "gift", "games"),
    }
    for folder, command in kept.items():
        before = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
        done.succeed(*command)
        assert {file.name: file.read_bytes() for file in sorted(folder.iterdir())} == before, command


UNKNOWN = [
    (("ingest", "gamse"), "Did you mean 'games'?"),
    (("write_prompts", "arows"), "Did you mean 'arrows'?"),
    (("teach", "gifd", "games"), "Did you mean 'gift'?"),
    (("finetune", "finetun", "games"), "Did you mean 'finetune'?"),
    (("evaluate", "gift", "gams"), "Did you mean 'games'?"),
]


@pytest.mark.parametrize(
    ("command", "message"), UNKNOWN, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_an_unknown_name_is_met_with_the_nearest_one(fresh: Experiment, command: tuple[str, ...], message: str) -> None:
    assert message in fresh.fail(*command).replace("\n", " ")


def test_a_wrong_params_file_is_refused_before_anything_starts(fresh: Experiment) -> None:
    fresh.params["methods"]["gift"]["losses"]["distil"] = fresh.params["methods"]["gift"]["losses"].pop("distill")
    fresh.write(fresh.params)
    output = fresh.fail("import_model").replace("\n", " ")
    assert "methods.gift.losses.distil" in output and "Did you mean 'distill'?" in output
    assert not (fresh.folder / "data").exists()


def test_a_missing_params_file_is_named() -> None:
    result = RUNNER.invoke(app, ["import_model", "--params", "nowhere.yaml"])
    assert result.exit_code == 1 and "nowhere.yaml" in result.output


@pytest.mark.parametrize("damage", ["missing", "cut short", "no config"])
def test_a_missing_or_damaged_model_folder_is_named(fresh: Experiment, project: Path, damage: str) -> None:
    folder = fresh.folder / "my_clip"
    if damage != "missing":
        shutil.copytree(project / "data/mini/clip", folder)
        weights = folder / "open_clip_model.safetensors"
        if damage == "cut short":
            weights.write_bytes(weights.read_bytes()[:-1000])
        else:
            (folder / "open_clip_config.json").unlink()
    fresh.params["model"]["name"] = f"local-dir:{folder}"
    fresh.write(fresh.params)
    assert "my_clip" in fresh.fail("import_model").replace("\n", "")
    assert not fresh.layout.pretrained().exists()


def test_a_stage_whose_input_is_missing_says_which_stage_makes_it(fresh: Experiment) -> None:
    assert "dvc repro" in fresh.fail("write_prompts", "games").replace("\n", " ")
    assert "import_model" in fresh.fail("teach", "gift", "games").replace("\n", " ")


def test_an_interrupted_finetune_leaves_no_model(
    done: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Experiment(shutil.copytree(done.folder, tmp_path / "copy"), done.params)
    shutil.rmtree(copy.layout.model("gift", "arrows"))

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gift_core.artifacts.model_folder.write_json", interrupt)
    result = copy.run("finetune", "gift", "arrows")
    assert result.exit_code == 130
    assert sorted(folder.name for folder in (copy.folder / "data/5_models/gift").iterdir()) == ["games"]


def test_too_little_disk_is_said_before_the_training_starts(
    done: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Experiment(shutil.copytree(done.folder, tmp_path / "copy"), done.params)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    output = copy.fail("finetune", "gift", "arrows").replace("\n", " ")
    assert "finetune@gift-arrows: the model and its checkpoint" in output and "are free" in output
    assert "steps" not in output


def test_help_names_every_stage_and_what_it_does() -> None:
    output = RUNNER.invoke(app, ["--help"]).output
    for stage in ("import_model", "ingest", "write_vocabulary", "write_prompts", "synthesize", "teach", "finetune"):
        assert stage in output


def presets_of(project: Path, folder: Path) -> None:
    shutil.copytree(project / "presets", folder / "presets")
    shutil.copy2(project / "presets/mini.yaml", folder / "params.yaml")


def test_use_writes_a_preset_and_shows_the_difference(tmp_path: Path, project: Path) -> None:
    presets_of(project, tmp_path)
    result = RUNNER.invoke(app, ["use", "mini_full", "--diff", "--root", str(tmp_path)])
    assert result.exit_code == 0 and "+" in result.output and "kept" not in result.output
    assert (tmp_path / "params.yaml").read_bytes() == complete_text(project / "presets/mini_full.yaml").encode()


def test_use_keeps_a_changed_params_file(tmp_path: Path, project: Path) -> None:
    presets_of(project, tmp_path)
    mine = (tmp_path / "params.yaml").read_text().replace("seed: 42", "seed: 43")
    (tmp_path / "params.yaml").write_text(mine)
    assert RUNNER.invoke(app, ["use", "mini", "--root", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "params.backup-1.yaml").read_text() == mine


def test_use_meets_an_unknown_preset_with_the_nearest_one(tmp_path: Path, project: Path) -> None:
    presets_of(project, tmp_path)
    result = RUNNER.invoke(app, ["use", "mini_ful", "--root", str(tmp_path)])
    assert result.exit_code == 1 and "Did you mean 'mini_full'?" in result.output.replace("\n", " ")

"""Models and synthetic shards for the Hugging Face hub: loaded by the real libraries, uploaded to a local stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import open_clip
import pytest
import torch
import yaml
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from PIL import Image
from typer.testing import CliRunner, Result

from gift_core.artifacts.accuracy import read_accuracy, write_empty_accuracy
from gift_core.artifacts.shards import iterate_pairs, write_manifest
from gift_core.layout import Layout
from stages.__main__ import app
from tests.imports import ROOT
from tests.team.clones import content
from tests.team.hub_server import HubServer
from tests.tiny_world import CAPTIONS, CLASSES, TinyExperiment, make_world

RUNNER = CliRunner()
MINI = ROOT / "data" / "mini" / "clip"
TOKEN = "hf_never_printed"
GENERATOR = {"pipeline": "some/diffusion", "steps": 10, "guidance": 3.0, "size": 32, "seed": 0}


def hub(*words: str | Path, expect: int = 0) -> Result:
    result = RUNNER.invoke(app, ["hub", *map(str, words)])
    assert result.exit_code == expect, f"{words}: {result.output}\n{result.exception!r}"
    return result


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any]) -> Layout:
    """Two tasks that gift has learned and been tested on, by the real stages."""
    root = tmp_path_factory.mktemp("world")
    layout = make_world(root)
    for task in CLASSES:
        folder = layout.shards(task)
        write_manifest(folder, GENERATOR, {"count": len(CAPTIONS), "sha256": "of the prompts"})
    write_empty_accuracy(layout.pretrained_accuracy(), {})
    params = yaml.safe_load(yaml.safe_dump(_mini_params))
    experiment = TinyExperiment(layout, params, "gift", params["methods"]["gift"], iterations=2)
    shutil.rmtree(layout.model("gift", "birds"))
    for task in ("birds", "digits"):
        for stage in ("teach", "finetune", "evaluate"):
            words = [stage, "gift", task, "--params", str(experiment.params), "--root", str(root)]
            result = RUNNER.invoke(app, words)
            assert result.exit_code == 0, f"{words}: {result.output}"
    (root / "reports").mkdir()
    numbers = {"transfer": 50.0, "avg": 60.0, "last": 70.0, "forgetting": None}
    (root / "reports" / "metrics.json").write_text(json.dumps({"gift": numbers}), encoding="utf-8")
    return layout


@pytest.fixture(scope="module")
def pushed(world: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What would be uploaded of the model after digits."""
    out = tmp_path_factory.mktemp("hub") / "model"
    model = world.model("gift", "digits")
    hub("push", "model", model, "--to", "me/tiny", "--license", "mit", "--out", out, "--root", world.root)
    return out


def test_open_clip_loads_the_folder_and_computes_what_the_model_does(pushed: Path, world: Layout) -> None:
    folders = (pushed, world.model("gift", "digits"))
    models = [open_clip.create_model_and_transforms(f"local-dir:{folder}")[0].eval() for folder in folders]
    tokens = open_clip.get_tokenizer(f"local-dir:{pushed}")(["a photo of a wren."])
    with torch.no_grad():
        first, second = (model.encode_text(tokens) for model in models)
    assert torch.equal(first, second)


def test_the_card_has_the_accuracies_as_results_that_the_hub_reads(pushed: Path, world: Layout) -> None:
    card = ModelCard.load(pushed / "README.md")
    assert (card.data.library_name, card.data.license) == ("open_clip", "mit")
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    rows, _ = read_accuracy(world.accuracy("gift", "digits"))
    own = rows[rows.trained_task == "digits"].set_index("eval_task").top1
    assert name == "tiny"
    assert {each.dataset_name: each.metric_value for each in results} == {
        task: round(100 * value, 2) for task, value in own.items()
    }


def test_the_card_says_what_the_model_was_trained_on_and_how(pushed: Path, world: Layout) -> None:
    text = ModelCard.load(pushed / "README.md").text
    assert "learned 2 tasks, one after another, with the method `gift`" in text
    assert "- **birds**: 12 training images, 3 classes (tit, wren, owl). Prompt: `a photo of a {}.`" in text
    assert "- replay: synthetic image-text pairs\n- teacher: previous\n" in text
    assert "- losses on the replayed pairs: distill (weight 1), align (weight 0.25)" in text
    assert "- pipeline: some/diffusion" in text
    assert "Over the whole sequence: Transfer 50.0, Avg 60.0, Last 70.0." in text
    before = read_accuracy(world.accuracy("gift", "birds"))[0]
    percent = 100 * float(before[before.trained_task == "pretrained"].top1.iloc[0])
    assert f"| birds | {percent:.1f} |" in text
    assert "torch " in text and "threads" not in text
    assert "## License" not in text


def test_accuracies_of_other_weights_are_left_out(world: Layout, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(world.root, root)
    noted = Layout(root).model("gift", "digits") / "provenance.json"
    noted.write_text(noted.read_text(encoding="utf-8").replace('"seed": 42', '"seed": 43'), encoding="utf-8")
    model, out = Layout(root).model("gift", "digits"), tmp_path / "out"
    hub("push", "model", model, "--to", "me/tiny", "--out", out, "--root", root)
    card = ModelCard.load(out / "README.md")
    assert card.data.eval_results is None
    assert "## Accuracy" not in card.text
    assert "The publisher has named no license." in card.text


def test_a_tokenizer_of_its_own_is_named_by_its_repository(tmp_path: Path) -> None:
    hub("push", "model", MINI, "--to", "me/mini", "--out", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "open_clip_config.json").read_text(encoding="utf-8"))
    assert config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] == "me/mini"
    texts = ["a photo of a snowman."]
    found, expected = (open_clip.get_tokenizer(f"local-dir:{each}")(texts) for each in (tmp_path / "out", MINI))
    assert torch.equal(found, expected)


@pytest.fixture(scope="module")
def shards(world: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What would be uploaded of the shards of two tasks."""
    out = tmp_path_factory.mktemp("hub") / "shards"
    folders = [world.shards(task) for task in ("birds", "digits")]
    hub("push", "shards", *folders, "--to", "me/pairs", "--out", out)
    return out


def test_datasets_reads_images_and_captions_of_the_shards(shards: Path, world: Layout, tmp_path: Path) -> None:
    files = [str(file) for file in sorted((shards / "birds").glob("*.tar"))]
    rows = datasets.load_dataset(
        "webdataset", data_files={"train": files}, split="train", cache_dir=str(tmp_path / "cache")
    )
    pairs = list(iterate_pairs(world.shards("birds")))
    assert [row["txt"] for row in rows] == [pair.prompt for pair in pairs] == list(CAPTIONS)
    assert [row["json"]["prompt_id"] for row in rows] == [pair.prompt_id for pair in pairs]
    assert all(isinstance(row["png"], Image.Image) and row["png"].size == (16, 16) for row in rows)


def test_the_dataset_card_makes_a_config_for_each_task(shards: Path, tmp_path: Path) -> None:
    card = DatasetCard.load(shards / "README.md")
    assert "synthetic" in card.data.tags
    assert "14 synthetic image-text pairs" in card.text
    assert [each["config_name"] for each in card.data.configs] == ["default", "birds", "digits"]
    counts = {
        name: len(datasets.load_dataset(str(shards), name, split="train", cache_dir=str(tmp_path / "cache")))
        for name in ("default", "digits")
    }
    assert counts == {"default": 14, "digits": 7}


def test_images_of_a_real_task_are_never_uploaded(world: Layout, tmp_path: Path) -> None:
    said = hub("push", "shards", world.task("birds"), "--to", "me/x", "--out", tmp_path / "out", expect=1).output
    assert "images of a task, not shards of the stage synthesize" in said
    unknown = shutil.copytree(world.shards("birds"), tmp_path / "unknown")
    write_manifest(unknown, {}, {"count": len(CAPTIONS), "sha256": "of the prompts"})
    said = hub("push", "shards", unknown, "--to", "me/x", "--out", tmp_path / "out", expect=1).output
    assert "names no generator, so the images may be real" in said
    added = shutil.copytree(world.shards("birds"), tmp_path / "added")
    shutil.copyfile(world.task("birds") / "train-00000.tar", added / "00000.tar")
    assert "the file was changed" in hub("push", "shards", added, "--to", "me/x", expect=1).output
    (tmp_path / "photos").mkdir()
    assert "without manifest.json" in hub("push", "shards", tmp_path / "photos", "--to", "me/x", expect=1).output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "message"), [("tiny", "should be user/name"), ("me/a b", "Repo id must use")])
def test_a_name_that_the_hub_does_not_allow_is_refused(name: str, message: str, tmp_path: Path) -> None:
    assert f"--to {name}: {message}" in hub("push", "model", MINI, "--to", name, expect=1).stderr
    assert message in hub("pull", "model", name, tmp_path / "out", expect=1).stderr


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "has other files (file)" in hub("push", "model", MINI, "--to", "me/x", "--out", tmp_path, expect=1).stderr
    assert "has other files (file)" in hub("pull", "model", "me/x", tmp_path, expect=1).stderr


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def online(server: HubServer, tmp_path: Path, script: str, *words: str | Path) -> str:
    """Runs a Python script that reaches the stand-in, logged in; returns what it prints."""
    folders = {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    settings = {"HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        env=os.environ | folders | settings, cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-4000:]
    assert TOKEN not in printed
    return printed


COMMANDS = """\
import json, sys
from typer.testing import CliRunner
from stages.__main__ import app
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, ["hub", *words])
    print(result.exit_code, result.output, result.exception if result.exit_code else "")
"""
LOAD = """
import open_clip
model, _, _ = open_clip.create_model_and_transforms("hf-hub:me/mini")
print(open_clip.get_tokenizer("hf-hub:me/mini")(["a photo of a snowman."]).tolist())
"""


def test_what_is_pushed_is_loaded_from_the_hub_and_pulled_whole(
    server: HubServer, world: Layout, tmp_path: Path
) -> None:
    pairs = str(world.shards("birds"))
    commands = [
        ["push", "model", str(MINI), "--to", "me/mini", "--private"],
        ["push", "shards", pairs, "--to", "me/pairs", "--revision", "first"],
        ["pull", "model", "me/mini", str(tmp_path / "model")],
        ["pull", "shards", "me/pairs", str(tmp_path / "pairs"), "--revision", "first"],
        ["pull", "model", "me/pairs", str(tmp_path / "nothing")],
    ]
    printed = online(server, tmp_path, COMMANDS + LOAD, json.dumps(commands))
    assert [each.get("private") for each in server.created] == [True, None]
    assert f"Bearer {TOKEN}" in server.tokens
    assert 'open_clip.create_model_and_transforms("hf-hub:me/mini")' in printed
    expected = open_clip.get_tokenizer(f"local-dir:{MINI}")(["a photo of a snowman."]).tolist()
    assert str(expected) in printed
    weights = "open_clip_model.safetensors"
    assert (tmp_path / "model" / weights).read_bytes() == (MINI / weights).read_bytes()
    assert content(tmp_path / "pairs" / "birds") == content(world.shards("birds"))
    assert sorted(path.name for path in (tmp_path / "pairs").iterdir()) == ["README.md", "birds"]
    assert "me/pairs: " in printed.splitlines()[-2] or "me/pairs: " in printed
    assert not (tmp_path / "nothing").exists()


def test_a_download_that_is_damaged_or_has_code_is_not_kept(server: HubServer, world: Layout, tmp_path: Path) -> None:
    files = {f"birds/{name}": data for name, data in content(world.shards("birds")).items()}
    server.files["datasets/me/pairs@main"] = {**files, "birds/00000.parquet": b"damaged"}
    server.files["datasets/me/code@main"] = {**files, "setup.py": b"print(1)", "birds/run.py": b"print(2)"}
    commands = [["pull", "shards", f"me/{name}", str(tmp_path / name)] for name in ("pairs", "code")]
    printed = online(server, tmp_path, COMMANDS, json.dumps(commands))
    assert "datasets/me/pairs: nothing was kept. " in printed
    assert "the file was changed" in printed
    assert not (tmp_path / "pairs").exists()
    assert {path.name for path in (tmp_path / "code").rglob("*.py")} == set()
    assert content(tmp_path / "code" / "birds") == content(world.shards("birds"))


def test_without_the_right_to_write_the_way_to_log_in_is_named(server: HubServer, tmp_path: Path) -> None:
    server.status = 401
    printed = online(server, tmp_path, COMMANDS, json.dumps([["push", "model", str(MINI), "--to", "me/mini"]]))
    assert printed.startswith("1 error: me/mini: ")
    assert "Log in with: hf auth login. The token needs the right to write." in printed

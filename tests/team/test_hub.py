"""Models and synthetic shards for the Hugging Face hub: loaded by the real libraries, uploaded to a local stand-in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import open_clip
import pytest
import torch
import yaml
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from PIL import Image
from safetensors.torch import load, save
from typer.testing import Result

from gift_core.artifacts.accuracy import read_accuracy, write_empty_accuracy
from gift_core.artifacts.model_folder import read_provenance
from gift_core.artifacts.shards import iterate_pairs, write_manifest
from gift_core.layout import Layout
from tests.clone import content
from tests.imports import ROOT
from tests.team.hub_server import HubServer
from tests.team.toy import gift
from tests.tiny_world import CAPTIONS, CLASSES, TinyExperiment, make_world

MINI = ROOT / "data" / "mini" / "clip"
WEIGHTS = "open_clip_model.safetensors"
TOKEN = "hf_never_printed"
TO = ("--to", "me/x")
GENERATOR = {"pipeline": "some/diffusion", "steps": 10, "guidance": 3.0, "size": 32, "seed": 0}


def hub(*words: str | Path, expect: int = 0) -> Result:
    return gift("hub", *words, expect=expect)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any]) -> Layout:
    """Two tasks that gift has learned and been tested on, by the real stages."""
    root = tmp_path_factory.mktemp("world")
    layout = make_world(root)
    for task in CLASSES:
        write_manifest(layout.shards(task), GENERATOR, {"count": len(CAPTIONS), "sha256": "of the prompts"})
    write_empty_accuracy(layout.pretrained_accuracy(), {})
    params = yaml.safe_load(yaml.safe_dump(_mini_params))
    row = params["methods"]["gift"] | {"release": {"kind": "interpolate", "alpha": 0.75}}
    experiment = TinyExperiment(layout, params, "gift", row, iterations=2, probes=("letters",))
    shutil.rmtree(layout.model("gift", "birds"))
    gift("probe", "letters", "--params", experiment.params, "--root", root)
    for task in ("birds", "digits"):
        for stage in ("teach", "finetune", "evaluate"):
            gift(stage, "gift", task, "--params", experiment.params, "--root", root)
    (root / "reports").mkdir()
    probes = {"mean": 57.0, "loss": 12.7, "by_task": {"letters": 57.0}}
    numbers = {"transfer": 50.0, "avg": 60.0, "last": 70.0, "forgetting": None, "probes": probes}
    (root / "reports" / "metrics.json").write_text(json.dumps({"gift": numbers}), encoding="utf-8")
    return layout


def token_features(folder: Path) -> torch.Tensor:
    """What open_clip alone computes with the model in a folder."""
    model = open_clip.create_model_and_transforms(f"local-dir:{folder}")[0].eval()
    with torch.no_grad():
        return model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["a photo of a wren."]))


def test_open_clip_loads_the_folder_and_its_card_says_how_the_model_was_trained(world: Layout, tmp_path: Path) -> None:
    model, out = world.released("gift", "digits"), tmp_path / "out"
    hub("push", "model", model, "--to", "me/tiny", "--license", "mit", "--out", out, "--root", world.root)
    assert torch.equal(token_features(out), token_features(model))
    card = ModelCard.load(out / "README.md")
    assert (card.data.library_name, card.data.license) == ("open_clip", "mit")
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])  # as the hub reads it
    rows, _ = read_accuracy(world.accuracy("gift", "digits"))
    own = rows[rows.trained_task == "digits"].set_index("eval_task").top1
    assert name == "tiny"
    found = {each.dataset_name: each.metric_value for each in results}
    assert found == {task: round(100 * value, 2) for task, value in own.items()}
    text = card.text
    assert "learned 2 tasks, one after another, with the method `gift`" in text
    assert "Its weights are 0.75 of the trained ones + 0.25 of the pre-trained ones." in text
    assert "- **birds**: 12 training images, 3 classes (tit, wren, owl). Prompt: `a photo of a {}.`" in text
    settings, generator = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    assert settings["settings"] == read_provenance(model)["settings"]
    assert settings["release"] == {"kind": "interpolate", "alpha": 0.75}
    assert "torch" in settings["environment"] and generator == GENERATOR
    assert "Over the whole sequence: Transfer 50.0, Avg 60.0, Last 70.0, zero-shot kept 57.0 of 69.7." in text
    assert re.search(r"\n\| letters \(probe\) \| [0-9.]+ \| [0-9.]+ \|\n", text)
    before = read_accuracy(world.accuracy("gift", "birds"))[0]
    percent = 100 * float(before[before.trained_task == "pretrained"].top1.iloc[0])
    assert f"| birds | {percent:.1f} |" in text


def test_accuracies_of_other_weights_are_left_out_and_an_own_tokenizer_is_named(world: Layout, tmp_path: Path) -> None:
    model, out = world.model("gift", "digits"), tmp_path / "out"  # the trained model, and not the tested one
    hub("push", "model", model, "--to", "me/tiny", "--out", out, "--root", world.root)
    card = ModelCard.load(out / "README.md")
    assert card.data.eval_results is None
    assert "## Accuracy" not in card.text
    assert "The publisher has named no license." in card.text
    hub("push", "model", MINI, "--to", "me/mini", "--out", tmp_path / "mini")  # its tokenizer is in the repository
    config = json.loads((tmp_path / "mini" / "open_clip_config.json").read_text(encoding="utf-8"))
    assert config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] == "me/mini"
    assert torch.equal(token_features(tmp_path / "mini"), token_features(MINI))


def test_datasets_reads_the_shards_and_their_card_makes_a_config_for_each_task(world: Layout, tmp_path: Path) -> None:
    out, cache = tmp_path / "out", str(tmp_path / "cache")
    hub("push", "shards", *(world.shards(task) for task in ("birds", "digits")), "--to", "me/pairs", "--out", out)
    files = [str(file) for file in sorted((out / "birds").glob("*.tar"))]
    rows = datasets.load_dataset("webdataset", data_files={"train": files}, split="train", cache_dir=cache)
    pairs = list(iterate_pairs(world.shards("birds")))
    assert [row["txt"] for row in rows] == [pair.prompt for pair in pairs] == list(CAPTIONS)
    assert [row["json"]["prompt_id"] for row in rows] == [pair.prompt_id for pair in pairs]
    assert all(isinstance(row["png"], Image.Image) and row["png"].size == (16, 16) for row in rows)
    card = DatasetCard.load(out / "README.md")
    assert "synthetic" in card.data.tags and "14 synthetic image-text pairs" in card.text
    assert [each["config_name"] for each in card.data.configs] == ["default", "birds", "digits"]
    for name, count in {"default": 14, "digits": 7}.items():
        assert len(datasets.load_dataset(str(out), name, split="train", cache_dir=cache)) == count


def test_images_of_a_real_task_are_never_uploaded(world: Layout, tmp_path: Path) -> None:
    unknown = shutil.copytree(world.shards("birds"), tmp_path / "unknown")
    write_manifest(unknown, {}, {"count": len(CAPTIONS), "sha256": "of the prompts"})
    added = shutil.copytree(world.shards("birds"), tmp_path / "added")
    shutil.copyfile(world.task("birds") / "train-00000.tar", added / "00000.tar")
    (tmp_path / "photos").mkdir()
    refused = {
        world.task("birds"): "images of a task, not shards of the stage synthesize",
        unknown: "names no generator, so the images may be real",
        added: "the file was changed",
        tmp_path / "photos": "without manifest.json",
    }
    for folder, message in refused.items():
        assert message in hub("push", "shards", folder, *TO, "--out", tmp_path / "out", expect=1).output
    assert not (tmp_path / "out").exists()


def test_a_name_is_that_of_a_repository_and_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    for words in (("push", "model", MINI, "--to", "tiny"), ("pull", "model", "tiny", tmp_path / "out")):
        assert "should be user/name" in hub(*words, expect=1).stderr
    (tmp_path / "file").touch()
    for words in (("push", "model", MINI, *TO, "--out", tmp_path), ("pull", "model", "me/x", tmp_path)):
        assert "has other files (file)" in hub(*words, expect=1).stderr


SCRIPT = """\
import json, sys
from typer.testing import CliRunner
from stages.app import app
said = {}
for name, words in json.loads(sys.argv[1]).items():
    result = CliRunner().invoke(app, ["hub", *words])
    said[name] = [result.exit_code, result.output]
import open_clip
model, _, _ = open_clip.create_model_and_transforms("hf-hub:me/mini")
said["tokens"] = open_clip.get_tokenizer("hf-hub:me/mini")(["a photo of a snowman."]).tolist()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def transfers(world: Layout, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """All commands that reach the hub, in one process that is logged in, and then open_clip's own download.

    The stand-in for the hub, the folder the commands ran in, and what they `said`: {name: (exit code, output)}.
    """
    folder, pairs = tmp_path_factory.mktemp("transfers"), world.shards("birds")
    commands = {
        "model": ["push", "model", str(MINI), "--to", "me/mini", "--private"],
        "shards": ["push", "shards", str(pairs), "--to", "me/pairs", "--revision", "first"],
        "denied": ["push", "model", str(MINI), "--to", "me/denied"],
        "pulled model": ["pull", "model", "me/mini", "model"],
        "pulled shards": ["pull", "shards", "me/pairs", "pairs", "--revision", "first"],
        "missing": ["pull", "model", "me/missing", "missing"],
        "damaged": ["pull", "shards", "me/damaged", "damaged"],
        "code": ["pull", "shards", "me/code", "code"],
        "nan": ["pull", "model", "me/nan", "nan"],
        "tokenizer": ["pull", "model", "me/tokenizer", "tokenizer"],
    }
    with HubServer() as server:
        files = {f"birds/{name}": data for name, data in content(pairs).items()}
        server.files["datasets/me/damaged@main"] = {**files, "birds/00000.parquet": b"damaged"}
        others = ("setup.py", "birds/run.py", "evil.parquet", "birds/evil.parquet", "games/extra.tar")
        server.files["datasets/me/code@main"] = {**files, **dict.fromkeys(others, b"print(1)")}
        model = content(MINI)
        weights = {name: value * torch.nan for name, value in load(model[WEIGHTS]).items()}
        server.files["models/me/nan@main"] = {**model, WEIGHTS: save(weights)}
        server.files["models/me/tokenizer@main"] = {**model, "tokenizer.json": b"{}"}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = {"HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(commands)],
            env=os.environ | settings | {"HF_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
            cwd=folder,
            capture_output=True,
            text=True,
        )
        server.shutdown()
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert f"Bearer {TOKEN}" in server.tokens and TOKEN not in printed  # it is sent and never printed
    return SimpleNamespace(server=server, folder=folder, said=json.loads(done.stdout.splitlines()[-1]))


def test_a_pushed_model_is_loaded_by_open_clip_from_the_hub(transfers: SimpleNamespace) -> None:
    exit_code, said = transfers.said["model"]
    assert exit_code == 0, said
    assert said.endswith('open_clip.create_model_and_transforms("hf-hub:me/mini")\n')
    assert transfers.said["tokens"] == open_clip.get_tokenizer(f"local-dir:{MINI}")(["a photo of a snowman."]).tolist()
    wanted = [each.get("visibility") == "private" or each.get("private") is True for each in transfers.server.created]
    assert wanted == [True, False]


def test_what_was_pushed_is_pulled_whole(transfers: SimpleNamespace, world: Layout) -> None:
    assert [transfers.said[name][0] for name in ("shards", "pulled model", "pulled shards", "code")] == [0] * 4
    assert (transfers.folder / "model" / WEIGHTS).read_bytes() == (MINI / WEIGHTS).read_bytes()
    pairs = transfers.folder / "pairs"
    assert content(pairs / "birds") == content(world.shards("birds"))
    assert sorted(path.name for path in pairs.iterdir()) == ["README.md", "birds"]
    # of a repository with other files, only what the manifest names
    named = {f"birds/{name}": data for name, data in content(world.shards("birds")).items()}
    assert content(transfers.folder / "code") == named


def test_what_cannot_be_used_or_had_is_not_kept(transfers: SimpleNamespace) -> None:
    for name, begins, message in (
        ("damaged", "datasets/me/damaged: nothing was kept. ", "datasets/me/damaged/birds/00000.parquet: "),
        ("nan", "me/nan: nothing was kept. ", "are NaN, infinite"),
        ("tokenizer", "me/tokenizer: nothing was kept. ", "its tokenizer cannot be loaded"),
        ("denied", "me/denied: ", "Log in with: hf auth login. The token needs the right to write."),
        ("missing", "me/missing: ", "Check the name and the revision. A private repository needs: hf auth login."),
    ):
        exit_code, said = transfers.said[name]
        assert exit_code == 1 and not (transfers.folder / name).exists(), said
        (error,) = [line for line in said.replace("\r", "\n").splitlines() if line.startswith("error: ")]
        assert error.startswith(f"error: {begins}") and message in error

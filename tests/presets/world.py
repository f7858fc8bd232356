"""The experiment of a preset, made small: made-up raw data in the official layouts, a tiny CLIP, and little work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from open_clip import SimpleTokenizer
from open_clip.model import CLIP

from gift_core.clip.model import Clip, save_clip
from gift_core.config.params_edit import COUNTED, MINIATURE
from gift_core.mini.world import mini_task
from tests.clip.tiny import tiny_config
from tests.datasets.catalogue.trees import make_tree
from tests.datasets.folders import picture
from tests.imports import sequence_of
from tests.stages.experiment import gift

CONTEXT = 77  # tokens that the published models read
MODEL = "data/0_raw/models/tiny"
GENERATOR = {"pipeline": "data/mini/diffusion", "revision": None, "dtype": "float32", "size": 32}  # the miniature's
LITTLE_WORK: dict[str, dict[str, Any]] = {
    "training": {"iterations": 3, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8},
    "prompts": {"images_per_task": 8},
    "generator": {"steps": 2, "batch_size": 8, "images_per_shard": 8},
}
STEPS, PROBES = 2, 2  # that stay
SHOTS = 2  # of a class with few
OWN = {"birds": ("great tit", "wren"), "boats": ("canoe", "ferry", "tanker")}  # classes of two folders of photos


def make_world(project: Path, *, steps: int = STEPS, methods: Sequence[str] = ()) -> None:
    """Makes the experiment in project/params.yaml small, and writes the data sets and the model that it needs.

    Its first `steps` are learned, with `methods` if there are any. Each of its data sets is there, with an image or two
    of every class. An experiment without a task gets two folders of photos and a table of captions by `gift add-task`.
    """
    file = project / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    for section, values in LITTLE_WORK.items():
        params[section] |= values
    if not params["model"]["name"].endswith(MINIATURE):
        _write_model(project / MODEL)
        params["model"] |= {"name": f"local-dir:{MODEL}", "pretrained": None}
        params["generator"] |= GENERATOR
    if methods:
        params["run"]["methods"] = list(methods)
    for row in params["methods"].values():
        _limit_to_iterations(row, params["training"]["iterations"])
    factors = {step["task"]: step["learning_rate_factor"] for step in params["sequence"][:steps]}
    params["sequence"] = [step | {"learning_rate_factor": factors[step["task"]]} for step in sequence_of([*factors])]
    params["evaluation"]["probes"] = params["evaluation"]["probes"][:PROBES]
    rows = _of_each_data_set(params["tasks"], {*factors, *params["evaluation"]["probes"]})
    params["tasks"] = {name: _small_task(project, name, row) for name, row in rows.items()}
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    if not rows:
        _add_own_tasks(project)


def _write_model(folder: Path) -> None:
    """An open_clip model with random weights and the tokenizer of the published ones."""
    torch.manual_seed(0)
    config = tiny_config()
    config["model_cfg"]["text_cfg"]["context_length"] = CONTEXT
    model = CLIP(**config["model_cfg"]).eval()
    save_clip(Clip(model, SimpleTokenizer(context_length=CONTEXT), config, "fp32"), folder, {})


def _limit_to_iterations(row: dict[str, Any], iterations: int) -> None:
    """Lowers the numbers of iterations in the row of a method, such as that between two averages, to `iterations`."""
    for section, key in COUNTED:
        if key in (row.get(section) or {}):
            row[section][key] = min(row[section][key], iterations)


def _of_each_data_set(rows: dict[str, Any], used: set[str]) -> dict[str, Any]:
    """The tasks that are `used`, and one of every data set that none of them is of."""
    paths = {rows[name]["path"] for name in used}
    kept = dict[str, Any]()
    for name, row in rows.items():
        if name in used or row["path"] not in paths:
            kept[name] = row
            paths.add(row["path"])
    return kept


def _small_task(project: Path, name: str, row: dict[str, Any]) -> dict[str, Any]:
    """The row of a task with few images. Those of a published data set are written, once for all tasks of it."""
    if row["source"] == "mini":
        images = len(mini_task(name).class_names)  # fewer are refused
        return row | {"train_images": images, "test_images": images}
    folder, shots = project / row["path"], row.get("shots")
    if shots:
        row = row | {"shots": min(shots, SHOTS)}
    if not folder.exists():
        make_tree(row["dataset"], folder, per_class=row.get("shots", 1))
    return row | {"allow_partial": True}


def _add_own_tasks(project: Path) -> None:
    raw, place = project / "data" / "0_raw", ("--params", project / "params.yaml", "--root", project)
    for name, classes in OWN.items():
        for number in range(6 * len(classes)):
            picture(raw / name / classes[number % len(classes)] / f"{number}.png", (10 * number, 0, 90))
        gift("add-task", name, "--images", raw / name, *place)
    lines = [f"{number}.png,picture {number} of our holiday" for number in range(10)]
    for number in range(len(lines)):
        picture(raw / "holiday" / f"{number}.png", (20 * number, 0, 90))
    (raw / "holiday" / "captions.csv").write_text("\n".join(["image,caption", *lines]), encoding="utf-8")
    gift("add-task", "holiday", "--images", raw / "holiday", "--table", "captions.csv", "--captions", *place)

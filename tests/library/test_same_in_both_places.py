"""A method, an own loss and a release mean the same in params.yaml and in the library: the same bytes of weights."""

from __future__ import annotations

import copy
import shutil
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file

import gift_core
from gift_core.artifacts.model_folder import WEIGHTS
from gift_core.clip.images import evaluation_transform
from gift_core.clip.model import load_folder
from gift_core.config.loading import load_config
from gift_core.method.methods import build_method, load_replay, load_training_data
from gift_core.method.replay.teach import replay_of
from tests.conftest import PROJECT
from tests.stages.experiment import Experiment, tiny

ALPHA, ITERATIONS, SIZE = 0.7, 3, 12
OWN = {"file": "my_losses.py", "weight": 20.0, "margin": 0.01}


@pytest.fixture
def experiment(tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """The first step of gift with a loss of one's own and a release, by the stages."""
    monkeypatch.delitem(sys.modules, "my_losses", raising=False)  # of examples/, which other tests import
    params = tiny(mini_params)
    params["run"] |= {"methods": ["gift"], "device": "cpu"}
    params["training"] |= {"replay_batch_size": SIZE}
    params["methods"]["gift"]["losses"]["relations"] = OWN
    params["methods"]["gift"]["release"] = {"kind": "interpolate", "alpha": ALPHA}
    shutil.copy(PROJECT / "examples" / "my_losses.py", tmp_path)
    experiment = Experiment(tmp_path, params)
    experiment.succeed("import_model")
    experiment.succeed("write_vocabulary")
    experiment.learn("games")
    return experiment


def batches_of(experiment: Experiment) -> tuple[list[Any], list[Any], list[str]]:
    """The batches of the stage, whose order is of its seeds: of the task, of the replay, and the class prompts."""
    config, layout = load_config(experiment.folder / "params.yaml"), experiment.layout
    device = torch.device("cpu")
    clip, row = load_folder(layout.pretrained(), device=device, precision="fp32"), config.methods["gift"]
    names = ("finetune", config.seed)
    data = load_training_data(row, clip, [layout.task("games")], training=config.training, names=names)
    replay = load_replay(build_method(row, root=experiment.folder), clip, replay_of(config, layout, "gift", "games"))
    stored, transform, of_replay = gift_core.read_pairs(layout.shards("games")), evaluation_transform(clip), []
    for iteration in range(ITERATIONS):
        batch = replay.sample(iteration)
        ids = batch.image_ids_M.tolist()  # type: ignore[union-attr]
        images = torch.stack([transform(stored[number][0]) for number in ids])
        torch.testing.assert_close(images, batch.images_MCHW, rtol=0, atol=1e-5)
        of_replay.append((batch.images_MCHW, [stored.prompts[number] for number in ids]))
    of_task = [data.batches.sample(iteration) for iteration in range(ITERATIONS)]
    return [(each.images_BCHW, each.targets["labels_B"]) for each in of_task], of_replay, [*data.batches.class_prompts]


@pytest.mark.thorough
def test_a_step_of_gift_has_the_same_weights_by_the_stages_and_by_the_library(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment.folder)  # where the file of the row is
    loader, replayed, prompts = batches_of(experiment)
    layout, training = experiment.layout, dict(experiment.params["training"])
    row = dict(experiment.params["methods"]["gift"])
    del row["release"]
    name = f"local-dir:{layout.pretrained()}"
    for key in ("iterations", "batch_size", "crop_scale", "processes"):
        del training[key]
    model = open_clip.create_model_and_transforms(name)[0].eval()
    start = copy.deepcopy(model.state_dict())
    pairs: Any = torch.utils.data.DataLoader(replayed, batch_size=None)  # type: ignore[arg-type]
    gift_core.finetune(
        model,
        open_clip.get_tokenizer(name),
        loader,
        prompts,
        pairs=pairs,
        method=row,
        iterations=ITERATIONS,
        **training,
    )
    for folder, mine in (
        (layout.model("gift", "games"), model),
        (layout.released("gift", "games"), gift_core.released(model, start, alpha=ALPHA)),
    ):
        expected = load_file(folder / WEIGHTS)
        differing = [key for key, value in mine.state_dict().items() if not torch.equal(value, expected[key])]
        assert differing == []
    assert any(not torch.equal(value, start[key]) for key, value in model.state_dict().items())

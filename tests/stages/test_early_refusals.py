"""What finetune, teach and evaluate could not use is refused by the first stage that knows it, and by the doctor.

Above all classes that are one text to the model. Captions that are one are learned.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.task import read_task
from gift_core.process_variables import DVC_STAGE
from tests.clip.tiny import picture
from tests.datasets.folders import flat_birds, folder_row
from tests.imports import ROOT
from tests.stages.experiment import Experiment, invoke, tiny

# The miniature's CLIP reads 20 tokens.
LONG = "bird with a long name that says what it is and where it lives and who saw it and in which year"
SAME, DIFFERENT = [f"{LONG} 2007", f"{LONG} 2012"], ["great tit", "wren"]
REFUSAL = f"tasks.birds: the classes '{SAME[0]}' and '{SAME[1]}' are the same to the model: 'a photo of a {SAME[0]}.' "
REFUSAL += f"and 'a photo of a {SAME[1]}.' have the same tokens. It reads 20, and ignores case."
CAPTIONS = ["a photo of a hat", "A Photo of a  Hat", f"a {LONG} red", f"a {LONG} blue", "a photo of a shoe"]


@pytest.fixture
def experiment(tmp_path: Path, mini_params: dict[str, Any]) -> Experiment:
    """It learns games. The images of birds are there."""
    flat_birds(tmp_path / "data/0_raw")
    mini_params["run"] |= {"methods": ["gift"]}
    return Experiment(tmp_path, tiny(mini_params, tasks=["games"]))


def learn_birds(experiment: Experiment, names: list[str], *, probe: bool = False) -> None:
    """Writes params.yaml with the task birds, as somebody does who edits it."""
    params = experiment.params
    params["tasks"]["birds"] = folder_row(class_names=dict(zip(["great_tit", "wren"], names, strict=True)))
    params["evaluation"]["probes"] = ["birds"] if probe else []
    step = {"task": "birds", "after": "games", "learning_rate_factor": 1.0}
    params["sequence"] = [*params["sequence"][:1], *([] if probe else [step])]
    experiment.write(params)


def doctor(experiment: Experiment) -> list[str]:
    """What the doctor finds of classes."""
    found = json.loads(invoke("doctor", "--json", "--root", experiment.folder).stdout)
    return [each["found"] for each in found if each["subject"] == "classes"]


@pytest.mark.parametrize("probe", [False, True], ids=["learned", "probe"])
def test_two_classes_with_the_same_tokens_are_refused_before_training(experiment: Experiment, probe: bool) -> None:
    (experiment.folder / "data/0_raw/birds/names.txt").write_text("\n".join(SAME), encoding="utf-8")
    words = ("birds", "--images", str(experiment.folder / "data/0_raw/birds"), *(["--probe"] if probe else []))
    assert REFUSAL in experiment.fail("add-task", *words, "--class-names", "names.txt")
    assert "birds" not in (experiment.folder / "params.yaml").read_text(encoding="utf-8")
    learn_birds(experiment, SAME, probe=probe)
    assert [each.startswith(REFUSAL) for each in doctor(experiment)] == [True]
    assert REFUSAL in experiment.fail("ingest", "birds")  # before and after import_model
    experiment.succeed("import_model")
    assert REFUSAL in experiment.fail("ingest", "birds")
    assert not experiment.layout.task("birds").exists()
    learn_birds(experiment, DIFFERENT, probe=probe)
    assert doctor(experiment) == []
    assert "2 classes" in experiment.succeed("ingest", "birds")


def test_another_model_is_refused_for_ingested_tasks_and_not_for_those_to_be_made_again(experiment: Experiment) -> None:
    learn_birds(experiment, DIFFERENT)
    experiment.succeed("ingest", "birds")
    file = experiment.layout.task("birds") / "task.json"
    before = json.loads(file.read_text(encoding="utf-8")) | {"class_names": SAME}
    file.write_text(json.dumps(before), encoding="utf-8")
    experiment.succeed("import_model")  # params.yaml has other names by now
    shutil.rmtree(experiment.folder / "data/0_raw/birds")  # so that task.json is all there is
    assert REFUSAL in experiment.fail("import_model")


def test_protocols_of_all_classes_compare_the_tasks_with_each_other(experiment: Experiment) -> None:
    experiment.params["evaluation"]["protocol"] = "class_incremental"
    flat_birds(experiment.folder / "data/0_raw/more")
    experiment.params["tasks"]["more"] = folder_row("data/0_raw/more/birds")
    experiment.params["sequence"] = [{"task": "more", "after": "../pretrained", "learning_rate_factor": 1.0}]
    learn_birds(experiment, ["Great Tit", "kite"])
    experiment.params["sequence"][-1]["after"] = "more"
    experiment.write(experiment.params)
    experiment.succeed("ingest", "more")
    both = "class_incremental: tasks more and birds both have the class 'great tit' and 'Great Tit'"
    assert both in experiment.fail("ingest", "birds")


def test_captions_with_the_same_tokens_are_one_text(experiment: Experiment) -> None:
    folder = experiment.folder / "data/0_raw/clothes"
    folder.mkdir()
    for number in range(20):
        picture(number, width=40, height=40).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(CAPTIONS[number % 5], encoding="utf-8")
    words = ("add-task", "clothes", "--images", str(folder), "--captions", "--check")
    said = experiment.succeed(*words)
    assert "2 training captions with the tokens of another one, so they are one text to the model." in said
    experiment.succeed("import_model")
    experiment.succeed("write_vocabulary")
    experiment.learn("games")
    said = experiment.learn("clothes")
    cut = "6 longer than the model's context, and cut; 2 with the tokens of another one"
    assert f"16 images with 16 captions ({cut}, so they are one text to the model), 3 iterations" in said
    names = read_task(experiment.layout.task("clothes")).class_names
    assert len(names) == 4 and len({name.casefold() for name in names}) == 4


REFERENCE = {"images": "reference", "teacher": "previous", "folder": "data/0_raw/reference/mine"}


def test_a_reference_folder_is_checked_first(experiment: Experiment) -> None:
    experiment.params["methods"]["gift"]["replay"] = REFERENCE
    experiment.write(experiment.params)
    folder = experiment.folder / REFERENCE["folder"]
    experiment.succeed("check")  # the folder may be elsewhere, and the results here
    folder.mkdir(parents=True)
    for expected in ("there are no images", "1.png has no caption"):
        assert f"params.yaml: methods.gift.replay.folder: {expected}" in experiment.fail("check")
        quick = invoke("doctor", "--quick", "--root", experiment.folder)
        assert quick.exit_code == 1 and expected in quick.stdout
        picture(1).save(folder / "1.png")
    (folder / "1.txt").write_text("a bird", encoding="utf-8")
    experiment.succeed("check")


def test_dvc_does_not_record_a_check_without_a_named_file_and_its_hash(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That would be a fresh clone, whose results `gift get` brings."""
    folder = experiment.folder / "data/0_raw/models/mine"
    experiment.params["model"]["name"] = "local-dir:data/0_raw/models/mine"
    experiment.write(experiment.params)
    experiment.succeed("check")  # by hand, as in CI
    monkeypatch.setenv(DVC_STAGE, "check")
    said = experiment.fail("check")
    assert "data/0_raw/models/mine: params.yaml names it, and it is not there." in said and "run: gift get" in said
    shutil.copytree(ROOT / "data/mini/clip", folder)
    experiment.succeed("check")
    shutil.rmtree(folder)
    experiment.succeed("check")


def test_a_missing_tracker_is_found_first(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFT_TRACKING", "trackio")
    assert "GIFT_TRACKING" in experiment.fail("check")


RANDOM = {"kind": "random_tokens", "count": 9, "length": 30}
UNFIT = {
    "gift": ({"trains": {"kind": "last_blocks", "blocks": 9}}, "methods.gift: trains.blocks: 9: the image tower has"),
    "lwf": (
        {"replay": {"images": "task", "teacher": "previous", "texts": RANDOM}},
        "methods.lwf: replay.texts: random_tokens: 30 tokens with start and end need 32 positions, but the context",
    ),
}


@pytest.mark.parametrize("method", UNFIT)
def test_import_model_refuses_a_method_that_does_not_fit_the_model(experiment: Experiment, method: str) -> None:
    change, refusal = UNFIT[method]
    experiment.params["run"]["methods"] = [method]
    experiment.params["methods"][method] |= change
    experiment.write(experiment.params)
    assert refusal in experiment.fail("import_model")

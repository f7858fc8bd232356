"""All checks together; data sets, models and pipelines: complete, damaged, missing or unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from gift_core.doctor.examine import MODELS, examine, examine_experiment, summarize
from gift_core.doctor.inputs import check_data, check_generator, check_model, model_config_of
from tests.clip.tiny import tiny_clip
from tests.clone import content
from tests.datasets.folders import folder_row, picture
from tests.doctor.projects import link_models, make_project, own_project
from tests.imports import ROOT


def test_the_miniature_has_no_problems(tmp_path: Path) -> None:
    link_models(tmp_path)
    make_project(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")
    found = list(examine(tmp_path))
    assert "fail" not in {finding.mark for finding in found}
    subjects = [finding.subject for finding in found]
    assert (subjects[0], subjects[-2:]) == ("python", ["dvc", "dvc remote"])
    wanted = ["params.yaml", "model", "generator", "data", "memory", "disk", "time"]
    assert [subject for subject in dict.fromkeys(subjects) if subject in wanted] == wanted


def test_the_quick_check_finds_what_a_stage_would_refuse_after_hours(tmp_path: Path) -> None:
    link_models(tmp_path)
    scorer = {"name": "local-dir:data/0_raw/generators/no", "pretrained": None}
    filters = {"scorer": scorer, "min_clip_score": 0.2, "max_similarity": None, "max_redraws": 1}
    trains = {"kind": "last_blocks", "blocks": 99}
    lora = {"path": "data/0_raw/generators/lora", "weight_name": None, "scale": 1.0}
    (tmp_path / lora["path"]).mkdir(parents=True)  # of the project, so it is not missing
    generator = {"generator__filters": filters, "generator__lora": lora, "generator__pipeline": "-a"}
    make_project(tmp_path, run__device="cpu", methods__finetune__trains=trains, **generator)
    found = "\n".join(f"{each.subject}: {each.found}" for each in examine(tmp_path, quick=True) if each.mark == "fail")
    assert "methods.finetune: trains.blocks: 99: the image tower has 4 blocks" in found
    assert "generator.filters.scorer.name: there is no data/0_raw/generators/no" in found
    assert "\ngenerator: '-a' is no name of a repository: " in found and "crashed" not in found


def test_a_missing_or_invalid_params_yaml_is_one_fail_and_the_other_checks_run(tmp_path: Path) -> None:
    (finding,) = examine(tmp_path, quick=True)
    assert (finding.mark, "no such file" in finding.found) == ("fail", True)
    (tmp_path / "params.yaml").write_text("experimnt: mini\n", encoding="utf-8")
    found = list(examine(tmp_path))
    (fault,) = (finding for finding in found if finding.subject == "params.yaml")
    assert fault.mark == "fail" and "params.yaml: " not in fault.found and "\nexperimnt: unknown key" in fault.found
    assert "miniature" not in str(found)
    assert {"python", "torch", "dvc"} <= {finding.subject for finding in found}


def test_an_empty_folder_is_a_fail_and_images_are_counted_and_what_is_left_out_is_a_warning(tmp_path: Path) -> None:
    project, folder = own_project(tmp_path), tmp_path / "data/0_raw/my_task"
    folder.mkdir(parents=True)
    (finding,) = check_data(replace(project, quick=True))
    assert (finding.mark, finding.found, "--allow-missing" in finding.remedy) == ("fail", f"{folder} is empty", False)
    (tmp_path / "data/1_tasks/my_task").mkdir(parents=True)
    (tmp_path / "data/1_tasks/my_task/task.json").write_text("{}", encoding="utf-8")
    (finding,) = check_data(replace(project, quick=True))
    assert finding.remedy.endswith("dvc repro --allow-missing.")
    for number in range(15):
        picture(folder / f"class_{number % 3}" / f"{number}.png", (40 * (number % 3), 10 * number, 0))
    (folder / "notes.txt").touch()
    assert list(check_data(replace(project, quick=True))) == []
    counted, note, few = check_data(project)
    assert (counted.mark, counted.found) == ("ok", "data/0_raw/my_task: 12 + 3 images, 3 classes")
    assert (note.mark, note.found) == ("warn", "1 file left out: notes.txt.")
    assert (few.mark, few.found) == ("warn", "Only 3 test images: chance moves their accuracy by up to 57 points")
    assert few.remedy == "Add photos, or raise test_fraction of the task."
    probe = own_project(tmp_path, tasks={"my_task": folder_row("data/0_raw/my_task") | {"test_fraction": 0.99}})
    assert [finding.remedy for finding in check_data(probe)][-1] == "Add photos."  # most images are test images already
    known = replace(counted, mark="info")  # counts as nothing
    assert summarize([counted, known, note]) == ("0 problems, 1 warning, 1 ok", f"data my_task: {note.sentence}")


COMMIT = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No hub, and an empty hub cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_the_models_of_the_miniature_are_complete_and_a_missing_folder_is_a_fail(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for finding in (*check_model(project), *check_generator(project)):
        assert (finding.mark, finding.found.startswith(f"there is no {tmp_path / 'data/mini'}")) == ("fail", True)
    link_models(tmp_path)
    project = make_project(tmp_path)
    found = [*check_model(project), *check_generator(project)]
    assert [*check_model(replace(project, quick=True))] == [replace(found[0], found=found[0].found.partition(",")[0])]
    assert [(finding.subject, finding.mark) for finding in found] == [("model", "ok"), ("generator", "ok")]
    assert "2.1M parameters" in found[0].found and "9.6 MB of weights" in found[1].found
    (tmp_path / "a:b").symlink_to(ROOT / "data/mini/clip")
    named = make_project(tmp_path, model__name="local-dir:a:b")
    found = [*check_model(named)]
    assert [finding.mark for finding in found] == ["ok", "warn"] and model_config_of(named) is not None
    assert "DVC does not watch" in found[1].found and "a copy of it in data/0_raw/models" in found[1].remedy


def test_a_model_that_import_model_would_refuse_is_a_fail(tmp_path: Path) -> None:
    """A checkpoint has no header that could be compared: it is opened with the architecture of params.yaml."""
    link_models(tmp_path)
    torch.save(tiny_clip().model.state_dict(), tmp_path / "own.pt")
    for name, pretrained, message in (
        ("RN50", "own.pt", "own.pt, model.name RN50: the weights do not fit: "),
        ("local-dir:own.pt", None, "it is a file, expected a folder. Name its architecture in model.name, and the"),
        (str(ROOT / "data"), "own.pt", "is a folder. Write local-dir:"),
        ("local-dir:data/mini/clip", "own.pt", "'own.pt' has no effect"),
    ):
        make_project(tmp_path, model__name=name, model__pretrained=pretrained)
        found = [finding for finding in examine_experiment(tmp_path, None, {MODELS}) if finding.mark == "fail"]
        assert found[0].subject == "model" and message in found[0].found, name


def test_a_model_and_a_pipeline_at_its_commit_are_found_in_the_hub_cache(tmp_path: Path, offline: Path) -> None:
    project = make_project(tmp_path, "mtil_order_1")
    (model,), (finding,) = check_model(project), check_generator(project)
    assert (model.mark, finding.mark) == ("fail", "fail")
    assert model.found.startswith("timm/vit_base_patch16_clip_224.openai is not on this machine")
    assert " is not on this machine" in finding.found
    cached(offline, "timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors")
    assert [each.mark for each in check_model(project)] == ["ok"]
    for name, data in content(ROOT / "data/mini/diffusion").items():
        cached(offline, project.config.generator.pipeline, name, commit=COMMIT).write_bytes(data)
        if name == "model_index.json":  # what an interrupted download has first
            assert "is not on this machine" in str([*check_generator(project)])
    another = make_project(tmp_path, "mtil_order_1", generator__revision="0" * 40)
    assert [each.mark for one in (project, another) for each in check_generator(one)] == ["ok", "fail"]


def cached(folder: Path, repository: str, name: str, *, commit: str = "c0ffee") -> Path:
    """A file in the hub cache, in the layout of huggingface_hub."""
    target = folder / f"models--{repository.replace('/', '--')}"
    file = target / "snapshots" / commit / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}", encoding="utf-8")
    (target / "refs").mkdir(exist_ok=True)
    (target / "refs" / "main").write_text(commit, encoding="utf-8")
    return file

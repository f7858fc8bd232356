"""Models and pipelines: complete, damaged, missing or unknown, and in the hub cache."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from gift_core.doctor.finding import Finding
from gift_core.doctor.model_checks import check_clip, check_generator
from gift_core.downloads import require_download
from gift_core.errors import UserError
from tests.clone import content
from tests.doctor.projects import link_models, make_project
from tests.imports import ROOT

COMMIT = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No hub, and an empty hub cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def one(findings: object) -> Finding:
    (finding,) = list(findings)  # type: ignore[call-overload]
    return finding  # type: ignore[no-any-return]


def test_the_models_of_the_miniature_are_complete_and_a_missing_folder_is_a_fail(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for finding in (*check_clip(project), *check_generator(project)):
        assert (finding.mark, finding.found.startswith(f"there is no {tmp_path / 'data/mini'}")) == ("fail", True)
    link_models(tmp_path)
    project = replace(make_project(tmp_path), quick=True)
    found = [*check_clip(project), *check_generator(project)]
    assert [(finding.subject, finding.mark) for finding in found] == [("model", "ok"), ("generator", "ok")]
    assert "2.1M parameters" in found[0].found and "4.8M parameters" in found[1].found


def test_a_folder_with_a_missing_or_damaged_file_is_a_fail(tmp_path: Path) -> None:
    for file, words in (
        ("open_clip_config.json", "has no open_clip_config"),
        ("open_clip_model.safetensors", "or no weights"),
    ):
        shutil.copytree(ROOT / "data" / "mini", tmp_path / "data" / "mini", dirs_exist_ok=True)
        (tmp_path / "data/mini/clip" / file).unlink()
        finding = one(check_clip(make_project(tmp_path)))
        assert (finding.mark, words in finding.found) == ("fail", True)
    shutil.copytree(ROOT / "data" / "mini", tmp_path / "data" / "mini", dirs_exist_ok=True)
    (tmp_path / "data/mini/clip/open_clip_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="is not valid JSON"):
        list(check_clip(make_project(tmp_path)))


def test_a_model_is_found_in_the_hub_cache(tmp_path: Path, offline: Path) -> None:
    of_hub = {"model__name": "hf-hub:who/what", "model__pretrained": None}
    for changes, repository, file in (
        ({}, "timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors"),
        (of_hub, "who/what", "open_clip_pytorch_model.bin"),
    ):
        project = make_project(tmp_path, "mtil_order_1", **changes)
        finding = one(check_clip(project))
        assert (finding.mark, finding.found.partition(",")[0]) == ("fail", f"{repository} is not on this machine")
        assert "data/0_raw/models" in finding.remedy
        cached(offline, repository, file)
        assert one(check_clip(project)).mark == "ok"


def test_a_pipeline_is_found_in_the_hub_cache_at_its_commit(tmp_path: Path, offline: Path) -> None:
    project = make_project(tmp_path, "mtil_order_1")
    finding = one(check_generator(project))
    assert (finding.mark, "data/0_raw/generators" in finding.remedy) == ("fail", True)
    assert " is not on this machine" in finding.found
    for name, data in content(ROOT / "data/mini/diffusion").items():
        cached(offline, project.config.generator.pipeline, name, commit=COMMIT).write_bytes(data)
        if name == "model_index.json":  # what an interrupted download has first
            assert "is not on this machine" in one(check_generator(project)).found
    assert one(check_generator(project)).mark == "ok"
    another = make_project(tmp_path, "mtil_order_1", generator__revision="0" * 40)
    assert one(check_generator(another)).mark == "fail"


def cached(folder: Path, repository: str, name: str, *, commit: str = "c0ffee") -> Path:
    """A file in the hub cache, in the layout of huggingface_hub."""
    target = folder / f"models--{repository.replace('/', '--')}"
    file = target / "snapshots" / commit / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}", encoding="utf-8")
    (target / "refs").mkdir(exist_ok=True)
    (target / "refs" / "main").write_text(commit, encoding="utf-8")
    return file


def require(repository: str, **options: str) -> None:
    params = {"name": "local-dir:models/what", "pretrained": "null"}
    require_download(repository, ("a", "b"), key="model.name", folder="models/what", params=params, **options)


def test_without_a_network_one_message_has_the_command_and_the_lines_of_params_yaml(offline: Path) -> None:
    with pytest.raises(UserError) as refused:
        require("who/what", revision="c0ffee")
    assert str(refused.value).splitlines()[1:] == [
        "  hf download who/what --revision c0ffee --local-dir models/what",
        "Bring that folder here, and write into params.yaml:",
        "  model:",
        "    name: local-dir:models/what",
        "    pretrained: null",
    ]
    cached(offline, "who/what", "b")
    require("who/what", revision="c0ffee")

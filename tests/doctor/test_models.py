"""Models and pipelines: whole, damaged, missing, unknown, in the hub's cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from gift_core.doctor.finding import Finding, Scene
from gift_core.doctor.models import check_clip, check_generator, check_local_models
from gift_core.errors import ContractError, UserError
from tests.doctor.scenes import mini_models, scene
from tests.doctor.test_hub import cached
from tests.imports import ROOT

COMMIT = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No hub, and an empty cache of it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def one(findings: object) -> Finding:
    (finding,) = list(findings)  # type: ignore[call-overload]
    return finding  # type: ignore[no-any-return]


def own_copy(folder: Path) -> Scene:
    """The miniature with models of its own, to damage."""
    shutil.copytree(ROOT / "data" / "mini", folder / "data" / "mini")
    return scene(folder)


def test_the_miniatures_models_are_whole(tmp_path: Path) -> None:
    mini_models(tmp_path)
    found = list(check_local_models(scene(tmp_path)))
    assert [(finding.subject, finding.mark) for finding in found] == [("model", "ok"), ("generator", "ok")]
    assert "2.1M parameters" in found[0].found
    assert "4.8M parameters" in found[1].found


def test_names_of_the_hub_are_no_matter_for_the_quick_look(tmp_path: Path) -> None:
    assert list(check_local_models(scene(tmp_path, "mtil_order_1"))) == []


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    finding = one(check_clip(scene(tmp_path)))
    assert (finding.mark, finding.found) == ("fail", f"there is no {tmp_path / 'data/mini/clip'}")


def test_a_damaged_weights_file_is_named(tmp_path: Path) -> None:
    examined = own_copy(tmp_path)
    weights = tmp_path / "data/mini/clip/open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ContractError, match="open_clip_model.safetensors: no whole"):
        list(check_clip(examined))


@pytest.mark.parametrize(
    ("file", "words"),
    [("open_clip_config.json", "holds no open_clip_config"), ("open_clip_model.safetensors", "holds no")],
)
def test_a_folder_without_one_of_its_files_is_a_fail(tmp_path: Path, file: str, words: str) -> None:
    examined = own_copy(tmp_path)
    (tmp_path / "data/mini/clip" / file).unlink()
    finding = one(check_clip(examined))
    assert (finding.mark, words in finding.found) == ("fail", True)


def test_a_configuration_that_is_no_json_is_a_fail(tmp_path: Path) -> None:
    examined = own_copy(tmp_path)
    (tmp_path / "data/mini/clip/open_clip_config.json").write_text("{", encoding="utf-8")
    assert "is no JSON" in one(check_clip(examined)).found


def test_a_local_weights_file_of_an_architecture_is_looked_for(tmp_path: Path) -> None:
    examined = scene(tmp_path, "mtil_order_1", model__pretrained="data/0_raw/models/vit.pt")
    assert "vit.pt" in one(check_local_models(examined)).found
    (tmp_path / "data/0_raw/models").mkdir(parents=True)
    (tmp_path / "data/0_raw/models/vit.pt").write_bytes(b"x")
    assert [finding.mark for finding in (*check_local_models(examined), *check_clip(examined))] == ["ok", "ok"]


def test_an_unknown_architecture_or_tag_is_met_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'ViT-B-16'"):
        list(check_clip(scene(tmp_path, "mtil_order_1", model__name="ViT-B-166")))
    with pytest.raises(UserError, match="Did you mean 'openai'"):
        list(check_clip(scene(tmp_path, "mtil_order_1", model__pretrained="openal")))
    with pytest.raises(UserError, match="has no weights of its own"):
        list(check_clip(scene(tmp_path, "mtil_order_1", model__pretrained=None)))


def test_a_tag_is_looked_for_in_the_hubs_cache(tmp_path: Path, offline: Path) -> None:
    examined = scene(tmp_path, "mtil_order_1")
    finding = one(check_clip(examined))
    assert (finding.mark, "data/0_raw/models" in finding.remedy) == ("fail", True)
    cached(offline, "timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors")
    assert one(check_clip(examined)).mark == "ok"


def test_a_hub_model_is_looked_for_in_the_hubs_cache(tmp_path: Path, offline: Path) -> None:
    examined = scene(tmp_path, "mtil_order_1", model__name="hf-hub:who/what", model__pretrained=None)
    assert one(check_clip(examined)).mark == "fail"
    cached(offline, "who/what", "open_clip_pytorch_model.bin")
    assert one(check_clip(examined)).mark == "ok"


def test_a_pipeline_is_looked_for_in_the_hubs_cache_at_its_commit(tmp_path: Path, offline: Path) -> None:
    examined = scene(tmp_path, "mtil_order_1")
    finding = one(check_generator(examined))
    assert (finding.mark, "data/0_raw/generators" in finding.remedy) == ("fail", True)
    name = examined.config.generator.pipeline
    for file in (ROOT / "data/mini/diffusion").rglob("*"):
        if file.is_file():
            place = cached(offline, name, str(file.relative_to(ROOT / "data/mini/diffusion")), commit=COMMIT)
            shutil.copy(file, place)
    assert one(check_generator(examined)).mark == "ok"
    another = scene(tmp_path, "mtil_order_1", generator__revision="0" * 40)
    assert one(check_generator(another)).mark == "fail"


def test_a_pipeline_without_one_of_its_parts_is_a_fail(tmp_path: Path) -> None:
    examined = own_copy(tmp_path)
    shutil.rmtree(tmp_path / "data/mini/diffusion/unet")
    with pytest.raises(ContractError, match="unet: named in model_index.json, but not there"):
        list(check_generator(examined))


def test_a_missing_pipeline_folder_is_named(tmp_path: Path) -> None:
    finding = one(check_generator(scene(tmp_path)))
    assert (finding.mark, finding.found) == ("fail", f"there is no {tmp_path / 'data/mini/diffusion'}")

"""Models and pipelines: complete, damaged, missing or unknown, in the hub cache or on the hub."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors import safe_open
from safetensors.torch import save_file

from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.model_checks import (
    check_clip,
    check_generator,
    check_local_models,
    count_numbers,
    download_finding,
    pipeline_parameters,
)
from gift_core.downloads import hub_answers, in_cache, require_download
from gift_core.errors import ContractError, UserError
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


def copy_models(folder: Path) -> Project:
    """The miniature with its own copies of the models."""
    shutil.copytree(ROOT / "data" / "mini", folder / "data" / "mini")
    return make_project(folder)


def test_the_models_of_the_miniature_are_complete(tmp_path: Path) -> None:
    link_models(tmp_path)
    found = list(check_local_models(make_project(tmp_path)))
    assert [(finding.subject, finding.mark) for finding in found] == [("model", "ok"), ("generator", "ok")]
    assert "2.1M parameters" in found[0].found
    assert "4.8M parameters" in found[1].found


def test_the_quick_check_skips_models_from_the_hub(tmp_path: Path) -> None:
    assert list(check_local_models(make_project(tmp_path, "mtil_order_1"))) == []


def test_a_missing_model_folder_is_a_fail(tmp_path: Path) -> None:
    finding = one(check_clip(make_project(tmp_path)))
    assert (finding.mark, finding.found) == ("fail", f"there is no {tmp_path / 'data/mini/clip'}")


def test_a_damaged_weights_file_is_an_error(tmp_path: Path) -> None:
    project = copy_models(tmp_path)
    weights = tmp_path / "data/mini/clip/open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ContractError, match="open_clip_model.safetensors: not a complete"):
        list(check_clip(project))


@pytest.mark.parametrize(
    ("file", "words"),
    [("open_clip_config.json", "has no open_clip_config"), ("open_clip_model.safetensors", "or no weights")],
)
def test_a_folder_with_a_missing_file_is_a_fail(tmp_path: Path, file: str, words: str) -> None:
    project = copy_models(tmp_path)
    (tmp_path / "data/mini/clip" / file).unlink()
    finding = one(check_clip(project))
    assert (finding.mark, words in finding.found) == ("fail", True)


def test_an_invalid_configuration_is_a_fail(tmp_path: Path) -> None:
    project = copy_models(tmp_path)
    (tmp_path / "data/mini/clip/open_clip_config.json").write_text("{", encoding="utf-8")
    assert "is not valid JSON" in one(check_clip(project)).found


def test_a_local_weights_file_of_an_architecture_is_checked(tmp_path: Path) -> None:
    project = make_project(tmp_path, "mtil_order_1", model__pretrained="data/0_raw/models/vit.pt")
    assert "vit.pt" in one(check_local_models(project)).found
    (tmp_path / "data/0_raw/models").mkdir(parents=True)
    (tmp_path / "data/0_raw/models/vit.pt").write_bytes(b"x")
    assert [finding.mark for finding in (*check_local_models(project), *check_clip(project))] == ["ok", "ok"]


def test_an_unknown_architecture_or_tag_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'ViT-B-16'"):
        list(check_clip(make_project(tmp_path, "mtil_order_1", model__name="ViT-B-166")))
    with pytest.raises(UserError, match="Did you mean 'openai'"):
        list(check_clip(make_project(tmp_path, "mtil_order_1", model__pretrained="openal")))
    with pytest.raises(UserError, match="needs weights"):
        list(check_clip(make_project(tmp_path, "mtil_order_1", model__pretrained=None)))


def test_a_tag_is_found_in_the_hub_cache(tmp_path: Path, offline: Path) -> None:
    project = make_project(tmp_path, "mtil_order_1")
    finding = one(check_clip(project))
    assert (finding.mark, "data/0_raw/models" in finding.remedy) == ("fail", True)
    cached(offline, "timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors")
    assert one(check_clip(project)).mark == "ok"


def test_a_hub_model_is_found_in_the_hub_cache(tmp_path: Path, offline: Path) -> None:
    project = make_project(tmp_path, "mtil_order_1", model__name="hf-hub:who/what", model__pretrained=None)
    assert one(check_clip(project)).mark == "fail"
    cached(offline, "who/what", "open_clip_pytorch_model.bin")
    assert one(check_clip(project)).mark == "ok"


def test_a_pipeline_is_found_in_the_hub_cache_at_its_commit(tmp_path: Path, offline: Path) -> None:
    project = make_project(tmp_path, "mtil_order_1")
    finding = one(check_generator(project))
    assert (finding.mark, "data/0_raw/generators" in finding.remedy) == ("fail", True)
    name = project.config.generator.pipeline
    for file in (ROOT / "data/mini/diffusion").rglob("*"):
        if file.is_file():
            target = cached(offline, name, str(file.relative_to(ROOT / "data/mini/diffusion")), commit=COMMIT)
            shutil.copy(file, target)
    assert one(check_generator(project)).mark == "ok"
    another = make_project(tmp_path, "mtil_order_1", generator__revision="0" * 40)
    assert one(check_generator(another)).mark == "fail"


def test_a_pipeline_with_a_missing_part_is_an_error(tmp_path: Path) -> None:
    project = copy_models(tmp_path)
    shutil.rmtree(tmp_path / "data/mini/diffusion/unet")
    with pytest.raises(ContractError, match="unet: named in model_index.json, but missing"):
        list(check_generator(project))


def test_a_missing_pipeline_folder_is_a_fail(tmp_path: Path) -> None:
    finding = one(check_generator(make_project(tmp_path)))
    assert (finding.mark, finding.found) == ("fail", f"there is no {tmp_path / 'data/mini/diffusion'}")


DIFFUSION = ROOT / "data" / "mini" / "diffusion"


def weights(path: Path, numbers: int, dtype: torch.dtype = torch.float32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"a": torch.zeros(numbers - 6, dtype=dtype), "b": torch.zeros(2, 3, dtype=dtype)}, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_numbers_are_counted_in_any_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    assert count_numbers(weights(tmp_path / "x.safetensors", 100, dtype)) == 100


def test_metadata_is_not_counted(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 5)}, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert count_numbers(tmp_path / "x.safetensors") == 10


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_truncated_file_is_an_error(tmp_path: Path, kept: int) -> None:
    path = weights(tmp_path / "x.safetensors", 100)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ContractError, match=r"x\.safetensors: not a complete safetensors file"):
        count_numbers(path)


def test_a_file_of_another_format_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    with pytest.raises(ContractError, match="its header is damaged"):
        count_numbers(tmp_path / "x.safetensors")


def test_the_parameters_of_a_pipeline_are_those_in_its_files() -> None:
    expected = {}
    for file in sorted(DIFFUSION.glob("*/*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            expected[file.parent.name] = sum(opened.get_tensor(name).numel() for name in opened.keys())  # noqa: SIM118 - not a mapping
    assert pipeline_parameters(DIFFUSION) == expected
    assert set(expected) == {"text_encoder", "unet", "vae"}


def pipeline(folder: Path) -> Path:
    index = {"_class_name": "X", "unet": ["diffusers", "X"], "safety_checker": [None, None], "scheduler": ["d", "X"]}
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "scheduler").mkdir()
    return folder


def test_copies_of_the_same_weights_count_once(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p")
    for name in ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "diffusion_pytorch_model.non_ema"):
        weights(folder / "unet" / f"{name}.safetensors", 100)
    assert pipeline_parameters(folder) == {"unet": 100}


def test_half_precision_files_count_if_there_are_no_others(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p")
    weights(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", 100, torch.float16)
    assert pipeline_parameters(folder) == {"unet": 100}


def test_pickles_are_counted_by_their_size(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p")
    (folder / "unet").mkdir()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(bytes(400))
    assert pipeline_parameters(folder) == {"unet": 100}


def test_a_missing_part_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="unet: named in model_index.json, but missing"):
        pipeline_parameters(pipeline(tmp_path / "p"))


def test_a_folder_that_is_not_a_pipeline_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="not a diffusers pipeline"):
        pipeline_parameters(tmp_path)


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers with an error, like a hub that requires a login."""

    def do_HEAD(self) -> None:
        self.send_error(401)

    def log_message(self, *args: object) -> None:
        """Logs nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    hub = http.server.HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{hub.server_port}"
    hub.shutdown()
    hub.server_close()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def cached(folder: Path, repository: str, name: str, *, commit: str = "c0ffee") -> Path:
    """A file in the hub cache, in the layout of huggingface_hub."""
    target = folder / f"models--{repository.replace('/', '--')}"
    file = target / "snapshots" / commit / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}", encoding="utf-8")
    (target / "refs").mkdir(exist_ok=True)
    (target / "refs" / "main").write_text(commit, encoding="utf-8")
    return file


def test_an_http_error_is_an_answer(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert hub_answers(server, 5.0)


def test_a_silent_server_does_not_answer_in_time(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    assert not hub_answers(silent_server, 0.3)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://no-such-host.invalid", "no address"])
def test_a_missing_server_does_not_answer(address: str) -> None:
    assert not hub_answers(address, 2.0)


def test_the_first_file_in_the_cache_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert in_cache("who/what", ("a", "b")) is None
    file = cached(tmp_path, "who/what", "b")
    assert in_cache("who/what", ("a", "b")) == file
    assert in_cache("who/what", ("b",), revision="c0ffee") == file
    assert in_cache("who/what", ("b",), revision="another") is None


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


def test_a_name_that_the_hub_does_not_allow_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.name: '' is no name of a repository: Repo id must use"):
        require("")


def test_nothing_is_refused_where_the_hub_answers(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server)
    require("who/what")


def test_a_missing_model_is_a_fail_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    finding = download_finding("model", "who/what", by_hand="put it there")
    assert (finding.mark, finding.subject) == ("fail", "model")
    assert "HF_HUB_OFFLINE" in finding.found
    assert finding.remedy == "Unset them for the first run, or put it there."


def test_the_size_of_a_download_is_said_where_it_is_known(tmp_path: Path) -> None:
    project = make_project(tmp_path, "mtil_order_1")
    assert " (a download of about 598 MB) is not on this machine" in one(check_clip(project)).found
    assert " (a download of about 5.5 GB) is not on this machine" in one(check_generator(project)).found
    other = make_project(tmp_path, "mtil_order_1", generator__pipeline="who/what")
    assert one(check_generator(other)).found.startswith("who/what is not on this machine")


def test_a_missing_model_is_ok_if_the_hub_answers(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server)
    assert download_finding("model", "who/what", by_hand="").mark == "ok"


def test_a_hub_that_does_not_answer_is_a_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:2")
    finding = download_finding("model", "who/what", by_hand="put it there")
    assert (finding.mark, "does not answer" in finding.found) == ("fail", True)
    assert "put it there" in finding.remedy

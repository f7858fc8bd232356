"""The JSON files of a model folder, a checkpoint and a diffusion folder, each value replaced by a hostile one."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gift_core.artifacts.report_json import read_metrics
from gift_core.clip.model import check_folder, open_folder, read_json_object
from gift_core.doctor.model_checks import check_local_clip, pipeline_parameters
from gift_core.errors import UserError
from gift_core.interop.checkpoints import KEY, read_single_file
from gift_core.interop.importing import open_model
from gift_core.interop.transformers_format import activation_beside, model_config_of, preprocess_beside
from tests.hostile.test_params import HERE, Case, experiment, keys_of, with_here
from tests.hostile.values import JSON_FILES, JSON_VALUES, faults

MINI = Path(__file__).resolve().parents[2] / "data" / "mini"
TRANSFORMERS = {
    "model_type": "clip", "projection_dim": 16,
    "vision_config": {"hidden_act": "gelu", "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1,
                      "intermediate_size": 64, "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-5},
    "text_config": {"hidden_act": "gelu", "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1,
                    "intermediate_size": 64, "vocab_size": 99, "max_position_embeddings": 8, "layer_norm_eps": 1e-5},
}  # fmt: skip
PREPROCESSING = {"image_processor": {"image_mean": [0.5] * 3, "size": {"shortest_edge": 8}, "resample": 3}}
Read = Callable[[Path], object]


def _safetensors(path: Path) -> object:
    """Reads the JSON in the metadata of a weights file."""
    file = path.with_name("model.safetensors")
    save_file({"a": torch.zeros(1)}, file, {KEY: path.read_bytes().decode("utf-8", "replace")})
    return read_single_file(file)


def _doctor(path: Path) -> object:
    return check_local_clip(path.parent, f"local-dir:{path.parent}")


# file: (its content, what reads it). Files that models need beside it are linked from the miniature.
FILES: dict[str, tuple[Any, tuple[Read, ...]]] = {
    "open_clip_config.json": (
        json.loads((MINI / "clip" / "open_clip_config.json").read_text()), (lambda path: check_folder(path.parent), _doctor),
    ),
    "metadata.json": ({"config": {"model_cfg": {"embed_dim": 1, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": {}},
                       "tokenizer": {"vocab.json": "{}"}}, (_safetensors,)),
    "config.json": (TRANSFORMERS, (lambda path: model_config_of(read_json_object(path), str(path)), activation_beside)),
    "preprocessor_config.json": (PREPROCESSING, (preprocess_beside,)),
    "model_index.json": (json.loads((MINI / "diffusion" / "model_index.json").read_text()),
                         (lambda path: pipeline_parameters(path.parent),)),
    "metrics.json": ({"gift": {"transfer": 1.0, "avg": 1.0, "last": 1.0, "forgetting": 1.0}}, (read_metrics,)),
}  # fmt: skip


def cases(folder: Path) -> Iterator[Case]:
    """Each key of each file with the next one of the values, and whole files."""
    for name, (content, readers) in FILES.items():
        home = folder / name.replace(".", "_")
        shutil.copytree(
            MINI / "diffusion" if name == "model_index.json" else MINI / "clip", home, copy_function=os.symlink
        )
        (home / name).unlink(missing_ok=True)
        texts = dict(JSON_FILES)
        for number, key in enumerate(keys_of(content)):
            value = JSON_VALUES[number % len(JSON_VALUES)]
            text = json.dumps(with_here(content, key)).replace(json.dumps(HERE), value)
            texts[f"{key}: {value[:40]!r}"] = text.encode("utf-8", "replace")
        for what, written in texts.items():
            for number, read in enumerate(readers):
                yield f"{name}, reader {number}, {what}", functools.partial(_read, home / name, written, read)


def _read(path: Path, text: bytes, read: Read) -> None:
    path.write_bytes(text)
    read(path)


def lacks(message: str) -> str:
    return "" if re.search(r"[/.:] .+[.] ?[A-Z].+", message) else f"no location or no remedy: {message[:600]}"


def test_model_files_are_accepted_or_refused_with_a_message(tmp_path: Path) -> None:
    assert faults(cases(tmp_path), lacks) == []


def model_folder(folder: Path) -> Path:
    shutil.copytree(MINI / "clip", folder)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "open_clip_config.json").read_text())
    change(content["model_cfg"])
    (folder / "open_clip_config.json").write_text(json.dumps(content))


def with_code(folder: Path, **text_cfg: Any) -> Path:
    """A model folder with a tokenizer of its own: evil.py writes the file `pwned` when it is imported."""
    edit_config(folder, lambda model_cfg: model_cfg["text_cfg"].update(text_cfg))
    edit_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.E", "evil.E"]}, tokenizer_class="E")
    pwned = folder.parent / "pwned"
    (folder / "evil.py").write_text(
        f"open({str(pwned)!r}, 'w').write('x')\nfrom transformers import CLIPTokenizer\nclass E(CLIPTokenizer): pass\n"
    )
    return pwned


@pytest.mark.parametrize(
    "options", [{}, {"tokenizer_kwargs": {"trust_remote_code": True}}], ids=["code", "code that is trusted"]
)
def test_code_in_a_model_folder_never_runs(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gift_core.config.generator import ScorerConfig
    from gift_core.generators.filters import load_scorer

    monkeypatch.setattr("builtins.input", lambda question: "y")  # at a terminal, transformers asks
    folder = model_folder(tmp_path / "model")
    pwned, cpu = with_code(folder, **options), torch.device("cpu")
    for load in (
        lambda: open_folder(folder, device=cpu, precision="fp32"),
        lambda: open_model(str(folder), device="cpu"),
        lambda: load_scorer(ScorerConfig(name=f"local-dir:{folder}", pretrained=None), cpu),
    ):
        with pytest.raises(UserError, match="trust_remote_code"):
            load()
    assert not pwned.exists()


@pytest.mark.parametrize("part", ["unet", "the pipeline"])
def test_python_files_in_a_diffusion_folder_are_never_run(tmp_path: Path, part: str) -> None:
    from gift_core.config.generator import GeneratorConfig
    from gift_core.generators.pretrained import pretrained_pipeline

    folder = tmp_path / "diffusion"
    shutil.copytree(MINI / "diffusion", folder)
    evil = folder / ("unet/evil.py" if part == "unet" else "evil.py")
    evil.write_text(f"open({str(tmp_path / 'pwned')!r}, 'w').write('x')\nclass Evil: pass\n")
    edit_json(folder / "model_index.json", **{"unet" if part == "unet" else "_class_name": ["evil", "Evil"]})
    settings = experiment()["generator"] | {"pipeline": str(folder), "lora": None, "filters": None, "memory": None}
    with pytest.raises(UserError, match="cannot be loaded"):
        pretrained_pipeline(GeneratorConfig.model_validate(settings))
    assert not (tmp_path / "pwned").exists()


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tokenizer of a larger vocabulary": (
        lambda folder: edit_config(folder, lambda model_cfg: model_cfg["text_cfg"].update(vocab_size=1000)),
        r"gives token \d+, and its text tower has 1000 entries|belong together",
    ),
    "a giant": (
        lambda folder: edit_config(folder, lambda model_cfg: model_cfg.update(embed_dim=10**9)),
        "embed_dim should be a whole number, more than 0 and at most 16384, it is 1000000000",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_folder_whose_files_do_not_fit_is_refused(tmp_path: Path, damage: str) -> None:
    folder, (change, expected) = model_folder(tmp_path / "model"), DAMAGED[damage]
    change(folder)
    with pytest.raises(UserError, match=expected):
        open_folder(folder, device=torch.device("cpu"), precision="fp32")

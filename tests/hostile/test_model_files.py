"""Model folders and diffusion folders of others: their code never runs, and what does not fit is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.clip.model import open_folder
from gift_core.errors import UserError
from gift_core.interop.importing import open_model
from tests.artifacts.damage import change_json

MINI = Path(__file__).resolve().parents[2] / "data" / "mini"


def with_code(folder: Path, **text_cfg: Any) -> Path:
    """A model folder with a tokenizer of its own: evil.py writes the file `pwned` when it is imported."""
    own = {"auto_map": {"AutoTokenizer": ["evil.E", "evil.E"]}, "tokenizer_class": "E"}
    change_json(folder / "open_clip_config.json", lambda config: config["model_cfg"]["text_cfg"].update(text_cfg))
    change_json(folder / "tokenizer_config.json", lambda config: config.update(own))
    pwned = folder.parent / "pwned"
    (folder / "evil.py").write_text(
        f"open({str(pwned)!r}, 'w').write('x')\nfrom transformers import CLIPTokenizer\nclass E(CLIPTokenizer): pass\n"
    )
    return pwned


@pytest.mark.parametrize(
    "options", [{}, {"tokenizer_kwargs": {"trust_remote_code": True}}], ids=["code", "code that is trusted"]
)
def test_code_of_a_model_never_runs(tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from gift_core.config.experiment import FiltersConfig
    from gift_core.generators.filters import load_filters

    monkeypatch.setattr("builtins.input", lambda question: "y")  # at a terminal, transformers asks
    folder = Path(shutil.copytree(MINI / "clip", tmp_path / "model"))
    pwned, cpu = with_code(folder, **options), torch.device("cpu")
    scorer = {"name": f"local-dir:{folder}", "pretrained": None}
    filters = FiltersConfig(scorer=scorer, min_clip_score=0.2, max_similarity=None, max_redraws=3)
    for load in (
        lambda: open_folder(folder, device=cpu, precision="fp32"),
        lambda: open_model(str(folder), device="cpu"),
        lambda: load_filters(filters, cpu),
    ):
        with pytest.raises(UserError, match="trust_remote_code"):
            load()
    assert not pwned.exists()


@pytest.mark.parametrize("part", ["unet", "the pipeline"])
def test_code_in_a_diffusion_folder_never_runs(tmp_path: Path, part: str, mini_params: dict[str, Any]) -> None:
    from gift_core.config.experiment import GeneratorConfig
    from gift_core.generators.pipeline import pretrained_pipeline

    folder = tmp_path / "diffusion"
    shutil.copytree(MINI / "diffusion", folder)
    evil = folder / ("unet/evil.py" if part == "unet" else "evil.py")
    evil.write_text(f"open({str(tmp_path / 'pwned')!r}, 'w').write('x')\nclass Evil: pass\n")
    key = "unet" if part == "unet" else "_class_name"
    change_json(folder / "model_index.json", lambda index: index.update({key: ["evil", "Evil"]}))
    settings = mini_params["generator"] | {"pipeline": str(folder), "lora": None, "filters": None, "memory": None}
    with pytest.raises(UserError, match="cannot be loaded"):
        pretrained_pipeline(GeneratorConfig.model_validate(settings))
    assert not (tmp_path / "pwned").exists()


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MINI / "clip", tmp_path / "model"))
    config = folder / "open_clip_config.json"
    change_json(config, lambda config: config["model_cfg"]["text_cfg"].update(vocab_size=1000))
    with pytest.raises(UserError, match=r"is of another model: token \d+, but the model.s vocabulary is 0 to 999"):
        open_folder(folder, device=torch.device("cpu"), precision="fp32")

"""The caller's model as an open_clip folder, which every command and open_clip itself open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import get_model_preprocess_cfg

from gift_core.artifacts.model_folder import CONFIG, LOSSES, PROVENANCE, WEIGHTS
from gift_core.clip.architectures import (
    LOCAL,
    PROBES,
    TOKENIZER_FILES,
    architecture_config,
    build_model,
    load_tokenizer,
    misfit,
    preprocess_of,
)
from gift_core.clip.encoding import encode_images, encode_tokens
from gift_core.clip.model import Clip, as_clip, save_clip
from gift_core.errors import UserError, nearest, no_such_path
from gift_core.interop.importing import FILE, HUB, QUICK_SUFFIX, load_clip, name_of
from gift_core.library.given_model import NAME, evaluation_mode, require_model
from gift_core.torch_devices import own_random_numbers

OURS = {WEIGHTS, CONFIG, PROVENANCE, LOSSES, *TOKENIZER_FILES}
NEAR = 1e-4  # rounding changes the numbers of a unit feature less, another activation more
REMEDY = "Pass the name that the model was created with"


def save(model: torch.nn.Module, folder: str | Path, *, like: str | Path | None = None) -> None:
    """Write the model as an open_clip folder: weights (float32), configuration, preprocessing, tokenizer.

    `gift predict`, `gift test`, `gift export` and open_clip.create_model_and_transforms("local-dir:<folder>") open it.
    The folder appears when it is complete. One that `save` wrote before is replaced.

    Args:
        model: of open_clip, float32. It stays as it is.
        folder: a new one, or one that holds a model and nothing else.
        like: the name that the model was created with, which a model does not know itself. Its configuration and
            tokenizer are written: an architecture (ViT-B-16-quickgelu), hf-hub:owner/model, local-dir:<folder>, or a
            folder. The preprocessing is the model's own, where it knows it.

    Raises:
        UserError: a folder with other files; a `like` that is missing, that the weights do not fit, or that computes
            other features from them, such as GELU in place of QuickGELU.
    """
    require_model(model, "model")
    _require_replaceable(Path(folder))
    if like is None:
        problem = "a model of open_clip does not know its configuration and its tokenizer"
        raise UserError(f"{NAME}: like: missing, and {problem}. {REMEDY}: like='ViT-B-16-quickgelu'.")
    with own_random_numbers(torch.device("cpu")):  # a new model has random weights
        config, tokenizer, files = _description(name_of(str(like)))
        built = build_model(config["model_cfg"], config["preprocess_cfg"] | get_model_preprocess_cfg(model))
    problem = misfit(model.state_dict(), built.state_dict())
    if problem:
        raise UserError(f"{NAME}: like: {like}: the weights of the model do not fit it: {problem}. {REMEDY}.")
    built.load_state_dict(model.state_dict())
    built.to(model.get_parameter("logit_scale").device)
    saved = as_clip(built, tokenizer, config["model_cfg"], location=f"{NAME}: model", tokenizer_files=files)
    with evaluation_mode(model):
        _require_same_features(model, saved, str(like))
    save_clip(saved, Path(folder), {"written_by": f"{NAME}.save"})


def _require_replaceable(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{NAME}: folder: {folder} is a file. Name a new folder.")
    others = sorted({path.name for path in folder.iterdir()} - OURS) if folder.is_dir() else []
    if others:
        raise UserError(f"{NAME}: folder: {folder} has other files ({others[0]}). Name a new folder.")


def _description(name: str) -> tuple[dict[str, Any], Any, tuple[Path, ...]]:
    """Returns open_clip_config.json, the tokenizer and its files of the model that has this name."""
    kind, _, location = name.partition(":")
    if f"{kind}:" in (LOCAL, FILE) and not Path(location).exists():
        raise UserError(f"{NAME}: like: {no_such_path(Path(location))} {REMEDY}.")
    if f"{kind}:" in (LOCAL, FILE, HUB):
        clip = load_clip(name, device="cpu")
        return clip.config, clip.tokenizer, clip.tokenizer_files
    known = open_clip.list_models()
    if name.replace("/", "-") not in known:
        problem = f"{name}: no such folder, and no architecture of open_clip. {nearest(name, known)}"
        raise UserError(f"{NAME}: like: {problem}{REMEDY}: ViT-B-16-quickgelu, hf-hub:owner/model, or a folder.")
    architecture, config = architecture_config(name)
    return {"model_cfg": config, "preprocess_cfg": preprocess_of(architecture)}, load_tokenizer(architecture), ()


@torch.no_grad()
def _require_same_features(model: torch.nn.Module, saved: Clip, like: str) -> None:
    """Raises UserError if the model that is saved computes other features, which the shapes of weights do not tell."""
    side, given = saved.image_size, replace(saved, model=model)
    image_BCHW = torch.linspace(-2, 2, 3 * side * side).reshape(1, 3, side, side).to(saved.device)
    tokens_NL = saved.tokenizer(list(PROBES)).to(saved.device)
    differences = [
        encode_images(saved, image_BCHW) - encode_images(given, image_BCHW),
        encode_tokens(saved, tokens_NL) - encode_tokens(given, tokens_NL),
    ]
    difference = max(float(each.abs().max()) for each in differences)
    if difference > NEAR:
        quick = like.replace("/", "-") + QUICK_SUFFIX
        instead = f", perhaps {quick}" if quick in open_clip.list_models() else ""
        problem = f"it computes other features from the weights of the model (they differ by {difference:.1g})"
        raise UserError(f"{NAME}: like: {like}: {problem}. {REMEDY}{instead}.")

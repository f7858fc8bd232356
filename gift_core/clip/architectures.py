"""What a CLIP is made of: architectures of open_clip that can be trained here, weights that fit them, and tokenizers.

Every model that is loaded passes `require_sound` (clip.model.as_clip).
"""

from __future__ import annotations

import copy
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa
from open_clip.convert import convert_state_dict
from open_clip.model import CLIP, CustomTextCLIP, convert_to_custom_text_state_dict, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from gift_core.artifacts.model_folder import CONFIG, OWN_CONFIG, shape_fault
from gift_core.errors import UserError, explained, nearest, no_such_path

CLIP_VOCABULARY = 49408  # entries of the byte-pair vocabulary that open_clip ships
# Preprocessing settings, other than the size, that belong to released weights.
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")
# s = exp(logit_scale) multiplies cosines. CLIP's training starts at 14.3 and is clamped at 100; SigLIP ends near 118.
SCALES = (1.0, 1000.0)
_LEVELS = {"mean": (-1e3, 1e3), "std": (1e-3, 1e3)}  # of pixels from 0 to 1, before the normalization
LARGEST_WEIGHT = 1e18  # the square of a larger float32 is infinite, so no feature has a length
REMEDY = "Fetch the model again, or train it with a lower learning rate."
NO_WEIGHTS = ("attn_mask", "position_ids")  # buffers that some versions saved
_COUNTER = "num_batches_tracked"  # of BatchNorm; files of old versions lack it, and it has no effect here


def architecture_config(name: str) -> tuple[str, dict[str, Any]]:
    """(open_clip's spelling of `name`, its model_cfg). ViT-B/16 is accepted for ViT-B-16.

    UserError for an unknown name, and for an architecture that cannot be trained here, with the reason.
    """
    architecture = name.replace("/", "-")
    known = open_clip.list_models()
    if architecture not in known:
        if Path(name).is_file():
            raise UserError(f"model.name: {name}: is a file. Name its architecture here, the file in model.pretrained.")
        if Path(name).is_dir():
            raise UserError(f"model.name: {name}: is a folder. Write local-dir:{name}, and pretrained: null.")
        problem = f"model.name: {no_such_path(Path(name))} open_clip has no architecture of that name, either."
        hint = f"{nearest(architecture, known)}docs/models.md says what can be loaded. {OWN_CONFIG}"
        raise UserError(f"{problem} {hint}")
    config: dict[str, Any] = open_clip.get_model_config(architecture)
    require_supported(config, f"model.name {name!r}")
    return architecture, config


def require_supported(model_config: Any, location: str) -> None:
    """Raises UserError if the stages cannot use a model of `model_config`, which may be any value of JSON."""
    reason = unsupported_reason(model_config)
    if reason:
        raise UserError(f"{location}: not supported: {reason}. See docs/models.md for what is.")


def unsupported_reason(model_config: Any) -> str | None:
    """Why the stages cannot use a model of `model_config`, None where they can.

    They need one feature per image and per text, square images, and a published tokenizer. CoCa's caption decoder and
    SigLIP's logit bias stay unchanged.
    """
    fault = shape_fault(model_config)
    if fault:
        return fault
    size = model_config["vision_cfg"].get("image_size", 224)
    sides = [size, size] if isinstance(size, int) else size
    if len(sides) != 2 or sides[0] != sides[1]:
        return f"its images are {' x '.join(map(str, sides))} px, crops here are squares"
    text = model_config["text_cfg"]
    entries = text.get("vocab_size", CLIP_VOCABULARY)
    if not text.get("hf_model_name") and not text.get("hf_tokenizer_name") and entries != CLIP_VOCABULARY:
        return f"its vocabulary has {entries} entries, and open_clip names no tokenizer for it"
    return None


def build_model(model_config: Mapping[str, Any], preprocess: Mapping[str, Any]) -> torch.nn.Module:
    """A model of `model_config` (open_clip's model_cfg) with random float32 weights, as open_clip's factory builds it.

    `preprocess` overrides open_clip's preprocessing, except for the size, which is the image tower's. Nothing is
    downloaded except the configuration of a Hugging Face text tower. UserError for settings that do not fit each other.
    """
    settings = copy.deepcopy(dict(model_config))
    settings["vision_cfg"]["timm_model_pretrained"] = False
    settings["text_cfg"]["hf_model_pretrained"] = False
    custom_text = settings.pop("custom_text", False) or bool(settings["text_cfg"].get("hf_model_name"))
    kind: Any = CLIP
    if custom_text:
        kind = CoCa if "multimodal_cfg" in settings else CustomTextCLIP
    remedy = "Correct the configuration, or fetch the model again. A text tower of the hub needs a connection once."
    with explained("model_cfg: open_clip cannot build a model of it", remedy):
        model: Any = kind(**settings)
        merged = merge_preprocess_dict(asdict(PreprocessCfg()), dict(preprocess))
        set_model_preprocess_cfg(model, merged | {"size": model.visual.image_size})
    built: torch.nn.Module = model
    return built


def fill_weights(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], location: str) -> None:
    """Overwrites every weight and buffer of `model` with those of `tensors`, widened to float32.

    UserError if a name or a shape differs (misfit).
    # differs: open_clip interpolates position embeddings of another size and makes up a missing logit_bias, silently.
    """
    named = dict(convert_state_dict(model, dict(tensors)))  # Apple's MobileCLIP has names of its own
    if hasattr(model, "text"):  # models keep the parts of the text tower in `.text` or in themselves
        named = dict(convert_to_custom_text_state_dict(named))
    elif not any(name.startswith("transformer.") for name in named):
        named = {name.removeprefix("text."): value for name, value in named.items()}
    state = model.state_dict()
    named = {name: value for name, value in named.items() if name in state or name.split(".")[-1] not in NO_WEIGHTS}
    for name in ("logit_scale", "logit_bias"):  # 0- or 1-dimensional, by version
        if name in state and name in named and named[name].numel() == 1:
            named[name] = named[name].reshape(state[name].shape)
    counters = {name: value for name, value in state.items() if name.endswith(_COUNTER)}
    problem = misfit(counters | named, state)
    if problem:
        remedy = "Name their architecture in model.name, or fetch the weights with their configuration again"
        problem = (
            f"the weights do not fit: {problem}. {remedy}. The file should hold a whole CLIP, image and text tower. "
            f"{OWN_CONFIG}"
        )
        raise UserError(f"{location}: {problem}")
    model.load_state_dict(counters | named)


def misfit(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """Returns how many of the weights are missing, unknown or of another shape, with the first of each. "" for none."""
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    others = [name for name in expected if name in given and given[name].shape != expected[name].shape]
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {len(expected)} missing (first {missing[0]})")
    if unknown:
        parts.append(f"{len(unknown)} not of this model (first {unknown[0]})")
    if others:
        first = others[0]
        shapes = f"{[*given[first].shape]}, expected {[*expected[first].shape]}"
        parts.append(f"{len(others)} of another shape (first {first}: {shapes})")
    return ", ".join(parts)


def preprocess_of(architecture: str) -> dict[str, Any]:
    """The preprocessing settings that all released weights of the architecture share.

    # differs: open_clip uses the preprocessing of OpenAI's CLIP for all weights from files, also for SigLIP.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    shared = {}
    for key in _PREPROCESS_KEYS:
        spellings = {json.dumps(config.get(key)) for config in configs}  # some have lists, some tuples
        if len(spellings) == 1 and configs[0].get(key) is not None:
            shared[key] = configs[0][key]
    return shared


def require_sound(model: torch.nn.Module, preprocess: Mapping[str, Any], location: str) -> None:
    """Raises UserError, which begins with `location`, for weights or a preprocessing that no feature can come from.

    `preprocess` is the preprocess_cfg of open_clip.
    """
    for name, value in model.state_dict().items():
        require_sound_numbers(value, name, location)
    scale = float(model.get_parameter("logit_scale").detach().double().exp())
    if not SCALES[0] <= scale <= SCALES[1]:
        low, high = (math.log(limit) for limit in SCALES)
        raise UserError(
            f"{location}: logit_scale is {math.log(scale) if 0 < scale < math.inf else scale:.4g}, expected {low:g} to "
            f"{high:.2f} (cosines are multiplied by its exponential: {SCALES[0]:g} to {SCALES[1]:g}). {REMEDY}"
        )
    for key, (least, most) in _LEVELS.items():
        values = preprocess.get(key)
        numbers = values if isinstance(values, (list, tuple)) else ()
        are_sound = all(isinstance(number, (int, float)) and least <= number <= most for number in numbers)
        if len(numbers) != 3 or not are_sound:
            problem = f"{key} should be 3 numbers from {least:g} to {most:g}, it is {values!r}"
            raise UserError(f"{location}: preprocess_cfg: {problem}. Correct it beside the weights.")


def require_sound_numbers(value: torch.Tensor, name: str, location: str, remedy: str = REMEDY) -> None:
    """Raises UserError if numbers of the tensor called `name` are NaN, infinite or above LARGEST_WEIGHT.

    Extremes take a thirtieth of the time of comparing all numbers. A NaN makes both of them NaN.
    """
    if not value.is_floating_point() or not value.numel():
        return
    if not all(abs(float(extreme)) <= LARGEST_WEIGHT for extreme in torch.aminmax(value)):
        count = int((~(value.abs() <= LARGEST_WEIGHT)).sum())
        problem = f"{count} of the {value.numel()} numbers of {name} are NaN, infinite or above {LARGEST_WEIGHT:g}"
        raise UserError(f"{location}: {problem}. {remedy}")


LOCAL = "local-dir:"
# The files that a Hugging Face tokenizer may consist of.
TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
PROBES = (
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    *("photo", "of", "the", "red", "blue", "cat", "dog", "tree", "one", "two"),
)
_HUB_REMEDY = (
    "It comes from the Hugging Face hub: connect once (it is then cached), or name a model folder that holds the "
    "tokenizer's files, as model.name local-dir:<folder>."
)


def load_tokenizer(name: str) -> Callable[[list[str]], torch.Tensor]:
    """The tokenizer of the model that open_clip calls `name` (an architecture, hf-hub:, local-dir:).

    UserError if its files are missing or damaged, name code of their own, or give all texts the same tokens.
    """
    from transformers import dynamic_module_utils

    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # refuse code in files; at a terminal it would ask whether to run it
    remedy = "Fetch the folder again." if name.startswith(LOCAL) else _HUB_REMEDY
    with explained(f"model.name {name!r}: its tokenizer cannot be loaded", remedy):
        tokenizer: Callable[[list[str]], torch.Tensor] = open_clip.get_tokenizer(name)
        if len(torch.unique(tokenizer(list(PROBES)), dim=0)) == 1:
            raise ValueError("it gives different texts the same tokens, so its files are empty")
    return tokenizer


def require_known_tokens(model: Any, tokens_NL: torch.Tensor, location: str, remedy: str) -> None:
    """Raises UserError, from `location` to `remedy`, for tokens that the embedding of the text tower does not have.

    The text towers of transformers have another name for it, and check by themselves.
    """
    embedding = getattr(getattr(model, "text", model), "token_embedding", None)
    if embedding is not None and not 0 <= int(tokens_NL.min()) <= int(tokens_NL.max()) < embedding.num_embeddings:
        token = int(tokens_NL.min()) if tokens_NL.min() < 0 else int(tokens_NL.max())
        problem = f"token {token}, but the model's vocabulary is 0 to {embedding.num_embeddings - 1}"
        raise UserError(f"{location}: {problem}. {remedy}")


def tokenizer_files_of(folder: Path) -> tuple[Path, ...]:
    """The tokenizer files in `folder`."""
    return tuple(folder / name for name in TOKENIZER_FILES if (folder / name).is_file())


def tokenizer_from(contents: Mapping[str, bytes], model_config: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
    """The tokenizer of `model_config` from the contents of its files, by name."""
    with tempfile.TemporaryDirectory(prefix="gift-tokenizer-") as folder:
        Path(folder, CONFIG).write_text(json.dumps({"model_cfg": model_config}), encoding="utf-8")
        for name, content in contents.items():
            Path(folder, Path(name).name).write_bytes(content)
        return load_tokenizer(f"{LOCAL}{folder}")

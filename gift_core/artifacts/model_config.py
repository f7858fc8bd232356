"""The configuration of an open_clip model: what is wrong with one that somebody else wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_REQUIRED_KEYS = ("embed_dim", "vision_cfg", "text_cfg")
# Far beyond every published CLIP. A model with more would fill the memory, or take hours to build, before its weights
# are found not to fit.
_LARGEST = {
    "embed_dim": 16_384, "width": 65_536, "heads": 1024, "head_width": 16_384, "layers": 1024, "mlp_ratio": 64,
    "patch_size": 4096, "image_size": 8192, "context_length": 100_000, "vocab_size": 10_000_000,
}  # fmt: skip
# open_clip gives tokenizer_kwargs to AutoTokenizer.from_pretrained, where trust_remote_code runs code of the folder.
_TOKENIZER_OPTIONS = ("clean", "strip_sep_token", "language")


def shape_fault(model_config: Any) -> str | None:
    """Returns why a value is no model_cfg of open_clip that is safe to build: a missing section, a wrong type, an
    absurd size, or a tokenizer option that could run code. None if it is one. `model_config` is any value of JSON."""
    if not isinstance(model_config, Mapping):
        return f"model_cfg should be an object, it is {_shown(model_config)}"
    missing = [key for key in _REQUIRED_KEYS if key not in model_config]
    if missing:
        return f"it has no {', '.join(missing)}"
    settings = {"embed_dim": model_config["embed_dim"]}
    for name in ("vision_cfg", "text_cfg"):
        if not isinstance(model_config[name], Mapping):
            return f"{name} should be an object, it is {_shown(model_config[name])}"
        settings |= {f"{name}.{key}": value for key, value in model_config[name].items()}
    faults = (_setting_fault(name, value) for name, value in settings.items())
    return next((fault for fault in faults if fault), None)


def _setting_fault(name: str, value: Any) -> str | None:
    key = name.rpartition(".")[2]
    if key == "tokenizer_kwargs":
        return _options_fault(name, value)
    if key.endswith("_name") and not (value is None or isinstance(value, str)):
        return f"{name} should be text, it is {_shown(value)}"
    largest = _LARGEST.get(key)
    if largest is None or (value is None and key == "patch_size"):  # a ResNet has none
        return None
    kinds = (int, float) if key == "mlp_ratio" else (int,)
    for each in value if isinstance(value, list | tuple) and value else [value]:
        if isinstance(each, bool) or not isinstance(each, kinds) or not 0 < each <= largest:
            whole = "" if key == "mlp_ratio" else "whole "
            return f"{name} should be a {whole}number, more than 0 and at most {largest}, it is {_shown(value)}"
    return None


def _options_fault(name: str, value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return f"{name} should be an object, it is {_shown(value)}"
    unknown = [key for key in value if key not in _TOKENIZER_OPTIONS]
    return f"{name}.{unknown[0]} is not allowed, only {', '.join(_TOKENIZER_OPTIONS)}" if unknown else None


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]

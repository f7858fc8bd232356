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
    """Returns the reason to reject a model_cfg of open_clip, or None. `model_config` is any value of JSON.

    A missing section, a wrong type, an absurd size, or a tokenizer option that could run code.
    """
    if not isinstance(model_config, Mapping):
        return f"model_cfg should be an object, it is {_shown(model_config)}"
    missing = [key for key in _REQUIRED_KEYS if key not in model_config]
    if missing:
        return f"it has no {', '.join(missing)}"
    settings = {"embed_dim": model_config["embed_dim"]}
    for section in ("vision_cfg", "text_cfg"):
        if not isinstance(model_config[section], Mapping):
            return f"{section} should be an object, it is {_shown(model_config[section])}"
        settings |= {f"{section}.{key}": value for key, value in model_config[section].items()}
    for name, value in settings.items():
        key = name.rpartition(".")[2]
        if key == "tokenizer_kwargs":
            options = value if isinstance(value, Mapping) else [_shown(value)]
            if unknown := [option for option in options if option not in _TOKENIZER_OPTIONS]:
                return f"{name}.{unknown[0]} is not allowed, only {', '.join(_TOKENIZER_OPTIONS)}"
        elif key.endswith("_name") and not (value is None or isinstance(value, str)):
            return f"{name} should be text, it is {_shown(value)}"
        elif key in _LARGEST and not (value is None and key == "patch_size"):  # a ResNet has none
            kinds = (int, float) if key == "mlp_ratio" else (int,)
            for each in value if isinstance(value, list | tuple) and value else [value]:
                if isinstance(each, bool) or not isinstance(each, kinds) or not 0 < each <= _LARGEST[key]:
                    kind = "number" if key == "mlp_ratio" else "whole number"
                    return f"{name} should be a {kind}, more than 0 and at most {_LARGEST[key]}, it is {_shown(value)}"
    return None


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]

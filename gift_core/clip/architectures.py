"""Which configurations of open_clip this project can train, decided before anything is fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import open_clip

from gift_core.errors import UserError, lookup

CLIP_VOCABULARY = 49408  # entries of the byte-pair vocabulary that open_clip ships
_NEEDED = ("embed_dim", "vision_cfg", "text_cfg")


def architecture_config(name: str) -> tuple[str, dict[str, Any]]:
    """(open_clip's own spelling of `name`, its model_cfg); ViT-B/16 is ViT-B-16.

    UserError for an unknown name, and for an architecture that cannot be trained here, with the reason.
    """
    known = {each: each for each in open_clip.list_models()}
    architecture = lookup(known, name.replace("/", "-"), "model.name (architecture)")
    config: dict[str, Any] = open_clip.get_model_config(architecture)
    require_supported(config, f"model.name {name!r}")
    return architecture, config


def require_supported(model_config: Mapping[str, Any], place: str) -> None:
    """Raises UserError where `model_config` (open_clip's model_cfg) lacks what every stage needs, with the reason."""
    reason = unsupported_reason(model_config)
    if reason:
        raise UserError(f"{place}: not supported: {reason}. See docs/models.md for what is.")


def unsupported_reason(model_config: Mapping[str, Any]) -> str | None:
    """Why no stage can use such a model, None where all can.

    Needed are one feature an image and one a text, squares of one size, and a tokenizer that somebody publishes. A
    caption decoder beside the two towers (CoCa) and a logit bias (SigLIP) are carried along unchanged.
    """
    missing = [key for key in _NEEDED if key not in model_config]
    if missing:
        return f"it has no {', '.join(missing)}"
    reasons = (check(model_config) for check in _CHECKS)
    return next((reason for reason in reasons if reason), None)


def _without_square(config: Mapping[str, Any]) -> str | None:
    size = config["vision_cfg"].get("image_size", 224)
    if isinstance(size, int) or (len(size) == 2 and size[0] == size[1]):
        return None
    return f"its images are {size[0]} x {size[1]} px, crops here are squares"


def _without_tokenizer(config: Mapping[str, Any]) -> str | None:
    text = config["text_cfg"]
    entries = text.get("vocab_size", CLIP_VOCABULARY)
    if text.get("hf_model_name") or text.get("hf_tokenizer_name") or entries == CLIP_VOCABULARY:
        return None
    return f"its vocabulary has {entries} entries, and open_clip names no tokenizer for it"


_CHECKS: tuple[Callable[[Mapping[str, Any]], str | None], ...] = (_without_square, _without_tokenizer)

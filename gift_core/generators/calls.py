"""What a pipeline's call takes of our settings, read from its signature: pipelines differ, and names tell little."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError

if TYPE_CHECKING:
    from gift_core.config.generator import GeneratorConfig

PLACE = "params.yaml: generator"
REQUIRED = ("prompt", "generator", "num_inference_steps")
GUIDANCE = ("guidance_scale", "true_cfg_scale", "prior_guidance_scale")
# Switches that would change image or prompt behind the user's back: another size drawn and shrunk, a prompt "cleaned".
SWITCHES: Mapping[str, bool] = {"use_resolution_binning": False, "clean_caption": False}
Parameters = Mapping[str, inspect.Parameter]


@dataclass(frozen=True)
class CallSettings:
    """Arguments that are the same for every batch, and the negative prompt of each image (None: none is passed)."""

    fixed: Mapping[str, Any]
    negative_prompt: str | None

    def arguments(self, count: int) -> dict[str, Any]:
        """Returns the keyword arguments of a call that draws `count` images."""
        if self.negative_prompt is None:
            return dict(self.fixed)
        return {**self.fixed, "negative_prompt": [self.negative_prompt] * count}


def call_settings(pipeline: Any, config: GeneratorConfig) -> CallSettings:
    """Returns how `pipeline` is to be called.

    UserError where it is no text-to-image pipeline, or cannot do what the settings ask for: guidance, true guidance or
    a negative prompt.
    """
    takes = inspect.signature(pipeline.__call__).parameters
    kind = type(pipeline).__name__
    missing = [name for name in REQUIRED if name not in takes]
    if missing:
        what = f"{config.pipeline} is a {kind}, whose call takes no {', no '.join(missing)}"
        raise UserError(f"{PLACE}.pipeline: {what}. Name a text-to-image pipeline.")
    scale = _guidance_parameter(takes)
    fixed: dict[str, Any] = {"num_inference_steps": config.steps}
    fixed |= {name: config.size for name in ("height", "width") if name in takes}
    fixed |= {name: value for name, value in SWITCHES.items() if name in takes}
    fixed |= _text_length(takes, pipeline)
    fixed |= _guidance(scale, config, kind)
    asked = config.negative_prompt
    if isinstance(asked, str):
        return CallSettings(fixed, _negative_prompt(takes, scale, asked, config.guidance, kind))
    _require_true_guidance(takes, scale, asked.true_guidance, kind)
    return CallSettings({**fixed, "true_cfg_scale": asked.true_guidance}, asked.text)


def _text_length(takes: Parameters, pipeline: Any) -> dict[str, int]:
    """FLUX.1-schnell was trained with 256 tokens, which only its tokenizer tells; the call's default is 512."""
    tokenizers = [part for name, part in pipeline.components.items() if name.startswith("tokenizer") and part]
    if "max_sequence_length" not in takes or not tokenizers:
        return {}
    longest = max(part.model_max_length for part in tokenizers)
    return {"max_sequence_length": longest} if longest < takes["max_sequence_length"].default else {}


def _guidance_parameter(takes: Parameters) -> str | None:
    """The parameter that steers. A default of None means that a sibling does: Qwen-Image's true_cfg_scale."""
    known = [name for name in GUIDANCE if name in takes]
    steering = [name for name in known if takes[name].default is not None]
    return next(iter(steering or known), None)


def _guidance(scale: str | None, config: GeneratorConfig, kind: str) -> dict[str, float]:
    if scale is not None:
        return {scale: config.guidance}
    if config.guidance > 0:
        raise UserError(f"{PLACE}.guidance: {config.guidance}, but {kind} takes no guidance. Write guidance: 0.0.")
    return {}


def _negative_prompt(takes: Parameters, scale: str | None, text: str, guidance: float, kind: str) -> str | None:
    if text and "negative_prompt" not in takes:
        what = f"{text!r}, but {kind} takes no negative prompt"
        raise UserError(f'{PLACE}.negative_prompt: {what}. Write negative_prompt: "".')
    if text and _has_true_guidance(takes, scale):
        what = f"{text!r}: {kind} has its guidance in its weights and heeds one only beside true guidance"
        remedy = f'Write negative_prompt: "", or negative_prompt: {{text: {text!r}, true_guidance: 2.0}}'
        raise UserError(f"{PLACE}.negative_prompt: {what}. {remedy}.")
    if scale == "true_cfg_scale" and guidance > 1:  # guided only where a negative prompt is passed, if a blank
        return text or " "
    return text or None


def _require_true_guidance(takes: Parameters, scale: str | None, value: float, kind: str) -> None:
    if not _has_true_guidance(takes, scale):
        what = f"{value}, but {kind} takes none beside its guidance"
        raise UserError(f"{PLACE}.negative_prompt.true_guidance: {what}. Write negative_prompt as a text alone.")


def _has_true_guidance(takes: Parameters, scale: str | None) -> bool:
    return {"true_cfg_scale", "negative_prompt"} <= set(takes) and scale != "true_cfg_scale"

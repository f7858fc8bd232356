"""Translates generator settings for one pipeline: the arguments of its call, and its scheduler.

Pipelines differ in their arguments, so the arguments are read from the signature of the call, not from the class name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError, lookup

if TYPE_CHECKING:
    from gift_core.config.generator import GeneratorConfig

KEY = "params.yaml: generator"
REQUIRED = ("prompt", "generator", "num_inference_steps")
GUIDANCE = ("guidance_scale", "true_cfg_scale", "prior_guidance_scale")
# Options that would silently change the image or the prompt: resizing to another size, "cleaning" the prompt.
SWITCHES: Mapping[str, bool] = {"use_resolution_binning": False, "clean_caption": False}
# Pipelines whose images are taken as a tensor, because diffusers' conversion keeps the GPU waiting. Others may return
# values in another range then (PRX does), so this is not read from the signature.
RETURN_TENSORS = frozenset(
    f"{family}Pipeline"
    for family in (
        "StableDiffusion", "LatentConsistencyModel", "StableDiffusionXL", "PixArtAlpha", "PixArtSigma",
        "StableDiffusion3", "Flux",
    )
)  # fmt: skip


def call_settings(pipeline: Any, config: GeneratorConfig) -> tuple[dict[str, Any], str | None]:
    """Returns the arguments of every call of `pipeline`, and the negative prompt of each image (None: not passed).

    Raises UserError if it is not a text-to-image pipeline, or does not support the guidance or the negative prompt.
    """
    parameters = inspect.signature(pipeline.__call__).parameters
    kind = type(pipeline).__name__
    if missing := [name for name in REQUIRED if name not in parameters]:
        what = f"{config.pipeline} is a {kind}, whose call has no argument {', '.join(missing)}"
        raise UserError(f"{KEY}.pipeline: {what}. Use a text-to-image pipeline.")
    # The argument that sets guidance. If its default is None, another one does: true_cfg_scale of Qwen-Image.
    known = [name for name in GUIDANCE if name in parameters]
    scale = next((name for name in known if parameters[name].default is not None), next(iter(known), None))
    if scale is None and config.guidance > 0:
        raise UserError(f"{KEY}.guidance: {config.guidance}, but {kind} has no guidance. Write guidance: 0.0.")
    fixed: dict[str, Any] = {"num_inference_steps": config.steps}
    fixed |= {name: config.size for name in ("height", "width") if name in parameters}
    fixed |= {name: value for name, value in SWITCHES.items() if name in parameters}
    fixed |= {"output_type": "pt"} if kind in RETURN_TENSORS else {}
    # FLUX.1-schnell was trained with 256 tokens. Only its tokenizer knows; the default of the call is 512.
    tokenizers = [part for name, part in pipeline.components.items() if name.startswith("tokenizer") and part]
    if "max_sequence_length" in parameters and tokenizers:
        longest = max(part.model_max_length for part in tokenizers)
        fixed |= {"max_sequence_length": longest} if longest < parameters["max_sequence_length"].default else {}
    fixed |= {} if scale is None else {scale: config.guidance}
    if config.negative_prompt and "true_cfg_scale" in parameters and scale != "true_cfg_scale":
        what = f"the guidance of {kind} is distilled into its weights, so a negative prompt has no effect"
        raise UserError(f'{KEY}.negative_prompt: {what}. Write negative_prompt: "".')
    # With true_cfg_scale there is no guidance without a negative prompt, even if blank.
    blank = " " if scale == "true_cfg_scale" and config.guidance > 1 else None
    return fixed, config.negative_prompt or blank


def make_scheduler(own: Any, name: str) -> Any:
    """Returns the scheduler of the diffusers class `name`, with the settings of the pipeline's `own`.

    Raises UserError for an unknown name, a missing package, and a flow-matching scheduler on a model that was not
    trained for it (or the reverse).
    """
    import diffusers

    known = {entry: entry for entry in dir(diffusers) if entry.endswith("Scheduler") and not entry.startswith("Flax")}
    kind = getattr(diffusers, lookup(known, name, f"{KEY}.scheduler"))
    try:
        made = kind.from_config(own.config)
    except (ImportError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        what = f"{name} cannot be made from the settings of {type(own).__name__} ({reason})"
        raise UserError(f"{KEY}.scheduler: {what}. Use another one, or null.") from error
    if _matches_flow(made) != _matches_flow(own):
        what = f"{name} and {type(own).__name__}, which the model was trained with, define noise differently"
        raise UserError(f"{KEY}.scheduler: {what}: images would be noise. Use one of the same kind, or null.")
    return made


def _matches_flow(scheduler: Any) -> bool:
    settings = scheduler.config
    by_settings = settings.get("prediction_type") == "flow_prediction" or settings.get("use_flow_sigmas")
    return "FlowM" in type(scheduler).__name__ or bool(by_settings)

"""The settings that are left to a pipeline: the steps, the guidance and the size that it has by default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

from gift_core.errors import UserError
from gift_core.generators.pipeline import GUIDANCE

ARGUMENTS: Mapping[str, Sequence[str]] = {"steps": ("num_inference_steps",), "guidance": GUIDANCE, "size": ("height",)}
EXAMPLES = {"steps": 50, "size": 512}


def own_settings(pipeline: Any, names: Iterable[str]) -> dict[str, Any]:
    """Returns these of ARGUMENTS with the pipeline's defaults. UserError where it has none."""
    return {name: _own_setting(pipeline, name) for name in names}


def _own_setting(pipeline: Any, name: str) -> Any:
    parameters = signature(pipeline.__call__).parameters
    defaults = [parameters[key].default for key in ARGUMENTS[name] if key in parameters]
    value = next((default for default in defaults if default is not None), None)
    if value is None and name == "size":
        value = _own_size(pipeline)
    if value is None and name == "guidance":
        return 0.0  # it has none
    if value is None:
        raise UserError(f"{name}: a {type(pipeline).__name__} has no default. Pass it: {name}={EXAMPLES[name]}.")
    return value


def _own_size(pipeline: Any) -> int | None:
    """The side of its images in pixels, as diffusers computes it from that of the latent images."""
    latent = getattr(pipeline, "default_sample_size", None)
    if latent is None:
        network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
        latent = network.config.get("sample_size") if network is not None else None
    return latent * pipeline.vae_scale_factor if isinstance(latent, int) else None

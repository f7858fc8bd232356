"""What lets a large pipeline fit: a sliced or tiled VAE, parts that wait on the CPU, a leaner attention."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import torch

    from gift_core.config.generator import GeneratorMemoryConfig

PLACE = "params.yaml: generator.memory"
OFFLOADS = {"model": "enable_model_cpu_offload", "sequential": "enable_sequential_cpu_offload"}
VAE_SWITCHES = {"vae_slicing": "enable_slicing", "vae_tiling": "enable_tiling"}


def check_memory(config: GeneratorMemoryConfig | None, device: torch.device) -> None:
    """Raises UserError where offloading has no package or no GPU to save memory on, before anything is loaded."""
    if config is None or config.offload == "none":
        return
    if device.type == "cpu":
        what = f"{config.offload}, but all is on the CPU already (run.device)"
        raise UserError(f"{PLACE}.offload: {what}. Write offload: none, or run on a GPU.")
    if find_spec("accelerate") is None:
        raise UserError(f"{PLACE}.offload: needs a package more: pip install accelerate. Or write offload: none.")


def place_pipeline(pipeline: Any, config: GeneratorMemoryConfig | None, device: torch.device) -> None:
    """Moves `pipeline` to `device`, with the memory savers asked for (null: none of them).

    UserError for a saver that the pipeline has not, and for an unknown or unusable attention backend.
    """
    if config is None:
        pipeline.to(device)
        return
    for key, switch in VAE_SWITCHES.items():
        if getattr(config, key):
            _switch_on(pipeline, key, switch)
    if config.attention is not None:
        _set_attention(pipeline, config.attention)
    if config.offload == "none":
        pipeline.to(device)
    else:
        getattr(pipeline, OFFLOADS[config.offload])(device=device)


def _switch_on(pipeline: Any, key: str, switch: str) -> None:
    vae = getattr(pipeline, "vae", None)
    try:
        getattr(vae, switch)()
    except (AttributeError, NotImplementedError) as error:
        what = f"true, but {type(pipeline).__name__} has no VAE that can do it"
        raise UserError(f"{PLACE}.{key}: {what}. Write {key}: false.") from error


def _set_attention(pipeline: Any, backend: str) -> None:
    from diffusers.models.attention_dispatch import AttentionBackendName

    known = [name.value for name in AttentionBackendName]
    if backend not in known:
        hint = did_you_mean(backend, (name for name in known if not name.startswith("_")))
        raise UserError(f"{PLACE}.attention: unknown backend {backend!r}. {hint} Or null for diffusers' own choice.")
    models = [part for part in pipeline.components.values() if _chooses_attention(part)]
    if not models:
        what = f"{backend}, but no part of {type(pipeline).__name__} lets its attention be chosen"
        raise UserError(f"{PLACE}.attention: {what}. Write attention: null.")
    try:
        for model in models:
            model.set_attention_backend(backend)
    except (RuntimeError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{PLACE}.attention: {reason} Or write attention: null.") from error


def _chooses_attention(part: Any) -> bool:
    """True for a model with attention layers that heed set_attention_backend; the UNets of SD and SDXL have none."""
    if not hasattr(part, "set_attention_backend"):
        return False
    return any(hasattr(getattr(layer, "processor", None), "_attention_backend") for layer in part.modules())

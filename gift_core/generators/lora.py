"""A LoRA on top of a pipeline: small weights that change its style or make it draw in a few steps."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError, did_you_mean
from gift_core.generators.sources import looks_local

if TYPE_CHECKING:
    from gift_core.config.generator import LoraConfig

PLACE = "params.yaml: generator.lora"
ADAPTER = "lora"


def check_lora(config: LoraConfig | None) -> None:
    """Raises UserError where the LoRA's package, folder or file is missing, before anything is loaded."""
    if config is None:
        return
    if find_spec("peft") is None:
        raise UserError(f"{PLACE}: needs a package more: pip install peft. Or write lora: null.")
    path = Path(config.path)
    if not path.exists():
        if looks_local(config.path):
            raise UserError(f"{PLACE}.path: there is no {path}. Put the LoRA there, or name a hub's repository.")
        return
    files = sorted(file.name for file in path.glob("*.safetensors")) if path.is_dir() else [path.name]
    if not files:
        raise UserError(f"{PLACE}.path: {path} holds no .safetensors file. Put the LoRA's weights there.")
    if config.weight_name is None and len(files) > 1:
        raise UserError(f"{PLACE}.weight_name: {path} holds {len(files)} files: {', '.join(files)}. Name one of them.")
    if config.weight_name is not None and config.weight_name not in files:
        hint = did_you_mean(config.weight_name, files)
        raise UserError(f"{PLACE}.weight_name: {path} holds no {config.weight_name}. {hint}")


def add_lora(pipeline: Any, config: LoraConfig | None) -> None:
    """Puts the LoRA on `pipeline`, at its scale; null does nothing.

    UserError where the pipeline takes none, or where the weights are not made for it.
    """
    if config is None:
        return
    if not hasattr(pipeline, "load_lora_weights"):
        raise UserError(f"{PLACE}: {type(pipeline).__name__} takes no LoRA. Write lora: null.")
    options = {} if config.weight_name is None else {"weight_name": config.weight_name}
    try:
        pipeline.load_lora_weights(config.path, adapter_name=ADAPTER, **options)
    except Exception as error:  # diffusers, peft and the hub each have their own errors for wrong weights
        raise _does_not_fit(pipeline, config, " ".join(str(error).split()[:60])) from error
    if not pipeline.get_active_adapters():
        raise _does_not_fit(pipeline, config, "none of its weights has a place there")
    pipeline.set_adapters([ADAPTER], adapter_weights=[config.scale])


def _does_not_fit(pipeline: Any, config: LoraConfig, reason: str) -> UserError:
    what = f"{config.path} cannot be put on {type(pipeline).__name__} ({reason})"
    return UserError(f"{PLACE}: {what}. Use one that was trained for this pipeline.")

"""Loads the diffusers pipeline and the LoRA that params.yaml names, from a folder or from the hub."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.config.generator import looks_local
from gift_core.downloads import require_download
from gift_core.errors import UserError
from gift_core.quantities import first_names

if TYPE_CHECKING:
    from gift_core.config.generator import GeneratorConfig, LoraConfig

PIPELINE_KEY = "params.yaml: generator.pipeline"
LORA_KEY = "params.yaml: generator.lora"
ADAPTER = "lora"
# A word in the loaders' errors -> packages to install. The T5 loader falls back to tiktoken without sentencepiece.
PACKAGES = {
    "tiktoken": "sentencepiece protobuf",
    "sentencepiece": "sentencepiece protobuf",
    "protobuf": "protobuf",
    "accelerate": "accelerate",
    "peft": "peft",
}


def check_local_folder(name: str) -> None:
    """Raises UserError when `name` is a folder without model_index.json, or looks like a path and does not exist."""
    folder = Path(name)
    if not (folder / "model_index.json").is_file() and (folder.is_dir() or looks_local(name)):
        what = f"{name} has no model_index.json, as diffusers' folders have" if folder.is_dir() else f"no folder {name}"
        remedy = "Restore it (git checkout / dvc pull), or use a hub name: stable-diffusion-v1-5/stable-diffusion-v1-5."
        raise UserError(f"{PIPELINE_KEY}: {what}. {remedy}")


def pretrained_pipeline(config: GeneratorConfig) -> Any:
    """Returns the diffusers pipeline `config.pipeline` on the CPU, in config.dtype, with its own scheduler.

    Raises UserError if the folder is missing or damaged, the hub does not answer, a package is missing, or tensors or
    the files of a tokenizer are missing. Where accelerate is not installed, diffusers warns of missing tensors.
    """
    check_local_folder(config.pipeline)
    if not Path(config.pipeline).is_dir():
        folder = f"data/0_raw/generators/{config.pipeline.rpartition('/')[2]}"
        params, index = {"pipeline": folder, "revision": "null"}, ("model_index.json",)
        key, revision = "generator.pipeline", config.revision
        require_download(config.pipeline, index, key=key, folder=folder, params=params, revision=revision)
    import diffusers
    import transformers

    # These bars are of loading weights, which takes seconds. Downloads from the hub keep their bars.
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline: Any = None
    try:
        try:
            pipeline = _from_pretrained(config, None)
        except OSError as error:
            if "no file named" not in str(error):
                raise
            with suppress(Exception):  # some repositories contain only half-precision files
                pipeline = _from_pretrained(config, "fp16")
            if pipeline is None:
                raise
    except Exception as error:  # diffusers, transformers and the hub raise many kinds of errors
        text = str(error).strip() or type(error).__name__
        what = f"{config.pipeline} cannot be loaded ({text.splitlines()[0]})"
        raise UserError(f"{PIPELINE_KEY}: {what}. {_remedy(config, text.lower())}") from error
    # Where files of a tokenizer are missing, transformers makes an empty one that ignores the prompt.
    for name, part in sorted(pipeline.components.items()):
        tensors = part.named_parameters() if hasattr(part, "named_parameters") else ()
        if missing := first_names([each for each, value in tensors if value.is_meta]):  # accelerate leaves them empty
            what = f"{config.pipeline}/{name}: its weights have no {missing}"
            raise UserError(f"{PIPELINE_KEY}: {what}. Restore the folder, or save the whole pipeline there again.")
        if name.startswith("tokenizer") and part is not None:
            first, second = (part(text).input_ids for text in ("a photo of a wren", "a photo of a tree"))
            if first == second:
                raise UserError(
                    f"{PIPELINE_KEY}: {config.pipeline}: its {name} encodes different prompts identically, so its "
                    f"files are missing. Fetch the folder {name} again (tokenizer.json, or vocab.json and merges.txt, "
                    "or spiece.model)."
                )
    return pipeline


def _from_pretrained(config: GeneratorConfig, variant: str | None) -> Any:
    import torch
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline

    options = {
        "dtype": getattr(torch, config.dtype),
        "revision": config.revision,
        "variant": variant,
        "low_cpu_mem_usage": find_spec("accelerate") is not None,  # avoids a long warning of diffusers
    }
    try:
        return AutoPipelineForText2Image.from_pretrained(config.pipeline, **options)
    except ValueError:  # not in the text-to-image table of diffusers; the generic loader may know the class
        return DiffusionPipeline.from_pretrained(config.pipeline, **options)


def _remedy(config: GeneratorConfig, error: str) -> str:
    for word, packages in PACKAGES.items():
        if word in error:
            return f"It needs another package: pip install {packages}"
    if Path(config.pipeline).is_dir():
        return "The folder is incomplete or damaged: restore it (git checkout / dvc pull)."
    return "Check the name, the revision and the connection to the hub. A gated model needs `hf auth login`."


def check_lora(config: LoraConfig | None) -> None:
    """Raises UserError if the package, folder or file of the LoRA is missing. Loads nothing."""
    if config is None:
        return
    if find_spec("peft") is None:
        raise UserError(f"{LORA_KEY}: needs another package: pip install peft. Or write lora: null.")
    path = Path(config.path)
    if not path.exists() and looks_local(config.path):
        raise UserError(f"{LORA_KEY}.path: there is no {path}. Put the LoRA there, or use the name of a hub repo.")
    files = sorted(file.name for file in path.glob("*.safetensors"))
    if config.weight_name is None and len(files) > 1:
        raise UserError(f"{LORA_KEY}.weight_name: {path} has {len(files)} files: {', '.join(files)}. Choose one.")


def add_lora(pipeline: Any, config: LoraConfig | None) -> None:
    """Adds the LoRA to `pipeline` at its scale. Does nothing for None.

    Raises UserError if the pipeline does not support LoRA, or if the weights do not fit it.
    """
    if config is None:
        return
    options = {} if config.weight_name is None else {"weight_name": config.weight_name}
    try:
        pipeline.load_lora_weights(config.path, adapter_name=ADAPTER, **options)
        if not pipeline.get_active_adapters():
            raise ValueError("none of its weights match a layer")
    except Exception as error:  # diffusers, peft and the hub each raise their own errors for wrong weights
        what = f"{config.path} cannot be added to {type(pipeline).__name__} ({' '.join(str(error).split()[:60])})"
        remedy = "Use a LoRA that was trained for this pipeline, or write lora: null."
        raise UserError(f"{LORA_KEY}: {what}. {remedy}") from error
    pipeline.set_adapters([ADAPTER], adapter_weights=[config.scale])

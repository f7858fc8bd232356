"""Where a pipeline comes from: a diffusers folder or a hub name, loaded with its own weights, or a clear error."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError

if TYPE_CHECKING:
    from gift_core.config.generator import GeneratorConfig

PLACE = "params.yaml: generator.pipeline"
# A word of the loaders' errors -> what to install; T5's loader turns to tiktoken where sentencepiece is missing.
PACKAGES = {
    "tiktoken": "sentencepiece protobuf",
    "sentencepiece": "sentencepiece protobuf",
    "protobuf": "protobuf",
    "accelerate": "accelerate",
    "peft": "peft",
}


def check_local_folder(name: str) -> None:
    """Raises UserError when `name` is a folder without model_index.json, or looks like a path and is not there."""
    folder = Path(name)
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        raise UserError(
            f"{PLACE}: {name} holds no model_index.json, so it is no diffusers pipeline. "
            "Save one there with pipeline.save_pretrained(folder), or restore the folder (git checkout / dvc pull)."
        )
    if not folder.exists() and looks_local(name):
        raise UserError(
            f"{PLACE}: there is no folder {name}. "
            "Name a diffusers folder that exists, or a hub name such as stable-diffusion-v1-5/stable-diffusion-v1-5."
        )


def looks_local(name: str) -> bool:
    """True where the name can only be a path on this machine: a hub's is owner/name."""
    return name.startswith((".", "/", "data/")) or name.count("/") > 1


def pretrained_pipeline(config: GeneratorConfig) -> Any:
    """Returns the diffusers pipeline of `config.pipeline` on the CPU, in config.dtype, with the scheduler it names.

    UserError where the folder is missing or damaged, the hub does not answer, a package is missing, or a tokenizer
    has no files.
    """
    check_local_folder(config.pipeline)
    _hide_loading_bars()
    try:
        pipeline = _any_variant(config)
    except Exception as error:  # diffusers, transformers and the hub raise errors of many kinds
        raise UserError(_cannot_load(config, error)) from error
    _require_tokenizers(pipeline, config)
    return pipeline


def _any_variant(config: GeneratorConfig) -> Any:
    try:
        return _from_pretrained(config, None)
    except OSError as error:
        if "no file named" not in str(error):
            raise
        try:  # some repositories hold half-precision files alone
            return _from_pretrained(config, "fp16")
        except Exception:
            raise error from None


def _from_pretrained(config: GeneratorConfig, variant: str | None) -> Any:
    import torch
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline

    options = {
        "dtype": getattr(torch, config.dtype),
        "revision": config.revision,
        "variant": variant,
        "low_cpu_mem_usage": find_spec("accelerate") is not None,  # without it diffusers would warn, at length
    }
    try:
        return AutoPipelineForText2Image.from_pretrained(config.pipeline, **options)
    except ValueError:  # a class that the text-to-image table does not know: its own from_pretrained may
        return DiffusionPipeline.from_pretrained(config.pipeline, **options)


def _hide_loading_bars() -> None:
    """Weights load in seconds, a bar for each of their files only hides ours; a hub's download keeps its own."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _require_tokenizers(pipeline: Any, config: GeneratorConfig) -> None:
    """Where its files are missing, transformers makes an empty tokenizer without a word: all prompts are one to it."""
    for name, part in sorted(pipeline.components.items()):
        if not name.startswith("tokenizer") or part is None:
            continue
        first, second = (part(text).input_ids for text in ("a photo of a wren", "a photo of a tree"))
        if first == second:
            raise UserError(
                f"{PLACE}: {config.pipeline}: its {name} tells no two prompts apart, so its files are missing. "
                f"Fetch the folder {name} again (tokenizer.json, or vocab.json and merges.txt, or spiece.model)."
            )


def _cannot_load(config: GeneratorConfig, error: Exception) -> str:
    text = str(error).strip()
    first_line = text.splitlines()[0] if text else type(error).__name__
    return f"{PLACE}: {config.pipeline} cannot be loaded ({first_line}). {_remedy(config, text.lower())}"


def _remedy(config: GeneratorConfig, error: str) -> str:
    for word, packages in PACKAGES.items():
        if word in error:
            return f"It needs a package more: pip install {packages}"
    if Path(config.pipeline).is_dir():
        return "The folder is incomplete or damaged: restore it (git checkout / dvc pull)."
    return "Check the name and the revision, the connection to the hub, and `hf auth login` for a gated model."

"""Loads the diffusers pipeline and the LoRA that params.yaml names, from a folder or from the hub."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.downloads import require_download
from gift_core.errors import UserError, did_you_mean
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
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        raise UserError(
            f"{PIPELINE_KEY}: {name} has no model_index.json, so it is not a diffusers pipeline. "
            "Save one there with pipeline.save_pretrained(folder), or restore the folder (git checkout / dvc pull)."
        )
    if not folder.exists() and looks_local(name):
        raise UserError(
            f"{PIPELINE_KEY}: there is no folder {name}. "
            "Use an existing diffusers folder, or a hub name such as stable-diffusion-v1-5/stable-diffusion-v1-5."
        )


def looks_local(name: str) -> bool:
    """Returns True when `name` can only be a path on this machine. Hub names have the form owner/name."""
    return name.startswith((".", "/", "data/")) or name.count("/") > 1


def pretrained_pipeline(config: GeneratorConfig) -> Any:
    """Returns the diffusers pipeline `config.pipeline` on the CPU, in config.dtype, with its own scheduler.

    Raises UserError if the folder is missing or damaged, the hub does not answer, a package is missing, or a tensor or
    the files of a tokenizer are missing.
    """
    check_local_folder(config.pipeline)
    if not Path(config.pipeline).is_dir():
        folder = f"data/0_raw/generators/{config.pipeline.rpartition('/')[2]}"
        params, index = {"pipeline": folder, "revision": "null"}, ("model_index.json",)
        key, revision = "generator.pipeline", config.revision
        require_download(config.pipeline, index, key=key, folder=folder, params=params, revision=revision)
    _hide_loading_bars()
    missing: dict[str, list[str]] = {}
    try:
        with _noting_missing_tensors(missing), _without_warnings():
            pipeline = _load_any_variant(config)
    except Exception as error:  # diffusers, transformers and the hub raise many kinds of errors
        raise UserError(_cannot_load(config, error)) from error
    _require_all_tensors(missing, config)
    _require_tokenizers(pipeline, config)
    return pipeline


def _load_any_variant(config: GeneratorConfig) -> Any:
    try:
        return _from_pretrained(config, None)
    except OSError as error:
        if "no file named" not in str(error):
            raise
        try:  # some repositories contain only half-precision files
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
        "low_cpu_mem_usage": find_spec("accelerate") is not None,  # avoids a long warning of diffusers
    }
    try:
        return AutoPipelineForText2Image.from_pretrained(config.pipeline, **options)
    except ValueError:  # not in the text-to-image table of diffusers; the generic loader may know the class
        return DiffusionPipeline.from_pretrained(config.pipeline, **options)


@contextmanager
def _noting_missing_tensors(missing: dict[str, list[str]]) -> Iterator[None]:
    """Within the block, adds to `missing` the tensors that each loaded model lacks, by the model's class.

    diffusers and transformers give such tensors random numbers, with a warning. They return their names only if they
    are asked (output_loading_info), and a pipeline does not ask.
    """
    from diffusers import ModelMixin
    from transformers import PreTrainedModel

    def asking(original: Any) -> Any:
        def from_pretrained(cls: type, *arguments: Any, **options: Any) -> Any:
            model, found = original.__func__(cls, *arguments, **options, output_loading_info=True)
            if found["missing_keys"]:
                missing[cls.__name__] = sorted(found["missing_keys"])
            return model

        return classmethod(from_pretrained)

    originals = {base: vars(base)["from_pretrained"] for base in (ModelMixin, PreTrainedModel)}
    try:
        for base, original in originals.items():
            base.from_pretrained = asking(original)
        yield
    finally:
        for base, original in originals.items():
            base.from_pretrained = original


def _require_all_tensors(missing: Mapping[str, Sequence[str]], config: GeneratorConfig) -> None:
    for model, names in missing.items():
        what = f"its {model} lacks {len(names)} of its tensors: {first_names(names, 3)}"
        raise UserError(f"{PIPELINE_KEY}: {config.pipeline}: {what}. {_remedy(config, '')}")


def _hide_loading_bars() -> None:
    """Hides the bars for loading weights, which takes seconds. Downloads from the hub keep their bars."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hides what diffusers says of sound pipelines: an unexpected kind of VAE, keys that it wrote itself, no network.

    What is wrong with a pipeline is an error here.
    """
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The `local_dir_use_symlinks` argument")
            yield
    finally:
        logging.set_verbosity(before)


def _require_tokenizers(pipeline: Any, config: GeneratorConfig) -> None:
    """When tokenizer files are missing, transformers silently builds an empty tokenizer that ignores the prompt."""
    for name, part in sorted(pipeline.components.items()):
        if not name.startswith("tokenizer") or part is None:
            continue
        first, second = (part(text).input_ids for text in ("a photo of a wren", "a photo of a tree"))
        if first == second:
            raise UserError(
                f"{PIPELINE_KEY}: {config.pipeline}: its {name} encodes different prompts identically, so its files "
                f"are missing. Fetch the folder {name} again (tokenizer.json, or vocab.json and merges.txt, or "
                "spiece.model)."
            )
        _require_length(part, name, pipeline, config)


def _require_length(tokenizer: Any, name: str, pipeline: Any, config: GeneratorConfig) -> None:
    """Pipelines fill each text to the length of CLIP's tokenizer. Without one in its files, it is 10^30."""
    encoder = name.replace("tokenizer", "text_encoder")
    settings: Any = getattr(pipeline.components.get(encoder), "config", None)
    if getattr(settings, "model_type", None) != "clip_text_model":
        return
    length, longest = tokenizer.model_max_length, settings.max_position_embeddings
    if not (isinstance(length, int) and 1 < length <= longest):
        what = f"model_max_length of its {name} is {length}, and its {encoder} takes {longest} tokens"
        remedy = f'Write "model_max_length": {longest} into {name}/tokenizer_config.json'
        raise UserError(f"{PIPELINE_KEY}: {config.pipeline}: {what}. {remedy}.")


def _cannot_load(config: GeneratorConfig, error: Exception) -> str:
    text = str(error).strip()
    first_line = text.splitlines()[0] if text else type(error).__name__
    return f"{PIPELINE_KEY}: {config.pipeline} cannot be loaded ({first_line}). {_remedy(config, text.lower())}"


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
    if not path.exists():
        if looks_local(config.path):
            raise UserError(f"{LORA_KEY}.path: there is no {path}. Put the LoRA there, or use the name of a hub repo.")
        return
    files = sorted(file.name for file in path.glob("*.safetensors")) if path.is_dir() else [path.name]
    if not files:
        raise UserError(f"{LORA_KEY}.path: {path} has no .safetensors file. Put the LoRA weights there.")
    if config.weight_name is None and len(files) > 1:
        raise UserError(f"{LORA_KEY}.weight_name: {path} has {len(files)} files: {', '.join(files)}. Choose one.")
    if config.weight_name is not None and config.weight_name not in files:
        hint = did_you_mean(config.weight_name, files)
        raise UserError(f"{LORA_KEY}.weight_name: {path} has no {config.weight_name}. {hint}")


def add_lora(pipeline: Any, config: LoraConfig | None) -> None:
    """Adds the LoRA to `pipeline` at its scale. Does nothing for None.

    Raises UserError if the pipeline does not support LoRA, or if the weights do not fit it.
    """
    if config is None:
        return
    if not hasattr(pipeline, "load_lora_weights"):
        raise UserError(f"{LORA_KEY}: {type(pipeline).__name__} does not support LoRA. Write lora: null.")
    options = {} if config.weight_name is None else {"weight_name": config.weight_name}
    try:
        pipeline.load_lora_weights(config.path, adapter_name=ADAPTER, **options)
    except Exception as error:  # diffusers, peft and the hub each raise their own errors for wrong weights
        raise _does_not_fit(pipeline, config, " ".join(str(error).split()[:60])) from error
    if not pipeline.get_active_adapters():
        raise _does_not_fit(pipeline, config, "none of its weights match a layer")
    pipeline.set_adapters([ADAPTER], adapter_weights=[config.scale])


def _does_not_fit(pipeline: Any, config: LoraConfig, reason: str) -> UserError:
    what = f"{config.path} cannot be added to {type(pipeline).__name__} ({reason})"
    return UserError(f"{LORA_KEY}: {what}. Use a LoRA that was trained for this pipeline.")

"""A diffusers text-to-image pipeline: loaded with its LoRA, put on its device, and generating in seeded batches.

Pipelines differ in their arguments, so these are read from the signature of the call, not from the class name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.config.experiment import looks_local
from gift_core.downloads import require_download
from gift_core.errors import UserError, explained, lookup
from gift_core.generators.cut_prompts import longest_tokenizer, silence_cut_prompts
from gift_core.quantities import first_names
from gift_core.work.overlap import copied_to_cpu

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from gift_core.config.experiment import GeneratorConfig, GeneratorMemoryConfig, LoraConfig

ADAPTER = "lora"
# Words in the errors of T5 tokenizers without the extra t5: their loader falls back to tiktoken.
T5_PACKAGES = ("tiktoken", "sentencepiece", "protobuf")
KEY = "params.yaml: generator"
PIPELINE_KEY = f"{KEY}.pipeline"
LORA_KEY = f"{KEY}.lora"
MEMORY_KEY = f"{KEY}.memory"
OFFLOADS = {"model": "enable_model_cpu_offload", "sequential": "enable_sequential_cpu_offload"}
VAE_SWITCHES = {"vae_slicing": "enable_slicing", "vae_tiling": "enable_tiling"}
REQUIRED = ("prompt", "generator", "num_inference_steps")
GUIDANCE = ("guidance_scale", "true_cfg_scale", "prior_guidance_scale")
# Options that would silently change the image or the prompt: resizing to another size, "cleaning" the prompt.
SWITCHES: Mapping[str, bool] = {"use_resolution_binning": False, "clean_caption": False}
# Pipelines whose images are taken as a tensor, because diffusers' conversion keeps the GPU waiting. Others may return
# values in another range then (PRX does), so this is not read from the signature.
RETURN_TENSORS = {
    "StableDiffusionPipeline", "LatentConsistencyModelPipeline", "StableDiffusionXLPipeline", "PixArtAlphaPipeline",
    "PixArtSigmaPipeline", "StableDiffusion3Pipeline", "FluxPipeline",
}  # fmt: skip


def pretrained_pipeline(config: GeneratorConfig) -> Any:
    """Returns the diffusers pipeline `config.pipeline` on the CPU, in config.dtype, with its own scheduler.

    Raises UserError if the folder is missing or damaged, the hub does not answer, a package is missing, or tensors or
    the files of a tokenizer are missing. Where accelerate is not installed, diffusers warns of missing tensors.
    """
    if not Path(config.pipeline).is_dir():
        _require_on_hub(config)
    import diffusers
    import transformers

    # These bars are of loading weights, which takes seconds. Downloads from the hub keep their bars.
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    silence_cut_prompts()
    try:
        pipeline = _from_pretrained(config)
    except Exception as error:  # diffusers, transformers and the hub raise many kinds of errors
        text = str(error).strip() or type(error).__name__
        remedy = "Check the name, the revision and the connection to the hub. A gated model needs `hf auth login`."
        if any(name in text.lower() for name in T5_PACKAGES):
            remedy = "It needs other packages: pip install sentencepiece protobuf"
        elif Path(config.pipeline).is_dir():
            remedy = "The folder is incomplete or damaged: restore it (git checkout / dvc pull)."
        raise UserError(
            f"{PIPELINE_KEY}: {config.pipeline} cannot be loaded ({text.splitlines()[0]}). {remedy}"
        ) from error
    _require_whole(pipeline, config)
    return pipeline


def _require_whole(pipeline: Any, config: GeneratorConfig) -> None:
    """Where files of a tokenizer are missing, transformers makes an empty one that ignores the prompt."""
    for name, part in sorted(pipeline.components.items()):
        tensors = part.named_parameters() if hasattr(part, "named_parameters") else ()
        missing = first_names([weight for weight, value in tensors if value.is_meta])  # accelerate leaves them empty
        if missing:
            problem = f"{config.pipeline}/{name}: its weights have no {missing}"
            raise UserError(f"{PIPELINE_KEY}: {problem}. Restore the folder, or save the whole pipeline there again.")
        if name.startswith("tokenizer") and part is not None:
            first, second = (part(text).input_ids for text in ("a photo of a wren", "a photo of a tree"))
            if first == second:
                problem = f"its {name} encodes different prompts identically, so its files are missing"
                remedy = "tokenizer.json, or vocab.json and merges.txt, or spiece.model"
                raise UserError(f"{PIPELINE_KEY}: {config.pipeline}: {problem}. Fetch the folder again ({remedy}).")


def _require_on_hub(config: GeneratorConfig) -> None:
    if looks_local(config.pipeline):
        remedy = "Restore it (git checkout / dvc pull), or use a hub name: stabilityai/sdxl-turbo."
        raise UserError(f"{PIPELINE_KEY}: no folder {config.pipeline}. {remedy}")
    folder = f"data/0_raw/generators/{config.pipeline.rpartition('/')[2]}"
    params = {"pipeline": folder, "revision": "null"}
    index, key = ("model_index.json",), "generator.pipeline"
    require_download(config.pipeline, index, key=key, folder=folder, params=params, revision=config.revision)


def _from_pretrained(config: GeneratorConfig) -> Any:
    """Loads the files of half precision where a repository has no others."""
    try:
        return _of_variant(config, None)
    except OSError as error:
        if "no file named" not in str(error):
            raise
        try:
            return _of_variant(config, "fp16")
        except Exception:
            raise error from None


def _of_variant(config: GeneratorConfig, variant: str | None) -> Any:
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


def check_lora(config: LoraConfig | None, root: Path = Path()) -> None:
    """Raises UserError if the package, folder or file of the LoRA is missing in the project `root`. Loads nothing."""
    if config is None:
        return
    if find_spec("peft") is None:
        raise UserError(f"{LORA_KEY}: needs another package: pip install peft. Or write lora: null.")
    path = root / config.path
    if not path.exists() and looks_local(config.path):
        raise UserError(f"{LORA_KEY}.path: there is no {path}. Put the LoRA there, or use the name of a hub repo.")
    files = sorted(file.name for file in path.glob("*.safetensors"))
    if config.weight_name is None and len(files) > 1:
        raise UserError(f"{LORA_KEY}.weight_name: {path} has {len(files)} files: {', '.join(files)}. Choose one.")


def add_lora(pipeline: Any, config: LoraConfig) -> None:
    """Adds the LoRA to `pipeline` at its scale.

    Raises UserError if the pipeline does not support LoRA, or if the weights do not fit it.
    """
    options = {} if config.weight_name is None else {"weight_name": config.weight_name}
    remedy = "Use a LoRA that was trained for this pipeline, or write lora: null."
    with explained(f"{LORA_KEY}: {config.path} cannot be added to {type(pipeline).__name__}", remedy):
        pipeline.load_lora_weights(config.path, adapter_name=ADAPTER, **options)
        if not pipeline.get_active_adapters():
            raise ValueError("none of its weights match a layer")
    pipeline.set_adapters([ADAPTER], adapter_weights=[config.scale])


def call_settings(pipeline: Any, config: GeneratorConfig) -> tuple[dict[str, Any], str | None]:
    """Returns the arguments of every call of `pipeline`, and the negative prompt of each image (None: not passed).

    Raises UserError if it is not a text-to-image pipeline, or does not support the guidance or the negative prompt.
    """
    parameters = inspect.signature(pipeline.__call__).parameters
    kind = type(pipeline).__name__
    missing = [name for name in REQUIRED if name not in parameters]
    if missing:
        problem = f"{config.pipeline} is a {kind}, whose call has no argument {', '.join(missing)}"
        raise UserError(f"{PIPELINE_KEY}: {problem}. Use a text-to-image pipeline.")
    # The argument that sets guidance. If its default is None, another one does: true_cfg_scale of Qwen-Image.
    known = [name for name in GUIDANCE if name in parameters]
    scale = next((name for name in known if parameters[name].default is not None), next(iter(known), None))
    if scale is None and config.guidance > 0:
        raise UserError(f"{KEY}.guidance: {config.guidance}, but {kind} has no guidance. Write guidance: 0.0.")
    fixed: dict[str, Any] = {"num_inference_steps": config.steps}
    fixed |= {name: config.size for name in ("height", "width") if name in parameters}
    fixed |= {name: value for name, value in SWITCHES.items() if name in parameters}
    if kind in RETURN_TENSORS:
        fixed["output_type"] = "pt"
    # FLUX.1-schnell was trained with 256 tokens. Only its tokenizer knows; the default of the call is 512.
    tokenizer = longest_tokenizer(pipeline) if "max_sequence_length" in parameters else None
    if tokenizer is not None and tokenizer.model_max_length < parameters["max_sequence_length"].default:
        fixed["max_sequence_length"] = tokenizer.model_max_length
    if scale is not None:
        fixed[scale] = config.guidance
    if config.negative_prompt and "true_cfg_scale" in parameters and scale != "true_cfg_scale":
        problem = f"the guidance of {kind} is distilled into its weights, so a negative prompt has no effect"
        raise UserError(f'{KEY}.negative_prompt: {problem}. Write negative_prompt: "".')
    # With true_cfg_scale there is no guidance without a negative prompt, even if blank.
    blank = " " if scale == "true_cfg_scale" and config.guidance > 1 else None
    return fixed, config.negative_prompt or blank


def make_scheduler(default: Any, name: str) -> Any:
    """Returns the scheduler of the diffusers class `name`, with the settings of the pipeline's `default`.

    Raises UserError for an unknown name, a missing package, and a flow-matching scheduler on a model that was not
    trained for it (or the reverse).
    """
    import diffusers

    known = {entry: entry for entry in dir(diffusers) if entry.endswith("Scheduler") and not entry.startswith("Flax")}
    kind = getattr(diffusers, lookup(known, name, f"{KEY}.scheduler"))
    problem = f"{name} cannot be made from the settings of {type(default).__name__}"
    with explained(f"{KEY}.scheduler: {problem}", "Use another one, or null."):
        made = kind.from_config(default.config)
    if _matches_flow(made) != _matches_flow(default):
        problem = f"{name} and {type(default).__name__}, which the model was trained with, define noise differently"
        raise UserError(f"{KEY}.scheduler: {problem}: images would be noise. Use one of the same kind, or null.")
    return made


def _matches_flow(scheduler: Any) -> bool:
    settings = scheduler.config
    by_settings = settings.get("prediction_type") == "flow_prediction" or settings.get("use_flow_sigmas")
    return "FlowM" in type(scheduler).__name__ or bool(by_settings)


@dataclass(frozen=True)
class TextToImage:
    """A loaded pipeline, and the arguments and the negative prompt (or None) that all images are generated with."""

    pipeline: Any
    config: GeneratorConfig
    arguments: Mapping[str, Any]
    negative_prompt: str | None

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> Sequence[Image.Image]:
        """Returns one RGB image per prompt, of config.size x config.size pixels.

        Each image has its own generator on the CPU with its own seed, so its noise depends neither on its position in
        the batch nor on the device (https://huggingface.co/docs/diffusers/using-diffusers/reusing_seeds). A GPU may
        still compute when this returns: the first access to an image waits for it, in any thread. Raises
        UserError if the pipeline rejects the settings, or returns images of another size.
        """
        import torch

        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        arguments = dict(self.arguments)
        if self.negative_prompt is not None:
            arguments["negative_prompt"] = [self.negative_prompt] * len(prompts)
        try:
            with torch.inference_mode():
                output = self.pipeline(prompt=list(prompts), generator=generators, **arguments)
                on_device = isinstance(output.images, torch.Tensor)
                images = _ImagesOnDevice(output.images) if on_device else output.images
        except (ValueError, TypeError, LookupError, AssertionError) as error:  # how pipelines reject settings
            kind, reason = type(self.pipeline).__name__, " ".join(str(error).split())
            raise UserError(f"{KEY}: {kind} rejects these settings ({reason}). Change the setting it names.") from error
        width, height = reversed(output.images.shape[-2:]) if on_device else images[0].size
        if (width, height) != (self.config.size, self.config.size):  # some pipelines round it down
            problem = f"{self.config.size}, but {type(self.pipeline).__name__} returns images of {width}x{height} px"
            raise UserError(f"{KEY}.size: {problem}. Use a size it supports, for most a multiple of 16 or 32.")
        return images if on_device else [image.convert("RGB") for image in images]


class _ImagesOnDevice(Sequence["Image.Image"]):
    """RGB images of a tensor [B, C, H, W] with values 0-1, as diffusers makes them, to the byte.

    diffusers converts them on the CPU, 24 ms for 512 px, while the GPU waits. Here the GPU rounds them to gray levels,
    and they are copied beside its next computation.
    """

    def __init__(self, images_BCHW: torch.Tensor) -> None:
        levels_BHWC = (images_BCHW.permute(0, 2, 3, 1).float() * 255).round().byte().contiguous()
        self._count, self._levels = len(levels_BHWC), copied_to_cpu(levels_BHWC)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._images[index]

    @cached_property
    def _images(self) -> list[Image.Image]:
        from PIL import Image

        return [Image.fromarray(array.squeeze()).convert("RGB") for array in self._levels().numpy()]


def load_pipeline(config: GeneratorConfig, device: torch.device) -> TextToImage:
    """Returns the pipeline `config.pipeline` (a diffusers folder or a hub name) on `device`, ready to generate.

    Raises UserError if it cannot be loaded or does not support a setting of `config`: scheduler, guidance, negative
    prompt, LoRA, memory savers.
    """
    check_lora(config.lora)
    prepared = prepared_pipeline(pretrained_pipeline(config), config)
    place_pipeline(prepared.pipeline, config.memory, device)
    return prepared


def prepared_pipeline(pipeline: Any, config: GeneratorConfig) -> TextToImage:
    """Returns a loaded pipeline with the settings of `config`, where it is. UserError as load_pipeline."""
    arguments, negative_prompt = call_settings(pipeline, config)
    if config.scheduler is not None:
        pipeline.scheduler = make_scheduler(pipeline.scheduler, config.scheduler)
    if config.lora is not None:
        add_lora(pipeline, config.lora)
    pipeline.set_progress_bar_config(disable=True)  # counts the steps of one batch; ours counts images
    return TextToImage(pipeline, config, arguments, negative_prompt)


def place_pipeline(pipeline: Any, config: GeneratorMemoryConfig | None, device: torch.device) -> None:
    """Moves `pipeline` to `device` with the memory savers of `config` (None: no memory savers).

    Raises UserError for a saver that the pipeline does not have, and for an unknown or unusable attention backend.
    """
    if config is None:
        pipeline.to(device)
        return
    for key, switch in VAE_SWITCHES.items():
        if getattr(config, key):
            try:
                getattr(getattr(pipeline, "vae", None), switch)()
            except (AttributeError, NotImplementedError) as error:
                problem = f"true, but {type(pipeline).__name__} has no VAE that supports it"
                raise UserError(f"{MEMORY_KEY}.{key}: {problem}. Write {key}: false.") from error
    if config.attention is not None:
        models = [  # on the UNets of SD and SDXL set_attention_backend has no effect
            part
            for part in pipeline.components.values()
            if hasattr(part, "set_attention_backend")
            and any(hasattr(getattr(layer, "processor", None), "_attention_backend") for layer in part.modules())
        ]
        with explained(f"{MEMORY_KEY}.attention", "Name another one, or write attention: null."):
            if not models:
                raise ValueError(f"no part of {type(pipeline).__name__} supports attention backends")
            for model in models:
                model.set_attention_backend(config.attention)
    if config.offload == "none" or device.type == "cpu":  # where everything is already
        pipeline.to(device)
    else:
        getattr(pipeline, OFFLOADS[config.offload])(device=device)

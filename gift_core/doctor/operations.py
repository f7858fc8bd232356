"""The models of params.yaml: where they are on this machine, their configurations, their operations and bytes.

gift_core.doctor.counting counts. What it has counted is kept in .gift, because its imports take seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

from gift_core.artifacts.contract import write_json
from gift_core.artifacts.model_folder import CONFIG, shape_fault
from gift_core.doctor.finding import Project
from gift_core.downloads import in_cache
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.untrusted import read_json_file

FOLDER, FILE, HUB = "local-dir:", "local-file:", "hf-hub:"
INDEX = "model_index.json"
BACKWARD = 3  # forward and backward pass together cost three times the forward pass
GUIDED = 2  # with guidance, each step runs the denoiser on the prompt and on the negative one
# The configurations of the models that the presets name, for estimates before they are on this machine.
Settings = Mapping[str, Any]

# The config.json files of stable-diffusion-v1-5/stable-diffusion-v1-5, but what is the default of the class.
UNET: Settings = {"sample_size": 64, "cross_attention_dim": 768}
AUTOENCODER: Settings = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "sample_size": 512,
}
TEXT_ENCODER: Settings = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 768,
    "num_attention_heads": 12,
    # differs: v1.5 has 0, 2 and 1, which its tokenizer does not use. They affect only the pooled output, unused in SD.
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
_CHECKER = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "patch_size": 14}
SAFETY_CHECKER: Settings = {"projection_dim": 768, "vision_config": {**_CHECKER, "num_attention_heads": 16}}

# The tiny autoencoder of SDXS has the defaults of diffusers.
SDXS: Mapping[str, Settings] = {
    "unet": {
        **UNET,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "mid_block_type": None,
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 1,
    },
    "vae": {"_class_name": "AutoencoderTiny"},
    "text_encoder": TEXT_ENCODER,
}
PIPELINES: Mapping[str, Mapping[str, Settings]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": {
        "unet": UNET, "vae": AUTOENCODER, "text_encoder": TEXT_ENCODER, "safety_checker": SAFETY_CHECKER,
    },
    "IDKiro/sdxs-512-dreamshaper": SDXS,
}  # fmt: skip
CLIPS: Mapping[str, dict[str, Any]] = {  # model_cfg of open_clip
    "hf-hub:timm/vit_medium_patch32_clip_224.tinyclip_laion400m": {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 512, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 6},
    }
}


@dataclass(frozen=True)
class ClipCount:
    """Of a CLIP: the operations of a forward pass on an image and on a token of a text, the bytes that training keeps
    for each of both in float32, the number of weights, and the size of an embedding."""

    image: float
    token: float
    image_bytes: float
    token_bytes: float
    weights: int
    embedding: int


@dataclass(frozen=True)
class PipelineCount:
    """Of a pipeline: the parameters of each part, and for an image the operations and the peak of bytes in float32 of a
    pass of the denoiser and of the decoder."""

    parameters: dict[str, int]
    denoiser: float
    decoder: float
    denoiser_bytes: float
    decoder_bytes: float


Counted = TypeVar("Counted", ClipCount, PipelineCount)


def model_config_of(project: Project) -> dict[str, Any] | None:
    """Returns the model_cfg of open_clip for the model of params.yaml, or None if it is not known here.

    That of an architecture is read without importing open_clip, which takes seconds.
    """
    name = project.config.model.name
    if name.startswith(FILE):
        return None
    if name.startswith((FOLDER, HUB)):
        local = project.root / name.removeprefix(FOLDER) / CONFIG
        file = local if name.startswith(FOLDER) else in_cache(name.removeprefix(HUB), (CONFIG,))
        return read_model_config(file) if file is not None and file.is_file() else CLIPS.get(name)
    package = find_spec("open_clip")
    assert package is not None and package.submodule_search_locations, "open_clip is a requirement"
    file = Path(package.submodule_search_locations[0]) / "model_configs" / f"{name.replace('/', '-')}.json"
    return dict(read_json_file(file)) if file.is_file() else None


def read_model_config(file: Path) -> dict[str, Any]:
    """Returns the model_cfg in a file of open_clip. UserError if it is damaged."""
    try:
        content = read_json_file(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: it is not valid JSON ({error}). Restore the file.") from None
    config: Any = content.get("model_cfg") if isinstance(content, dict) else None
    if fault := shape_fault(config):
        raise UserError(f"{file} is no model configuration: {fault}. Restore the file.")
    return dict(config)


def pipeline_folder(project: Project) -> Path | None:
    """Returns the folder of the pipeline on this machine: a local one, which may not exist, or a complete one in the
    hub cache, or None."""
    from gift_core.config.generator import looks_local

    generator = project.config.generator
    local = project.root / generator.pipeline
    if looks_local(generator.pipeline) or local.is_dir():
        return local
    index = in_cache(generator.pipeline, (INDEX,), revision=generator.revision)
    complete = index is not None and all((index.parent / part).is_dir() for part in parts_of(index.parent))
    return index.parent if index and complete else None


def parts_of(folder: Path) -> list[str]:
    """Returns the parts that the index of a diffusers folder names. ContractError if it is missing or no index."""
    try:
        index = read_json_file(folder / INDEX)
        assert isinstance(index["_class_name"], str), "_class_name should be a text"
    except (OSError, ValueError, LookupError, TypeError, AssertionError) as error:
        what = f"{folder}: not a diffusers pipeline, its {INDEX} cannot be used ({error})"
        raise ContractError(f"{what}. Restore the folder, or download it again.") from None
    return [name for name, part in index.items() if isinstance(part, list) and part[:1] != [None]]


def clip_count(project: Project) -> ClipCount | None:
    """Returns what is counted of the model of params.yaml, or None if its configuration is not on this machine."""
    config, model = model_config_of(project), project.config.model
    if config is None or "hf_model_name" in config["text_cfg"]:  # that one needs a file from the hub
        return None
    checkpointing = project.config.training.gradient_checkpointing
    return _kept(project, ClipCount, config, checkpointing, model.name, model.pretrained)


def pipeline_count(project: Project) -> PipelineCount | None:
    """Returns what is counted of the pipeline of params.yaml, or None if it is not known, or has no UNet."""
    generator, folder = project.config.generator, pipeline_folder(project)
    parts: Any = PIPELINES.get(generator.pipeline)
    if folder is not None:
        files = {part: folder / part / "config.json" for part in ("unet", "vae")}
        parts = {part: read_json_file(file) for part, file in files.items() if file.is_file()}
    if not parts or not {"unet", "vae"} <= set(parts):
        return None
    try:
        return _kept(project, PipelineCount, parts, generator.size)
    except Exception:  # of diffusers: a UNet that needs other inputs, or a damaged configuration, which `model` reports
        return None


def _kept(project: Project, kind: type[Counted], *inputs: Any) -> Counted | None:
    """Returns what gift_core.doctor.counting counts for these arguments, or what it counted earlier."""
    code = Path(__file__).with_name("counting.py").read_text(encoding="utf-8")
    key = json.dumps([code, kind.__name__, inputs], sort_keys=True)
    file = Layout(project.root).work("doctor", f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json")
    with suppress(OSError, ValueError, TypeError):  # there is none, or it is damaged
        return kind(**read_json_file(file))
    if not project.counts:
        return None
    from gift_core.doctor import counting

    counted: Any = (counting.count_clip if kind is ClipCount else counting.count_pipeline)(*inputs)
    with suppress(OSError):  # the folder may be read-only
        write_json(file, asdict(counted))
    return cast(Counted, counted)

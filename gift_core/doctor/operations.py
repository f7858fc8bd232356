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
from typing import Any

from gift_core.artifacts.contract import write_json
from gift_core.artifacts.model_folder import CONFIG, shape_fault
from gift_core.doctor.finding import Project
from gift_core.downloads import in_cache
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.untrusted import read_json_file

INDEX = "model_index.json"
BACKWARD = 3  # forward and backward pass together cost three times the forward pass
GUIDED = 2  # with guidance, each step runs the denoiser on the prompt and on the negative one
KNOWN = Path(__file__).with_name("known_models.json")


def known_models() -> Mapping[str, Any]:
    """Returns {repository of the hub: what counts of its configurations}, for estimates before a download.

    It has the models that the presets name: the model_cfg of a CLIP, and the config.json of each part of a pipeline.
    What is the default of the class is left out.
    """
    return dict(read_json_file(KNOWN))


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


def model_config_of(project: Project) -> dict[str, Any] | None:
    """Returns the model_cfg of open_clip for the model of params.yaml, or None if it is not known here.

    That of an architecture is read without importing open_clip, which takes seconds. UserError if it is damaged.
    """
    name = project.config.model.name
    kind, _, location = name.partition(":") if ":" in name else ("", "", name)
    config = None
    if kind == "local-dir":
        file = project.root / location / CONFIG
        config = read_model_config(file) if file.is_file() else None
    elif kind == "hf-hub":
        cached = in_cache(location, (CONFIG,))
        config = read_model_config(cached) if cached else known_models().get(location, {}).get("model_cfg")
    elif not kind:
        package = find_spec("open_clip")
        assert package is not None and package.submodule_search_locations, "open_clip is a requirement"
        folder = Path(package.submodule_search_locations[0]) / "model_configs"
        file = folder / f"{location.replace('/', '-')}.json"
        config = dict(read_json_file(file)) if file.is_file() else None
    return None if config is None or "hf_model_name" in config["text_cfg"] else config  # that needs a file of the hub


def read_model_config(file: Path) -> dict[str, Any]:
    """Returns the model_cfg in a file of open_clip. UserError if it is damaged."""
    try:
        config = dict(read_json_file(file))["model_cfg"]
        fault = shape_fault(config)
    except (OSError, ValueError, LookupError, TypeError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault:
        raise UserError(f"{file} is no model configuration: {fault}. Restore the file.")
    return dict(config)


def pipeline_folder(project: Project) -> Path | None:
    """Returns the folder of the pipeline on this machine: a local one, which may not exist, or a complete one in the
    hub cache, or None."""
    from gift_core.config.experiment import looks_local

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
        index = read_json_file(folder / INDEX).items()
    except (OSError, ValueError, AttributeError) as error:
        raise ContractError(f"{folder}: no diffusers pipeline: {error}. Restore it, or download it again.") from None
    return [name for name, part in index if isinstance(part, list) and part[:1] != [None]]


def clip_count(project: Project) -> ClipCount | None:
    """Returns what is counted of the model of params.yaml, or None if its configuration is not on this machine."""
    config, model = model_config_of(project), project.config.model
    if config is None:
        return None
    checkpointing = project.config.training.gradient_checkpointing
    return ClipCount(**_kept(project, "count_clip", config, checkpointing, model.name, model.pretrained))


def pipeline_count(project: Project) -> PipelineCount | None:
    """Returns what is counted of the pipeline of params.yaml, or None if it is not known, or has no UNet."""
    generator, folder = project.config.generator, pipeline_folder(project)
    # of diffusers: a UNet that needs other inputs, or a damaged configuration, which the finding `generator` reports
    with suppress(Exception):
        if folder is None:
            parts = known_models().get(generator.pipeline, {})
        else:
            parts = {file.parent.name: read_json_file(file) for file in folder.glob("*/config.json")}
        if {"unet", "vae"} <= set(parts):
            return PipelineCount(**_kept(project, "count_pipeline", parts, generator.size))
    return None


def _kept(project: Project, count: str, *inputs: Any) -> dict[str, Any]:
    """Returns what a function of gift_core.doctor.counting counts for these arguments, or what it counted earlier."""
    code = Path(__file__).with_name("counting.py").read_text(encoding="utf-8")
    key = hashlib.sha256(json.dumps([code, count, inputs], sort_keys=True).encode()).hexdigest()
    file = Layout(project.root).work("doctor", f"{key[:16]}.json")
    with suppress(OSError, ValueError):  # there is none, or it is damaged
        return dict(read_json_file(file))
    from gift_core.doctor import counting

    counted = asdict(getattr(counting, count)(*inputs))
    with suppress(OSError):  # the folder may be read-only
        write_json(file, counted)
    return counted

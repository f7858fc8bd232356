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

INDEX = "model_index.json"
BACKWARD = 3  # forward and backward pass together cost three times the forward pass
GUIDED = 2  # with guidance, each step runs the denoiser on the prompt and on the negative one
KNOWN = Path(__file__).with_name("known_models.json")


def known_models() -> Mapping[str, Any]:
    """Returns {repository of the hub: what counts of its configurations}, for estimates before a download.

    It has the models that the presets name: the model_cfg of a CLIP, and the config.json of each part of a pipeline.
    What is the default of the class is left out.
    """
    known: dict[str, Any] = read_json_file(KNOWN)
    return known


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
    is_built_here = config is not None and "hf_model_name" not in config["text_cfg"]  # else a file of the hub is needed
    return config if is_built_here else None


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
    if config is None:
        return None
    checkpointing = project.config.training.gradient_checkpointing
    return _kept(project, ClipCount, config, checkpointing, model.name, model.pretrained)


def pipeline_count(project: Project) -> PipelineCount | None:
    """Returns what is counted of the pipeline of params.yaml, or None if it is not known, or has no UNet."""
    generator, folder = project.config.generator, pipeline_folder(project)
    try:
        if folder is None:
            parts = known_models().get(generator.pipeline, {})
        else:
            parts = {file.parent.name: read_json_file(file) for file in folder.glob("*/config.json")}
        return _kept(project, PipelineCount, parts, generator.size) if {"unet", "vae"} <= set(parts) else None
    except Exception:  # of diffusers: a UNet that needs other inputs, or a damaged configuration, which `model` reports
        return None


def _kept(project: Project, kind: type[Counted], *inputs: Any) -> Counted:
    """Returns what gift_core.doctor.counting counts for these arguments, or what it counted earlier."""
    code = Path(__file__).with_name("counting.py").read_text(encoding="utf-8")
    key = json.dumps([code, kind.__name__, inputs], sort_keys=True)
    file = Layout(project.root).work("doctor", f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json")
    with suppress(OSError, ValueError, TypeError):  # there is none, or it is damaged
        return kind(**read_json_file(file))
    from gift_core.doctor import counting

    counted: Any = (counting.count_clip if kind is ClipCount else counting.count_pipeline)(*inputs)
    with suppress(OSError):  # the folder may be read-only
        write_json(file, asdict(counted))
    return cast(Counted, counted)

"""Checks the CLIP and the text-to-image pipeline of params.yaml: complete on this machine, or available on the hub."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.model_config import shape_fault
from gift_core.artifacts.model_folder import CONFIG, DamagedFileError, read_shapes
from gift_core.doctor.finding import Finding, Project
from gift_core.downloads import CACHED_WEIGHTS, download_problem, in_cache
from gift_core.errors import ContractError, UserError, lookup
from gift_core.mini.miniature import miniature_of
from gift_core.quantities import byte_size
from gift_core.untrusted import read_json_file

if TYPE_CHECKING:
    from gift_core.clip.model import Clip

FOLDER, FILE, HUB = "local-dir:", "local-file:", "hf-hub:"
INDEX = "model_index.json"
CLIP_CACHE = Path("~/.cache/clip")  # where open_clip keeps weights downloaded from a plain address
HUB_TIMEOUT = 3.0  # seconds
FLOAT_BYTES = 4  # of a weight in float32, as weights are downloaded
BY_HAND = {
    "model": "download it elsewhere, put it into data/0_raw/models and name it there (docs/models.md)",
    "generator": "download it elsewhere, put it into data/0_raw/generators and name that folder (docs/generators.md)",
}
# Parameters of published pipelines, for estimates before they are downloaded.
KNOWN_PIPELINES: dict[str, dict[str, int]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": {
        "unet": 859_520_964,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "safety_checker": 303_981_588,
    },
    "IDKiro/sdxs-512-dreamshaper": {"unet": 315_746_244, "vae": 2_445_063, "text_encoder": 123_060_480},
    "stabilityai/sd-turbo": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "SimianLuo/LCM_Dreamshaper_v7": {
        "unet": 859_602_884,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "safety_checker": 303_981_588,
    },
}


def _tinyclip(patch_size: int, image: tuple[int, int], text: tuple[int, int]) -> dict[str, Any]:
    """The model_cfg of a TinyCLIP, from (width, layers) of both towers."""
    return {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": image[1], "width": image[0], "patch_size": patch_size},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": text[0],
            "heads": text[0] // 64,
            "layers": text[1],
        },
    }


# open_clip's model_cfg of published CLIPs on the hub, for the same.
KNOWN_CLIPS: dict[str, dict[str, Any]] = {
    "hf-hub:timm/vit_medium_patch32_clip_224.tinyclip_laion400m": _tinyclip(32, (512, 12), (512, 6)),
    "hf-hub:timm/vit_betwixt_patch32_clip_224.tinyclip_laion400m": _tinyclip(32, (640, 12), (512, 9)),
    "hf-hub:timm/vit_xsmall_patch16_clip_224.tinyclip_yfcc15m": _tinyclip(16, (256, 10), (256, 3)),
}


def check_local_models(project: Project) -> Iterator[Finding]:
    """Yields whether the models that params.yaml names as local paths are complete. Skips models from the hub."""
    model = project.config.model
    if model.name.startswith((FOLDER, FILE)):
        yield check_local_clip(project.root, model.name)
    elif model.pretrained and {"/", "."} & set(model.pretrained):  # a path: tags have none of these
        yield check_weights_file(project.root, model.pretrained)
    if pipeline_folder(project) is not None:
        yield _check_pipeline(project)


def check_clip(project: Project) -> Iterator[Finding]:
    """Yields whether the CLIP is on this machine or can be downloaded, and is supported."""
    name, pretrained = project.config.model.name, project.config.model.pretrained
    if name.startswith((FOLDER, FILE)):
        yield check_local_clip(project.root, name)
    elif name.startswith(HUB):
        known = KNOWN_CLIPS.get(name)  # TinyCLIP is published in half precision
        size = FLOAT_BYTES // 2 * count_parameters(known) if known else 0
        yield _check_cache(name.removeprefix(HUB), CACHED_WEIGHTS, size)
    else:
        from gift_core.clip.architectures import architecture_config

        architecture, config = architecture_config(name)
        if pretrained is not None and (project.root / pretrained).exists():
            yield check_weights_file(project.root, pretrained)
        else:
            yield _check_tag(architecture, pretrained, config)


def check_miniature(project: Project) -> Iterator[Finding]:
    """Yields a warning if the miniature CLIP should learn other tasks than the miniature's."""
    if warning := miniature_of(project.config).warning:
        yield Finding("model", "warn", warning)


def check_trained(project: Project) -> Iterator[Finding]:
    """Yields a problem for each method that runs and cannot train this model. Nothing is loaded or computed."""
    rows = {name: project.config.methods[name] for name in project.config.run.methods}
    names = [name for name, row in rows.items() if row.trains is not None or row.layer_decay is not None]
    adapted = [name for name in names if (trains := rows[name].trains) is not None and trains.is_merged]
    if adapted and find_spec("peft") is None:
        yield Finding(f"methods.{adapted[0]}.trains", "fail", "lora needs another package", "Run: pip install peft")
        return
    config = model_config_of(project) if names else None
    if config is None or "hf_model_name" in config["text_cfg"]:  # that one needs a file from the hub
        return
    from gift_core.methods import build_method
    from gift_core.training.loop import require_trainable

    for name in names:
        try:
            require_trainable(_empty_clip(config), project.config.training, build_method(rows[name]))
        except UserError as error:
            yield Finding(f"methods.{name}", "fail", str(error))


def _empty_clip(config: dict[str, Any]) -> Clip:
    """The model without memory, with a tokenizer that gives rows of 0."""
    import torch

    from gift_core.clip.architectures import build_empty
    from gift_core.clip.model import Clip

    length = config["text_cfg"].get("context_length", 77)
    described = {"model_cfg": config, "preprocess_cfg": {"size": config["vision_cfg"].get("image_size", 224)}}
    return Clip(build_empty(config), lambda texts: torch.zeros(len(texts), length, dtype=torch.long), described, "fp32")


def check_generator(project: Project) -> Iterator[Finding]:
    """Yields whether the pipeline is on this machine with all its parts or can be downloaded, and a local LoRA."""
    yield _check_pipeline(project)


def check_local_clip(root: Path, name: str) -> Finding:
    """Returns whether a folder has weights and a configuration for open_clip, or whether a weights file is complete."""
    if name.startswith(FILE):
        return check_weights_file(root, name.removeprefix(FILE))
    folder = root / name.removeprefix(FOLDER)
    weights = sorted(file for file in folder.glob("*") if file.suffix in (".safetensors", ".bin", ".pt", ".pth"))
    configuration = next((file for file in (folder / CONFIG, folder / "config.json") if file.is_file()), None)
    if not weights or configuration is None:
        what = f"{folder} has no {CONFIG} or no weights" if folder.is_dir() else f"there is no {folder}"
        return Finding("model", "fail", what, "Correct model.name, or restore the folder (git checkout, dvc pull).")
    try:
        content = read_json_file(configuration)
    except (OSError, ValueError) as error:
        return Finding("model", "fail", f"{configuration} is not valid JSON ({error})", "Restore the file.")
    is_object = isinstance(content, dict)
    fault = shape_fault(content.get("model_cfg") if is_object else None) if configuration.name == CONFIG else None
    if fault or not is_object:
        what = f"{configuration} is no model configuration: {fault or 'it should be an object'}"
        return Finding("model", "fail", what, "Restore the file.")
    return check_weights_file(root, str(weights[0].relative_to(root)))


def check_weights_file(root: Path, name: str) -> Finding:
    """Returns whether a weights file (or a folder of them) exists. A safetensors file must be complete."""
    path = root / name
    if not path.exists():
        return Finding("model", "fail", f"there is no {path}", "Correct model.name and model.pretrained.")
    if path.suffix == ".safetensors":
        return Finding("model", "ok", f"{path}, {count_numbers(path) / 1e6:.1f}M parameters")
    return Finding("model", "ok", str(path))


def _check_tag(architecture: str, pretrained: str | None, config: Mapping[str, Any]) -> Finding:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is None:
        raise UserError(f"params.yaml: model.pretrained: {architecture} needs weights. Choose one of {tags}.")
    lookup({tag: tag for tag in tags}, pretrained, f"params.yaml: model.pretrained (tags of {architecture})")
    source: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, pretrained)
    is_known = "hf_model_name" not in config["text_cfg"]  # that one needs a file from the hub
    size = FLOAT_BYTES * count_parameters(config) if is_known else 0
    repository, _, file = source.get("hf_hub", "").rpartition("/")
    if repository:
        return _check_cache(repository, (file,) if file else CACHED_WEIGHTS, size)
    kept = CLIP_CACHE.expanduser() / Path(source["url"]).name
    if kept.is_file():
        return Finding("model", "ok", f"{architecture} {pretrained}, in {kept}")
    return download_finding("model", source["url"], by_hand=BY_HAND["model"], size=size)


def _check_pipeline(project: Project) -> Finding:
    from gift_core.generators.pretrained import check_lora

    check_lora(project.config.generator.lora)
    folder = cached_pipeline(project)
    name = project.config.generator.pipeline
    if folder is None:
        size = FLOAT_BYTES * sum(KNOWN_PIPELINES.get(name, {}).values())
        return download_finding("generator", name, by_hand=BY_HAND["generator"], size=size)
    if not folder.is_dir():
        what = f"there is no {folder}"
        return Finding("generator", "fail", what, "Correct generator.pipeline, or restore it (git checkout, dvc pull).")
    parts = pipeline_parameters(folder)
    return Finding("generator", "ok", f"{name}, {sum(parts.values()) / 1e6:.1f}M parameters")


def pipeline_folder(project: Project) -> Path | None:
    """Returns the folder that generator.pipeline names, which may not exist. None for a name on the hub."""
    from gift_core.generators.pretrained import looks_local

    name = project.config.generator.pipeline
    return project.root / name if looks_local(name) or (project.root / name).is_dir() else None


def cached_pipeline(project: Project) -> Path | None:
    """Returns the folder of the pipeline on this machine: a local one, or a complete one in the hub cache, or None."""
    folder = pipeline_folder(project)
    if folder is not None:
        return folder
    generator = project.config.generator
    index = in_cache(generator.pipeline, (INDEX,), revision=generator.revision)
    return index.parent if index and not _missing_parts(index.parent) else None


def count_numbers(path: Path) -> int:
    """Returns how many numbers a safetensors file contains. Raises ContractError if it is damaged or truncated.

    Only the header is read.
    """
    try:
        return sum(map(math.prod, read_shapes(path).values()))
    except DamagedFileError as error:
        what = f"not a complete safetensors file: {error}"
        raise ContractError(f"{path}: {what}. Download or create it again.") from None


def pipeline_parameters(folder: Path) -> dict[str, int]:
    """Returns {part: parameters} for the parts of a diffusers folder that have weights.

    Raises ContractError if model_index.json or the folder of a part is missing, or if a weights file is damaged. Parts
    with pickled weights are counted by their size in bytes, as float32.
    """
    if missing := _missing_parts(folder):
        raise ContractError(f"{folder}: {', '.join(missing)}: named in {INDEX}, but missing. Download it again.")
    counts = {name: _count_part(folder / name) for name in _parts_of(folder)}
    return {name: count for name, count in counts.items() if count}


def _parts_of(folder: Path) -> list[str]:
    """The parts that the index of a diffusers folder names. ContractError if it is missing or no index."""
    try:
        index = read_json_file(folder / INDEX)
    except (OSError, ValueError) as error:
        what = f"{folder}: not a diffusers pipeline, its {INDEX} cannot be read ({error})"
        raise ContractError(f"{what}. Restore the folder, or download it again.") from None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        what = f"{folder}: not a diffusers pipeline, its {INDEX} should be an object with the text _class_name"
        raise ContractError(f"{what}. Restore the folder, or download it again.")
    return [name for name, part in index.items() if isinstance(part, list) and part[:1] != [None]]


def _missing_parts(folder: Path) -> list[str]:
    return [name for name in _parts_of(folder) if not (folder / name).is_dir()]


def _count_part(folder: Path) -> int:
    """Counts the plain files if there are also copies of the same weights (fp16, non_ema)."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [file for file in files if not {"fp16", "non_ema"} & set(file.name.split("."))] or files
    if plain:
        return sum(map(count_numbers, plain))
    return sum(file.stat().st_size for file in folder.glob("*.bin")) // 4


def _check_cache(repository: str, files: tuple[str, ...], size: int = 0) -> Finding:
    found = in_cache(repository, files)
    if found is not None:
        return Finding("model", "ok", f"{repository}, in the hub cache: {found.name}")
    return download_finding("model", repository, by_hand=BY_HAND["model"], size=size)


def model_config_of(project: Project) -> dict[str, Any] | None:
    """Returns the model_cfg of open_clip for the model of params.yaml, or None if it is not known yet."""
    name = project.config.model.name
    if name.startswith(FILE):
        return None
    if name.startswith((FOLDER, HUB)):
        local = project.root / name.removeprefix(FOLDER) / CONFIG
        file = local if name.startswith(FOLDER) else in_cache(name.removeprefix(HUB), (CONFIG,))
        if file is None or not file.is_file():
            return KNOWN_CLIPS.get(name)
        return _read_model_config(file)
    from gift_core.clip.architectures import architecture_config

    return architecture_config(name)[1]


def _read_model_config(file: Path) -> dict[str, Any]:
    try:
        content = read_json_file(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: it should be JSON, but {error}. Restore the file.") from None
    config: Any = content.get("model_cfg") if isinstance(content, dict) else None
    if fault := shape_fault(config):
        raise UserError(f"{file}: no model configuration: {fault}. Restore the file.")
    return dict(config)


def count_parameters(model_config: Mapping[str, Any]) -> int:
    """Returns the number of parameters of an open_clip model, built without weights on the meta device."""
    from gift_core.clip.architectures import build_empty

    return sum(parameter.numel() for parameter in build_empty(model_config).parameters())


def download_finding(subject: str, what: str, *, by_hand: str, size: int = 0) -> Finding:
    """Returns whether `what`, which is not on this machine, can be downloaded. `by_hand` says what to do otherwise.

    `size` is in bytes, 0 if it is not known.
    """
    from huggingface_hub import constants

    what += f" (a download of about {byte_size(size)})" if size else ""
    problem = download_problem(HUB_TIMEOUT)
    if problem is None:
        return Finding(subject, "ok", f"{what} is not on this machine yet, and {constants.ENDPOINT} answers")
    found, remedy = problem
    return Finding(subject, "fail", f"{what} is not on this machine, and {found}", f"{remedy}, or {by_hand}.")

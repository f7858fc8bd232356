"""The CLIP and the text-to-image pipeline of params.yaml: there and whole, or to be fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gift_core.artifacts.model_folder import CONFIG, WEIGHTS
from gift_core.doctor.finding import Finding, Scene
from gift_core.doctor.hub import in_cache, to_be_fetched
from gift_core.doctor.weights_files import INDEX, count_numbers, pipeline_parameters
from gift_core.errors import UserError

FOLDER, FILE, HUB = "local-dir:", "local-file:", "hf-hub:"
CACHED_WEIGHTS = (WEIGHTS, "open_clip_pytorch_model.bin")  # what open_clip looks for in a repository
CLIP_CACHE = Path("~/.cache/clip")  # where open_clip keeps what it fetched from an address
BY_HAND = {
    "model": "fetch it elsewhere, put it into data/0_raw/models and name it there (docs/models.md)",
    "generator": "fetch it elsewhere, put it into data/0_raw/generators and write that folder (docs/generators.md)",
}


def check_local_models(scene: Scene) -> Iterator[Finding]:
    """Yields whether the models that params.yaml names as places on this machine are whole; a hub's are left out."""
    if scene.config.model.name.startswith((FOLDER, FILE)):
        yield check_local_clip(scene.root, scene.config.model.name)
    elif scene.config.model.pretrained and looks_like_file(scene.config.model.pretrained):
        yield check_weights_file(scene.root, scene.config.model.pretrained)
    if pipeline_folder(scene) is not None:
        yield _find_generator(scene)


def check_clip(scene: Scene) -> Iterator[Finding]:
    """Yields whether the model under study is there, known to open_clip and supported, or can be fetched."""
    yield _find_clip(scene)


def check_generator(scene: Scene) -> Iterator[Finding]:
    """Yields whether the pipeline is there with all its parts, or can be fetched; a LoRA as far as it is local."""
    yield _find_generator(scene)


def _find_clip(scene: Scene) -> Finding:
    name, pretrained = scene.config.model.name, scene.config.model.pretrained
    if name.startswith((FOLDER, FILE)):
        return check_local_clip(scene.root, name)
    if name.startswith(HUB):
        return _on_hub("model", name.removeprefix(HUB), CACHED_WEIGHTS)
    from gift_core.clip.architectures import architecture_config

    architecture, _ = architecture_config(name)
    if pretrained is not None and (scene.root / pretrained).exists():
        return check_weights_file(scene.root, pretrained)
    return _check_tag(architecture, pretrained)


def check_local_clip(root: Path, name: str) -> Finding:
    """Returns whether a folder holds weights and a configuration that open_clip reads, or a file is there and whole."""
    if name.startswith(FILE):
        return check_weights_file(root, name.removeprefix(FILE))
    folder = root / name.removeprefix(FOLDER)
    weights = sorted(file for file in folder.glob("*") if file.suffix in (".safetensors", ".bin", ".pt", ".pth"))
    configuration = next((file for file in (folder / CONFIG, folder / "config.json") if file.is_file()), None)
    if not weights or configuration is None:
        what = f"{folder} holds no {CONFIG} with weights beside it" if folder.is_dir() else f"there is no {folder}"
        return Finding("model", "fail", what, "Correct model.name, or restore the folder (git checkout, dvc pull).")
    try:
        json.loads(configuration.read_text(encoding="utf-8"))
    except ValueError as error:
        return Finding("model", "fail", f"{configuration} is no JSON ({error})", "Restore the file.")
    return check_weights_file(root, str(weights[0].relative_to(root)))


def check_weights_file(root: Path, name: str) -> Finding:
    """Returns whether a weights file (or a folder of them) is there, and a safetensors file whole."""
    path = root / name
    if not path.exists():
        return Finding("model", "fail", f"there is no {path}", "Correct model.name and model.pretrained.")
    if path.suffix == ".safetensors":
        return Finding("model", "ok", f"{path}, {count_numbers(path) / 1e6:.1f}M parameters")
    return Finding("model", "ok", str(path))


def _check_tag(architecture: str, pretrained: str | None) -> Finding:
    import open_clip

    from gift_core.errors import lookup

    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is None:
        raise UserError(f"params.yaml: model.pretrained: {architecture} has no weights of its own. Name one: {tags}.")
    lookup({tag: tag for tag in tags}, pretrained, f"params.yaml: model.pretrained (tags of {architecture})")
    source: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, pretrained)
    repository, _, file = source.get("hf_hub", "").rpartition("/")
    if repository:
        return _on_hub("model", repository, (file,) if file else CACHED_WEIGHTS)
    kept = CLIP_CACHE.expanduser() / Path(source["url"]).name
    if kept.is_file():
        return Finding("model", "ok", f"{architecture} {pretrained}, in {kept}")
    return to_be_fetched("model", source["url"], by_hand=BY_HAND["model"])


def _find_generator(scene: Scene) -> Finding:
    from gift_core.generators.lora import check_lora

    check_lora(scene.config.generator.lora)
    folder = cached_pipeline(scene)
    name = scene.config.generator.pipeline
    if folder is None:
        return to_be_fetched("generator", name, by_hand=BY_HAND["generator"])
    if not folder.is_dir():
        what = f"there is no {folder}"
        return Finding("generator", "fail", what, "Correct generator.pipeline, or restore it (git checkout, dvc pull).")
    parts = pipeline_parameters(folder)
    return Finding("generator", "ok", f"{name}, {sum(parts.values()) / 1e6:.1f}M parameters")


def pipeline_folder(scene: Scene) -> Path | None:
    """Returns the folder that generator.pipeline names, there or not; None where it is a hub's name."""
    from gift_core.generators.sources import looks_local

    name = scene.config.generator.pipeline
    return scene.root / name if looks_local(name) or (scene.root / name).is_dir() else None


def cached_pipeline(scene: Scene) -> Path | None:
    """Returns the folder with the pipeline on this machine, the user's own or the hub cache's; None where none is."""
    folder = pipeline_folder(scene)
    if folder is not None:
        return folder
    generator = scene.config.generator
    index = in_cache(generator.pipeline, (INDEX,), revision=generator.revision)
    return None if index is None else index.parent


def looks_like_file(pretrained: str) -> bool:
    """True where `pretrained` can only be a place on this machine: a tag has no slash and no point."""
    return "/" in pretrained or "." in pretrained


def _on_hub(subject: str, repository: str, files: tuple[str, ...]) -> Finding:
    found = in_cache(repository, files)
    if found is not None:
        return Finding(subject, "ok", f"{repository}, in the hub's cache: {found.name}")
    return to_be_fetched(subject, repository, by_hand=BY_HAND[subject])

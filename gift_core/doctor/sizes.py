"""How large the model under study is, as far as its configuration says without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gift_core.artifacts.model_folder import CONFIG
from gift_core.doctor.architecture import Architecture, read_architecture
from gift_core.doctor.finding import Scene
from gift_core.doctor.hub import in_cache
from gift_core.doctor.models import FILE, FOLDER, HUB
from gift_core.doctor.weights_files import count_numbers


def read_model(scene: Scene) -> Architecture | None:
    """Returns the sizes of the model under study; None where they cannot be told from its configuration."""
    config = _model_config(scene)
    return None if config is None else read_architecture(config)


def embedding_and_parameters(scene: Scene) -> tuple[int, int]:
    """Returns the feature size and the number of parameters of the model under study; 0 where it is not known."""
    config = _model_config(scene)
    architecture = None if config is None else read_architecture(config)
    size = 0 if config is None else int(config["embed_dim"])
    if architecture is not None:
        return size, architecture.parameters
    name = scene.config.model.name
    weights: list[Path] = []
    if name.startswith(FOLDER):
        weights = sorted((scene.root / name.removeprefix(FOLDER)).glob("*.safetensors"))
    elif name.startswith(FILE):
        weights = [scene.root / name.removeprefix(FILE)]
    return size, sum(map(count_numbers, weights))


def _model_config(scene: Scene) -> dict[str, Any] | None:
    """open_clip's model_cfg of the model under study."""
    name, pretrained = scene.config.model.name, scene.config.model.pretrained
    if name.startswith(FILE):
        return None
    if name.startswith((FOLDER, HUB)):
        local = scene.root / name.removeprefix(FOLDER) / CONFIG
        file = local if name.startswith(FOLDER) else in_cache(name.removeprefix(HUB), (CONFIG,))
        if file is None or not file.is_file():
            return None
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["model_cfg"]
        return config
    import open_clip

    from gift_core.clip.architectures import architecture_config

    architecture, config = architecture_config(name)
    tag = open_clip.get_pretrained_cfg(architecture, pretrained or "")
    return {**config, "quick_gelu": bool(config.get("quick_gelu") or tag.get("quick_gelu"))}

"""The CLIP that scores generated images: any open_clip model with an image and a text encoder.

D is the embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gift_core.artifacts.model_config import shape_fault
from gift_core.artifacts.model_folder import CONFIG
from gift_core.errors import UserError, lookup
from gift_core.untrusted import read_json_file

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from gift_core.config.generator import ScorerConfig

KEY = "params.yaml: generator.filters.scorer"
LOCAL, HUB = "local-dir:", "hf-hub:"


@dataclass(frozen=True)
class Scorer:
    """A CLIP in evaluation mode and float32 that encodes one image or text at a time.

    So the features of an image do not depend on a batch, to the last bit, and a resumed run makes the same decisions
    as an uninterrupted one.
    """

    model: Any
    transform: Any
    tokenizer: Any
    device: torch.device

    def image_features(self, image: Image.Image) -> np.ndarray:
        """Returns the features of an image: D, unit norm, float32."""
        import torch

        with torch.inference_mode():
            image_1CHW = self.transform(image.convert("RGB")).unsqueeze(0).to(self.device)
            return self._vector(self.model.encode_image(image_1CHW, normalize=True))

    def text_features(self, text: str) -> np.ndarray:
        """Returns the features of a text: D, unit norm, float32."""
        import torch

        with torch.inference_mode():
            return self._vector(self.model.encode_text(self.tokenizer([text]).to(self.device), normalize=True))

    @staticmethod
    def _vector(feature_1D: torch.Tensor) -> np.ndarray:
        vector: np.ndarray = feature_1D[0].float().cpu().numpy()
        return vector


def load_scorer(config: ScorerConfig, device: torch.device) -> Scorer:
    """Returns the CLIP of `config`: an architecture with a tag or a file, hf-hub:<repository> or local-dir:<folder>.

    Raises UserError for an unknown name or tag, and for weights that open_clip cannot load.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    name = config.name
    options = {} if name.startswith((LOCAL, HUB)) else _weights(name, config.pretrained)
    _require_folder(name)
    try:
        if name.startswith(HUB):
            _require_safe(open_clip.get_model_config(name), name)
        model = open_clip.create_model(
            name, device=device, precision="fp32", weights_only=True, require_pretrained=True, **options
        )
        tokenizer = open_clip.get_tokenizer(name)
    except UserError:
        raise
    except Exception as error:  # open_clip, the hub and torch raise many kinds of errors
        reason = " ".join(str(error).split()[:60])
        raise UserError(f"{KEY}: open_clip cannot load {name} ({reason}). Check name and pretrained.") from error
    crop = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
    return Scorer(model.eval(), image_transform_v2(crop, is_train=False), tokenizer, device)


def _weights(architecture: str, pretrained: str | None) -> dict[str, Any]:
    import open_clip

    lookup({known: known for known in open_clip.list_models()}, architecture.replace("/", "-"), f"{KEY}.name")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is None:
        known = ", ".join(tags) or "none"
        raise UserError(f"{KEY}.pretrained: {architecture} needs weights. Write a file or one of these tags: {known}.")
    if Path(pretrained).is_file():
        return {"pretrained": pretrained}
    lookup({tag: tag for tag in tags}, pretrained, f"{KEY}.pretrained (no such file; tags of {architecture})")
    quick = bool(open_clip.get_pretrained_cfg(architecture, pretrained).get("quick_gelu", False))
    return {"pretrained": pretrained, "force_quick_gelu": quick}


def _require_folder(name: str) -> None:
    config = Path(name.removeprefix(LOCAL)) / CONFIG
    if not name.startswith(LOCAL):
        return
    if not config.is_file():
        raise UserError(f"{KEY}.name: {config.parent} has no {CONFIG}. Use an open_clip model folder.")
    try:
        found = read_json_file(config)
    except ValueError as error:
        raise UserError(f"{KEY}.name: {config}: it should be JSON, but {error}. Fetch the folder again.") from error
    _require_safe(found.get("model_cfg") if isinstance(found, dict) else found, str(config))


def _require_safe(model_config: Any, location: str) -> None:
    if fault := shape_fault(model_config):
        raise UserError(f"{KEY}.name: {location}: not a model configuration: {fault}. Use another model.")

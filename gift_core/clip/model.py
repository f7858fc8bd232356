"""The model under study as one value: weights, tokenizer, configuration, precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

PRECISIONS = ("fp32", "amp_bf16", "amp_fp16")
# Parameters by the beginning of their names: the temperature, SigLIP's bias (it cancels in every softmax), and the
# caption decoder of CoCa, which no loss reaches.
FROZEN = ("logit_scale", "logit_bias", "text_decoder.")


@dataclass(frozen=True)
class Clip:
    """An open_clip model with what is needed to use it and to save it again.

    `config` is the content of open_clip_config.json (`model_cfg`, `preprocess_cfg`). Weights are always float32;
    `precision` amp_bf16 and amp_fp16 compute the two towers under autocast of that type. `tokenizer_files` are copied
    when it is saved. `origin`: what was found out about weights from elsewhere, for provenance.json.
    """

    model: torch.nn.Module
    tokenizer: Callable[[list[str]], torch.Tensor]
    config: dict[str, Any]
    precision: str
    tokenizer_files: tuple[Path, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.scale.device

    @property
    def scale(self) -> torch.Tensor:
        """s = exp(logit_scale), the frozen temperature by which cosines are multiplied; 0-dimensional."""
        logit_scale = self.model.get_parameter("logit_scale")
        return logit_scale.detach().exp().reshape(())

    @property
    def image_size(self) -> int:
        """Side of the square the image tower takes, in pixels."""
        size = self.config["preprocess_cfg"]["size"]
        return int(size if isinstance(size, int) else size[0])

    @property
    def embedding_size(self) -> int:
        """D, the length of a feature."""
        return int(self.config["model_cfg"]["embed_dim"])

    @property
    def parameter_count(self) -> int:
        """Numbers in all weights."""
        return sum(value.numel() for value in self.model.parameters())

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Parameters by name, in the model's order, without the frozen ones."""
        return {name: value for name, value in self.model.named_parameters() if not name.startswith(FROZEN)}

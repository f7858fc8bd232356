"""The CLIP under study as one value, and the open_clip folder it is loaded from and saved to."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_state_dict
from open_clip.model import get_model_preprocess_cfg
from safetensors.torch import save_file

from gift_core.artifacts.model_folder import (
    CONFIG,
    LOSSES,
    WEIGHTS,
    model_hash,
    read_shapes,
    require_noted_files,
    write_losses,
    write_provenance,
)
from gift_core.clip.architectures import (
    LOCAL,
    PROBES,
    build_model,
    fill_weights,
    load_tokenizer,
    require_known_tokens,
    require_sound,
    require_supported,
    tokenizer_files_of,
)
from gift_core.downloads import CACHED_WEIGHTS
from gift_core.errors import ContractError, UserError, explained, no_such_path
from gift_core.untrusted import read_json_file
from gift_core.work.publishing import build_folder

PRECISIONS = ("fp32", "amp_bf16", "amp_fp16")
# Prefixes of the parameters that are never trained: the temperature, SigLIP's bias (it cancels in every softmax), and
# CoCa's caption decoder, which no loss uses.
FROZEN = ("logit_scale", "logit_bias", "text_decoder.")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")


@dataclass(frozen=True)
class Clip:
    """An open_clip model with everything that is needed to use it and to save it again.

    Args:
        model: the weights, always float32, in evaluation mode.
        tokenizer: texts to token rows int64 [N, L].
        config: the content of open_clip_config.json (`model_cfg`, `preprocess_cfg`).
        precision: one of PRECISIONS; amp_bf16 and amp_fp16 run the two towers under autocast.
        tokenizer_files: files that are saved with the model.
        origin: facts about imported weights, for provenance.json.
        locked: names of parameters that are not trained either, for example of a tower that the caller has locked.
    """

    model: torch.nn.Module
    tokenizer: Callable[[list[str]], torch.Tensor]
    config: dict[str, Any]
    precision: str
    tokenizer_files: tuple[Path, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()

    @property
    def device(self) -> torch.device:
        return self.scale.device

    @property
    def scale(self) -> torch.Tensor:
        """s = exp(logit_scale), the frozen factor that multiplies cosines; 0-dimensional."""
        logit_scale = self.model.get_parameter("logit_scale")
        return logit_scale.detach().exp().reshape(())

    @property
    def image_size(self) -> int:
        """Side of the square images that the model takes, in pixels."""
        size = self.config["preprocess_cfg"]["size"]
        return int(size if isinstance(size, int) else size[0])

    @property
    def embedding_size(self) -> int:
        """D, the length of a feature."""
        return int(self.config["model_cfg"]["embed_dim"])

    @property
    def parameter_count(self) -> int:
        """Number of values in all parameters."""
        return sum(value.numel() for value in self.model.parameters())

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Parameters by name, in the model's order, without the frozen and the locked ones."""
        named = self.model.named_parameters()
        return {name: value for name, value in named if not name.startswith(FROZEN) and name not in self.locked}


def as_clip(
    model: torch.nn.Module,
    tokenizer: Callable[[list[str]], torch.Tensor],
    model_config: Mapping[str, Any],
    *,
    location: str,
    precision: str = "fp32",
    tokenizer_files: tuple[Path, ...] = (),
    origin: Mapping[str, str] | None = None,
) -> Clip:
    """An open_clip model as a Clip, in evaluation mode. The preprocessing is taken from the model itself.

    UserError, which begins with `location`, where weights or preprocessing are not finite or absurd.
    """
    preprocess = json.loads(json.dumps(get_model_preprocess_cfg(model)))
    require_sound(model, preprocess, location)
    config = {"model_cfg": dict(model_config), "preprocess_cfg": preprocess}
    return Clip(model.eval(), tokenizer, config, precision, tokenizer_files, origin or {})


def assemble(
    config: Mapping[str, Any],
    tokenizer: Callable[[list[str]], torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    *,
    device: torch.device,
    location: str,
    **options: Any,
) -> Clip:
    """A Clip of `config` (the content of open_clip_config.json) and weights. The `options` are those of as_clip.

    UserError, which begins with `location`, where the parts do not fit each other.
    """
    model = build_model(config["model_cfg"], config.get("preprocess_cfg", {}))
    remedy = "Put the model's own tokenizer there, or fetch all files again."
    require_known_tokens(model, tokenizer(list(PROBES)), f"{location}: the tokenizer is of another model", remedy)
    fill_weights(model, tensors, location)
    return as_clip(model.to(device), tokenizer, config["model_cfg"], location=location, **options)


def load_folder(folder: Path, *, device: torch.device, precision: str, is_hashed: bool = False) -> Clip:
    """The model that an earlier stage saved in `folder`.

    `is_hashed`: the caller has compared its hashes already (model_hash). ContractError if the model is missing or
    damaged, or changed since it was saved.
    """
    try:
        config = check_folder(folder)
        if not is_hashed:
            model_hash(folder)
        return _load(folder, config, device, precision)
    except UserError as error:
        remedy = "The stages import_model and finetune write these folders: run `dvc repro`, or `dvc pull`."
        raise ContractError(f"{error} {remedy}") from error


def open_folder(folder: Path, *, device: torch.device, precision: str = "fp32") -> Clip:
    """The model in any open_clip folder; UserError names the file and what is wrong with it.

    If a provenance.json in the folder notes the hash of the weights, it is checked.
    """
    config = check_folder(folder)
    require_noted_files(folder)
    return _load(folder, config, device, precision)


def _load(folder: Path, config: Mapping[str, Any], device: torch.device, precision: str) -> Clip:
    file = _weights_of_folder(folder)
    with explained(f"{file}: no file of weights", "Fetch the folder again."):
        tensors = load_state_dict(str(file), weights_only=True)
    tokenizer = load_tokenizer(f"{LOCAL}{folder}")
    options: dict[str, Any] = {"precision": precision, "tokenizer_files": tokenizer_files_of(folder)}
    return assemble(config, tokenizer, tensors, device=device, location=str(folder), **options)


def _weights_of_folder(folder: Path) -> Path:
    """WEIGHTS where it exists, else another file, in open_clip's order."""
    files = [path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES]
    if not files:
        raise UserError(f"{folder}: holds no weights. Put {WEIGHTS} there, or {CACHED_WEIGHTS[1]} from torch.save.")
    return min(
        files, key=lambda path: (not path.name.startswith("open_clip_"), WEIGHT_SUFFIXES.index(path.suffix), path.name)
    )


def check_folder(folder: Path) -> dict[str, Any]:
    """The content of the folder's open_clip_config.json, after checking all files that are read with it.

    Weights are not loaded. UserError names the folder, the file and what is wrong with it.
    """
    if not folder.is_dir():
        raise UserError(f"{no_such_path(folder, 'folder')} It should hold {CONFIG} and {WEIGHTS}; check model.name.")
    config = read_json_object(folder / CONFIG)
    require_supported(config.get("model_cfg"), str(folder / CONFIG))
    weights = _weights_of_folder(folder)
    if weights.suffix == ".safetensors":
        read_shapes(weights)
    return config


def create_clip(
    name: str,
    config: Mapping[str, Any],
    device: torch.device,
    *,
    location: str,
    origin: Mapping[str, str] | None = None,
    **options: Any,
) -> Clip:
    """The model that open_clip calls `name`; UserError with `location` and open_clip's reason."""
    tokenizer = load_tokenizer(name)
    remedy = "Check the name and the connection, and that weights and configuration belong together."
    with explained(f"{location}: open_clip cannot load it", remedy):
        model: torch.nn.Module = open_clip.create_model(
            name, device=device, precision="fp32", weights_only=True, require_pretrained=True, **options
        )
    return as_clip(model, tokenizer, config, location=location, origin=origin)


def save_clip(
    clip: Clip, folder: Path, provenance: Mapping[str, Any], losses: Sequence[Mapping[str, float]] = ()
) -> None:
    """Write open_clip_model.safetensors (float32), open_clip_config.json, the tokenizer and provenance.json.

    With `losses`, losses.jsonl too. The folder appears only when it is complete, and
    `open_clip.create_model_and_transforms("local-dir:<folder>")` loads it. The same model gives the same bytes.
    """
    with build_folder(folder) as temporary:
        save_file(weights_of(clip), temporary / WEIGHTS)
        write_description(clip, temporary)
        write_provenance(temporary, provenance)
        if losses:
            write_losses(temporary / LOSSES, losses)


def write_description(clip: Clip, folder: Path) -> None:
    """Write configuration and tokenizer into an existing `folder`."""
    text = json.dumps(clip.config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    write_tokenizer(clip, folder)


def tokenizer_contents(clip: Clip) -> dict[str, bytes]:
    """The tokenizer's files by name; empty where open_clip ships the tokenizer itself."""
    if clip.tokenizer_files:
        return {path.name: path.read_bytes() for path in clip.tokenizer_files}
    if not clip.config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        return {}
    tokenizer: Any = clip.tokenizer
    with tempfile.TemporaryDirectory(prefix="gift-tokenizer-") as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def write_tokenizer(clip: Clip, folder: Path) -> bool:
    """Writes the tokenizer's files into an existing folder. Returns whether there are any."""
    contents = tokenizer_contents(clip)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return bool(contents)


def weights_of(clip: Clip) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers on the CPU; floating-point values become float32."""
    state = {name: value.detach().cpu() for name, value in clip.model.state_dict().items()}
    floats = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    return {name: value.contiguous().clone() for name, value in floats.items()}


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model folder. UserError if the file is missing or has none."""
    try:
        value = read_json_file(path)
        if not isinstance(value, dict):
            raise ValueError(f"it is a {type(value).__name__}")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: it should be a JSON object, but {error}. Fetch the folder again.") from error
    return value

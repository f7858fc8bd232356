"""Loads any CLIP by its name: an architecture with weights, a hub model, a folder, a single file.

Weights of any library become tensors under open_clip's names. Nothing in a file is executed.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import CONFIG, WEIGHTS, read_shapes
from gift_core.clip.architectures import (
    LOCAL,
    architecture_config,
    load_tokenizer,
    preprocess_of,
    require_supported,
    tokenizer_files_of,
    tokenizer_from,
)
from gift_core.clip.model import Clip, assemble, create_clip, open_folder, read_json_object
from gift_core.downloads import CACHED_WEIGHTS, require_download
from gift_core.errors import UserError, explained, lookup
from gift_core.interop.transformers_format import (
    TRANSFORMERS_CONFIG,
    TRANSFORMERS_WEIGHTS,
    model_config_of,
    preprocess_in,
    weights_from_transformers,
)
from gift_core.torch_devices import set_up_device
from gift_core.untrusted import parse_json

OPENAI_BUFFERS = ("input_resolution", "context_length", "vocab_size")  # of the models that OpenAI published
_STATE_KEYS = ("state_dict", "model_state_dict", "model")  # keys of the weights in training checkpoints
_PREFIX = re.compile(r"((?:[^.]+\.)*?)visual\.")
# The only key of the metadata: safetensors writes several in an order that changes from run to run. Its value is JSON:
# {"config": open_clip_config.json, "provenance": ..., "tokenizer": {file name: its text}}.
KEY = "open_clip"


@dataclass(frozen=True)
class Checkpoint:
    """Weights from a file.

    Args:
        tensors: the weights by open_clip's names, in the precision of the file.
        written_by: the library or code that wrote them.
        quick_gelu: whether they are known to be trained with QuickGELU.
        evidence: how that is known, or why it is not.
        left_out: names of tensors in the file that are no part of a CLIP.
    """

    tensors: Mapping[str, torch.Tensor]
    written_by: str
    quick_gelu: bool
    evidence: str
    left_out: tuple[str, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """The weights in `path`: safetensors, or a pickle of tensors.

    UserError if the file is damaged, a program (TorchScript), or holds other objects or no weights.
    """
    tensors, outer = _read(path)
    # The most frequent prefix of the image tower's names: "", "module.", "model.", "image_encoder.model." ...
    prefixes = Counter(match[1] for match in map(_PREFIX.match, tensors) if match)
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    left_out = tuple(sorted(name for name in tensors if not name.startswith(prefix)))
    buffers = [name for name in OPENAI_BUFFERS if name in inside]
    quick_gelu = bool(buffers) or "iteration" in outer
    if buffers:
        written_by = "OpenAI"
        evidence = f"it has {', '.join(buffers)}, as the models of OpenAI have, trained with QuickGELU"
    elif "iteration" in outer:
        written_by = "ZSCL or GIFT_CL"
        evidence = "it has an entry 'iteration', as checkpoints of ZSCL and GIFT_CL have, which fine-tune OpenAI's CLIP"
    elif "optimizer" in outer and "epoch" in outer:
        written_by, evidence = "open_clip's training", "its checkpoints do not note the activation"
    else:
        written_by, evidence = "a state_dict", "a state_dict does not note the activation"
    weights = {name: value for name, value in inside.items() if name not in buffers}
    return Checkpoint(weights, written_by, quick_gelu, evidence, left_out)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """(the tensors by name; the keys of the checkpoint around them)."""
    if path.suffix == ".safetensors":
        read_shapes(path)
        return load_file(path), ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an archive that is refused below
            stored: Any = torch.load(path, "cpu", weights_only=True)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # of files that are damaged, programs (TorchScript), or of another format
        reason = " ".join(str(error).split()).rpartition("WeightsUnpickler error: ")[2][:200]
        remedy = "Fetch it again. If you trust it, save its weights alone: torch.save(model.state_dict(), ...), where "
        remedy += "model is torch.load(..., weights_only=False), or of a TorchScript archive torch.jit.load(...)."
        raise UserError(
            f"{path}: not a file of weights alone ({reason}); nothing in it was executed. {remedy}"
        ) from error
    whole = stored if isinstance(stored, Mapping) else {}
    inner = next((whole[key] for key in _STATE_KEYS if isinstance(whole.get(key), Mapping)), None)
    named = whole if inner is None else inner
    tensors = {str(name): value for name, value in named.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise UserError(f"{path}: holds no tensors. Expected the state_dict of a CLIP model.")
    return tensors, () if inner is None else tuple(map(str, whole))


def read_single_file(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(the content of open_clip_config.json, the contents of the tokenizer files by name), without the weights.

    UserError if the file is missing or damaged, or has no configuration in its metadata.
    """
    read_shapes(path)
    try:
        with safe_open(path, framework="pt") as file:
            description = parse_json((file.metadata() or {})[KEY])
        config = description["config"]
        model_config = config["model_cfg"]
        contents = {name: content.encode() for name, content in description.get("tokenizer", {}).items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"its metadata has no configuration as `gift export --to safetensors` writes it ({error})"
        raise UserError(f"{path}: {problem}. Give its architecture, and the file as pretrained weights.") from error
    require_supported(model_config, str(path))
    return config, contents


FILE, HUB = "local-file:", "hf-hub:"
OF_OPENAI = "weights that descend from OpenAI's CLIP need QuickGELU"
QUICK_SUFFIX = "-quickgelu"  # of open_clip's names: ViT-B-16 computes GELU, ViT-B-16-quickgelu QuickGELU


def open_model(text: str, pretrained: str | None = None, *, device: str) -> Clip:
    """The model that a user names on the command line, in fp32: a folder, a file, or any name of load_clip.

    `device` is a name of computation.set_up_device. UserError says what is wrong with either name.
    """
    return load_clip(name_of(text), pretrained, device=set_up_device(device))


def name_of(text: str) -> str:
    """Returns the name for load_clip: that of a folder or a file where `text` is the path of one, else `text`."""
    if Path(text).is_dir():
        return f"{LOCAL}{text}"
    return f"{FILE}{text}" if Path(text).is_file() else text


def model_identity(text: str, pretrained: str | None = None) -> dict[str, str]:
    """What identifies such a model in provenance.json: its name, and the SHA-256 of weights on this machine."""
    identity = {"name": text}
    if pretrained:
        identity["pretrained"] = pretrained
    path = Path(pretrained or text.removeprefix(LOCAL).removeprefix(FILE))
    weights = path / WEIGHTS if path.is_dir() else path
    if weights.is_file():
        identity["sha256"] = sha256_of(weights)
    return identity


def load_clip(name: str, pretrained: str | None = None, *, device: torch.device | str) -> Clip:
    """The model called `name`, in evaluation mode with float32 weights (half-precision files are widened).

    Args:
        name: an open_clip architecture (ViT-B-16); `hf-hub:owner/model`; `local-dir:folder`, an open_clip or a
            transformers folder; `local-file:file`, written by `gift export --to safetensors`.
        pretrained: the weights of an architecture: a tag that open_clip knows, or a file (read_checkpoint; nothing in
            it is executed).

    Raises:
        UserError: which of the arguments is wrong, and what is known instead.
    """
    device = torch.device(device)
    if pretrained is not None and name.startswith((LOCAL, FILE, HUB)):
        problem = f"{pretrained[:80]!r} has no effect, because {name} has its own weights"
        raise UserError(f"model.pretrained: {problem}. Leave it out (null), or name an architecture: ViT-B-16.")
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        if (folder / TRANSFORMERS_CONFIG).is_file() and not (folder / CONFIG).is_file():
            return _from_transformers(folder, device)
        return open_folder(folder, device=device)
    if name.startswith(FILE):
        path = Path(name.removeprefix(FILE))
        config, contents = read_single_file(path)
        tokenizer = tokenizer_from(contents, config["model_cfg"])
        return assemble(config, tokenizer, load_file(path), device=device, location=str(path))
    if name.startswith(HUB):
        return _from_hub(name, device)
    architecture, config = architecture_config(name)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is not None and pretrained not in tags and Path(pretrained).exists():
        return _from_checkpoint(architecture, config, Path(pretrained), device)
    return _from_tag(architecture, config, pretrained, device)


def _from_transformers(folder: Path, device: torch.device) -> Clip:
    """A folder that CLIPModel.save_pretrained wrote. config.json decides the architecture and the activation."""
    possible = [folder / name for name in TRANSFORMERS_WEIGHTS]
    file = next((file for file in possible if file.is_file()), None)
    if file is None:
        raise UserError(f"{folder}: holds no weights, expected {' or '.join(TRANSFORMERS_WEIGHTS)}. Fetch it again.")
    config = model_config_of(read_json_object(folder / TRANSFORMERS_CONFIG), str(folder / TRANSFORMERS_CONFIG))
    return clip_of_transformers(config, _read(file)[0], processor=folder, device=device, location=str(folder))


def clip_of_transformers(
    config: dict[str, Any],
    tensors: Mapping[str, torch.Tensor],
    *,
    processor: Path,
    device: torch.device,
    location: str,
) -> Clip:
    """The Clip of a CLIPModel: its model_cfg (model_config_of), its weights, and a folder with its processor's files.

    Where the folder has none, preprocessing and tokenizer are those of OpenAI's CLIP. UserError, which begins with
    `location`, where the parts do not fit each other.
    """
    files = tokenizer_files_of(processor)
    if files:
        config["text_cfg"]["hf_tokenizer_name"] = "."
    require_supported(config, location)
    activation = "quick_gelu" if config["quick_gelu"] else "gelu"
    return assemble(
        {"model_cfg": config, "preprocess_cfg": preprocess_in(processor)},
        tokenizer_from({path.name: path.read_bytes() for path in files}, config),
        weights_from_transformers(tensors),
        device=device,
        location=location,
        tokenizer_files=files,
        origin={
            "written_by": "transformers' CLIPModel",
            "activation": f"{_label(config['quick_gelu'])}: {TRANSFORMERS_CONFIG} says hidden_act {activation}",
        },
    )


def _from_hub(name: str, device: torch.device) -> Clip:
    location = f"model.name {name!r}"
    _require_weights(name.removeprefix(HUB), "", "model.name")
    remedy = "Check the name and the connection, or fetch the repository into a folder: local-dir:<folder>."
    with explained(f"{location}: its configuration cannot be fetched", remedy):
        config = open_clip.get_model_config(name)
    require_supported(config, location)
    return create_clip(name, config, device, location=location)


def _require_weights(repository: str, file: str, key: str) -> None:
    """Raises UserError if the weights are neither in the cache of the hub nor to be had from it."""
    folder = f"data/0_raw/models/{repository.rpartition('/')[2]}"
    params = {"name": f"{LOCAL}{folder}", "pretrained": "null"}
    require_download(repository, (file,) if file else CACHED_WEIGHTS, key=key, folder=folder, params=params)


def _from_checkpoint(architecture: str, config: dict[str, Any], path: Path, device: torch.device) -> Clip:
    """open_clip's `architecture`, whose model_cfg is `config`, with the weights in `path`.

    The activation is QuickGELU where the checkpoint says so, otherwise the architecture's own.
    # differs: open_clip computes the architecture's activation for every file, whatever its weights need.
    """
    location = f"model.pretrained {path}"
    if path.is_dir():
        raise UserError(f"{location}: a folder is a whole model. Name it: model.name: {LOCAL}{path}, pretrained: null.")
    checkpoint = read_checkpoint(path)
    computes_quick = bool(config.get("quick_gelu"))
    if checkpoint.quick_gelu:
        instead = "" if computes_quick else f" in place of the GELU of {architecture}"
        activation = f"QuickGELU{instead}: {checkpoint.evidence}"
        config = config | {"quick_gelu": True}
    else:
        twin, of_twin = f"{architecture}{QUICK_SUFFIX}", OF_OPENAI
        if architecture.endswith(QUICK_SUFFIX):
            twin, of_twin = architecture.removesuffix(QUICK_SUFFIX), "for weights trained with GELU"
        advice = f"; {of_twin}: model.name: {twin}" if twin in open_clip.list_models() else ""
        activation = f"{_label(computes_quick)} assumed: {checkpoint.evidence}{advice}"
    origin = {"written_by": checkpoint.written_by, "activation": activation}
    if checkpoint.left_out:
        origin["left_out"] = ", ".join(checkpoint.left_out)
    return assemble(
        {"model_cfg": config, "preprocess_cfg": preprocess_of(architecture)},
        load_tokenizer(architecture),
        checkpoint.tensors,
        device=device,
        location=f"{location}, model.name {architecture}",
        origin=origin,
    )


def _label(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def tag_options(architecture: str, tag: str | None) -> dict[str, Any]:
    """open_clip's arguments for the weights that it knows by `tag`; UserError lists the known tags.

    # differs: open_clip only warns if the weights were trained with QuickGELU and the architecture has GELU.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag is None:
        raise UserError(
            f"model.pretrained: an architecture ({architecture}) has no weights of its own. Give a file or a tag: "
            f"{', '.join(tags) or 'none are known'}."
        )
    lookup(dict.fromkeys(tags), tag, f"model.pretrained (no such file; tags of {architecture})")
    quick = bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu", False))
    return {"pretrained": tag, "force_quick_gelu": quick}


def _from_tag(architecture: str, config: dict[str, Any], tag: str | None, device: torch.device) -> Clip:
    options = tag_options(architecture, tag)
    repository, _, file = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").rpartition("/")
    if repository:
        _require_weights(repository, file, "model.pretrained")
    computes_quick = bool(config.get("quick_gelu"))
    activation = f"{_label(computes_quick)}: as {architecture} computes, and open_clip knows nothing else of {tag}"
    if options["force_quick_gelu"]:
        config["quick_gelu"] = True
        if not computes_quick:
            because = f"open_clip knows that {tag} was trained with it"
            activation = f"QuickGELU in place of the GELU of {architecture}: {because}"
    location = f"model.name {architecture!r}, model.pretrained {tag!r}"
    return create_clip(architecture, config, device, location=location, origin={"activation": activation}, **options)

"""A model whose tensors are read from its file one at a time, and a file that is written one tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from open_clip.model import get_model_preprocess_cfg
from safetensors import safe_open

from gift_core.artifacts.model_folder import CONFIG, WEIGHTS, read_shapes, require_model_path, require_noted_files
from gift_core.clip.architectures import (
    build_model,
    require_sound,
    require_sound_numbers,
    require_stored_as_weights,
)
from gift_core.clip.model import Clip, check_folder
from gift_core.clip.tokenizers import (
    LOCAL,
    load_tokenizer,
    require_known_tokens,
    require_text_tower,
    tokenizer_files_of,
    tokenizer_from,
)
from gift_core.interop.checkpoints import read_description
from gift_core.interop.importing import FILE, model_identity, open_model

_HEADER_ALIGNMENT = 8
_DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}


@dataclass(frozen=True)
class StoredModel:
    """A model by the name that the user gave. `clip` has all but the weights, whose tensors have shapes alone.

    `identity` is that of provenance.json. `file` is the file of the weights, or the name where it is another format.
    """

    identity: Mapping[str, str]
    clip: Clip
    file: str
    get: Callable[[str], torch.Tensor]

    @cached_property
    def layout(self) -> dict[str, torch.Tensor]:
        """Every weight and buffer by name, for its shape and type."""
        return self.clip.model.state_dict()

    def read(self, name: str) -> torch.Tensor:
        """Returns the tensor, float32 unless it has integers. UserError as require_sound_numbers."""
        value = self.get(name).to(self.layout[name].dtype).reshape(self.layout[name].shape)
        require_sound_numbers(value, name, self.file)
        return value


def open_stored(name: str) -> StoredModel:
    """Returns the model of a folder, a file, or any name of open_model. UserError says what is wrong with it.

    An open_clip folder and a file of `gift export --to safetensors` are read tensor by tensor. Where the names in it
    are not those of open_clip's model, and for any other format, the whole model is loaded.
    """
    require_model_path(name)
    path = Path(name.removeprefix(LOCAL).removeprefix(FILE))
    if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        clip, file = _from_folder(path), path / WEIGHTS
    elif path.is_file():
        clip, file = _from_file(path), path
    else:
        return _loaded(name)
    require_stored_as_weights(file, clip.model, name)
    shapes = {key: tuple(value.shape) for key, value in clip.model.state_dict().items()}
    if read_shapes(file) != dict(sorted(shapes.items())):
        return _loaded(name)
    model = StoredModel(model_identity(name), clip, str(file), partial(read_tensor, file))
    scale = torch.nn.ParameterDict({"logit_scale": model.read("logit_scale")})
    require_sound(scale, clip.config["preprocess_cfg"], name)
    return model


def read_tensor(file: Path, name: str) -> torch.Tensor:
    """Returns one tensor. The file is opened each time: pages of it that were read before do not stay in memory."""
    with safe_open(file, framework="pt") as tensors:
        value: torch.Tensor = tensors.get_tensor(name)
        return value


def write_tensors(file: Path, layout: Mapping[str, torch.Tensor], get: Callable[[str], torch.Tensor]) -> None:
    """Writes the tensors that `get` returns for the names of `layout`, which has their shapes and types.

    The bytes are those of safetensors.torch.save_file, which needs all tensors at once.
    """
    names = sorted(layout, key=lambda name: (-layout[name].element_size(), name))
    header, end = {}, 0
    for name in names:
        start, end = end, end + layout[name].numel() * layout[name].element_size()
        shape = list(layout[name].shape)
        header[name] = {"dtype": _DTYPES[layout[name].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    with file.open("wb") as output:
        output.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            output.write(get(name).contiguous().numpy().data)


def _from_folder(folder: Path) -> Clip:
    config = check_folder(folder)
    require_noted_files(folder)
    location, tokenizer = str(folder), load_tokenizer(f"{LOCAL}{folder}")
    require_text_tower(config["model_cfg"], location)
    require_known_tokens(tokenizer, config["model_cfg"], location)
    return _empty_clip(config, tokenizer, tokenizer_files_of(folder))


def _from_file(file: Path) -> Clip:
    config, tokenizer_contents = read_description(file)
    require_text_tower(config["model_cfg"], str(file))
    return _empty_clip(config, tokenizer_from(tokenizer_contents, config["model_cfg"]))


def _empty_clip(
    config: Mapping[str, Any], tokenizer: Callable[[list[str]], torch.Tensor], files: tuple[Path, ...] = ()
) -> Clip:
    """On the meta device. The preprocessing is complete, as clip.model.as_clip has it."""
    with torch.device("meta"):
        model = build_model(config["model_cfg"], config.get("preprocess_cfg", {})).eval()
    preprocess = json.loads(json.dumps(get_model_preprocess_cfg(model)))
    return Clip(model, tokenizer, {"model_cfg": config["model_cfg"], "preprocess_cfg": preprocess}, "fp32", files)


def _loaded(name: str) -> StoredModel:
    clip = open_model(name, device="cpu")
    return StoredModel(model_identity(name), clip, name, clip.model.state_dict().__getitem__)

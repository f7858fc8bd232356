"""A model whose tensors are read from its file one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from open_clip.model import get_model_preprocess_cfg
from safetensors import safe_open

from gift_core.artifacts.model_folder import CONFIG, WEIGHTS, read_shapes, require_noted_files
from gift_core.clip.architectures import build_model, require_sound_numbers
from gift_core.clip.model import Clip, check_folder
from gift_core.clip.tokenizers import LOCAL, load_tokenizer, require_known_tokens, tokenizer_files_of, tokenizer_from
from gift_core.interop.checkpoints import read_single_file
from gift_core.interop.importing import FILE, model_identity, open_model


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
    path, files = Path(name.removeprefix(LOCAL).removeprefix(FILE)), tuple[Path, ...]()
    if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        config, file, files = check_folder(path), path / WEIGHTS, tokenizer_files_of(path)
        require_noted_files(path)
        tokenizer = load_tokenizer(f"{LOCAL}{path}")
    elif path.is_file():
        config, contents = read_single_file(path)
        file, tokenizer = path, tokenizer_from(contents, config["model_cfg"])
    else:
        return _loaded(name)
    require_known_tokens(tokenizer, config["model_cfg"], name)
    with torch.device("meta"):
        model = build_model(config["model_cfg"], config.get("preprocess_cfg", {})).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if read_shapes(file) != shapes:
        return _loaded(name)
    preprocess = json.loads(json.dumps(get_model_preprocess_cfg(model)))  # complete, as clip.model.as_clip has it
    clip = Clip(model, tokenizer, {"model_cfg": config["model_cfg"], "preprocess_cfg": preprocess}, "fp32", files)
    return StoredModel(model_identity(name), clip, str(file), partial(read_tensor, file))


def _loaded(name: str) -> StoredModel:
    clip = open_model(name, device="cpu")
    return StoredModel(model_identity(name), clip, name, clip.model.state_dict().__getitem__)


def read_tensor(file: Path, name: str) -> torch.Tensor:
    """Returns one tensor. The file is opened each time: pages of it that were read before do not stay in memory."""
    with safe_open(file, framework="pt") as tensors:
        value: torch.Tensor = tensors.get_tensor(name)
        return value

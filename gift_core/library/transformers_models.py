"""A CLIPModel of transformers as a model of open_clip, which the library trains, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from PIL import Image

from gift_core.clip.architectures import LOCAL
from gift_core.clip.images import evaluation_transform
from gift_core.clip.model import Clip
from gift_core.errors import UserError, explained
from gift_core.interop.importing import FILE, HUB, clip_of_transformers, load_clip, name_of
from gift_core.interop.transformers_format import clip_config_of, model_config_of, weights_to_transformers
from gift_core.library.given_model import NAME, Tokenizer, described, require_model
from gift_core.torch_devices import own_random_numbers

if TYPE_CHECKING:
    from transformers import CLIPModel

Preprocess = Callable[[Image.Image], torch.Tensor]
# The attribute with the model_cfg of a model that was converted. A model of open_clip does not know its own.
MODEL_CFG = "gift_model_cfg"


def from_transformers(source: CLIPModel | str | Path) -> tuple[torch.nn.Module, Preprocess, Tokenizer]:
    """Return (model, preprocess, tokenizer) as open_clip has them, for all other functions of gift_core.

    - model: of open_clip, a copy in float32 and in evaluation mode, with the features of `source`.
    - preprocess: a Pillow image to float32 [3, S, S], resized, cropped and normalized for the model.
    - tokenizer: a list of N texts to token rows int64 [N, L].

    Args:
        source: a CLIPModel, or a folder of one. The processor is that of the folder or hub repository the CLIPModel was
            loaded from, and OpenAI's for one that was made from a configuration. Also what the pipeline imports: an
            open_clip folder, a file that `gift export --to safetensors` wrote, hf-hub:owner/model of open_clip.

    Raises:
        UserError: another class of transformers, a model that open_clip does not have, damaged files, or a processor
            that is neither cached nor to be fetched.
    """
    from transformers import CLIPModel

    if isinstance(source, CLIPModel):
        clip = _clip_of(source)
    elif isinstance(source, (str, Path)):
        clip = load_clip(_name(str(source)), device="cpu")
    else:
        problem = f"{described(source)}, expected a CLIPModel of transformers, or a folder"
        raise UserError(f"{NAME}: from_transformers: {problem}. Other models of transformers cannot be converted.")
    setattr(clip.model, MODEL_CFG, clip.config["model_cfg"])
    return clip.model, evaluation_transform(clip), clip.tokenizer


def to_transformers(model: torch.nn.Module) -> CLIPModel:
    """Return a CLIPModel with the features of `model` (equal to 1e-4), in float32, evaluation mode and on its device.

    Its processor is the one that the CLIPModel had before. Together they are a folder that `gift predict`, `gift test`
    and `from_transformers` open: `to_transformers(model).save_pretrained(folder)`, `processor.save_pretrained(folder)`.

    Args:
        model: what `from_transformers` returned, trained or as it was, or a copy of it (`released`).

    Raises:
        UserError: a model that `from_transformers` did not make, or that CLIPModel cannot express, such as a ResNet.
    """
    require_model(model, "model")
    model_config = getattr(model, MODEL_CFG, None)
    if model_config is None:
        problem = "from_transformers did not make it, and a model of open_clip does not know its configuration"
        remedy = f"Save it, and open the folder: {NAME}.save(model, folder, like=...), from_transformers(folder)"
        raise UserError(f"{NAME}: model: {problem}. {remedy}.")
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig.from_dict(clip_config_of(model_config))
    with own_random_numbers(torch.device("cpu")):  # a new model has random weights
        converted = CLIPModel(config)
    remedy = "Undo what was changed in it since from_transformers, such as adapters."
    with explained(f"{NAME}: model: its weights are not those of its configuration", remedy):
        converted.load_state_dict(weights_to_transformers(model.state_dict()))
    converted.eval().to(model.get_parameter("logit_scale").device)
    return converted


def _clip_of(model: CLIPModel) -> Clip:
    """Returns a CLIPModel in memory as a Clip, with the processor from where it was loaded."""
    loaded_from, location = model.name_or_path, f"{NAME}: model"
    with TemporaryDirectory(prefix="gift-processor-") as temporary:
        processor = Path(temporary)
        if loaded_from and Path(loaded_from).is_dir():
            processor = Path(loaded_from)
        elif loaded_from:
            _write_processor(loaded_from, processor)
        config = model_config_of(model.config.to_dict(), location)
        weights = model.state_dict()
        return clip_of_transformers(config, weights, processor=processor, device=model.device, location=location)


def _write_processor(name: str, folder: Path) -> None:
    """Writes the files of the processor that transformers knows by `name`."""
    from transformers import CLIPProcessor

    remedy = "Connect once (it is then cached), or save model and processor into one folder and pass that."
    with explained(f"{NAME}: model: the processor of {name} cannot be loaded", remedy):
        CLIPProcessor.from_pretrained(name).save_pretrained(folder)


def _name(text: str) -> str:
    """Returns the name for load_clip. UserError for what is neither a path nor a whole model's name."""
    name = name_of(text)
    if name.startswith((LOCAL, FILE, HUB)):
        return name
    problem = f"{text}: no such folder or file"
    remedy = f"For a CLIP of the hub: from_transformers(transformers.CLIPModel.from_pretrained({text!r}))"
    raise UserError(f"{NAME}: from_transformers: {problem}. {remedy}. For one of open_clip: hf-hub:owner/model.")

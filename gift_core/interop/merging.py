"""Merges models of one architecture into one, tensor by tensor (`gift merge`).

Each model is opened once, one after another, which checks it. Then files of weights are mapped into memory, so that
merging needs no more than a tensor of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gift_core.artifacts.model_folder import WEIGHTS, read_shapes, write_provenance
from gift_core.clip.architectures import LOCAL, require_sound_numbers
from gift_core.clip.model import Clip, write_description
from gift_core.errors import UserError
from gift_core.interop.importing import FILE, model_identity, open_model
from gift_core.interop.merge_kinds import BASE, KINDS, mean
from gift_core.untrusted import leaves
from gift_core.work.publishing import build_folder


@dataclass(frozen=True)
class StoredModel:
    """A model by the name that the user gave. `clip` has all but the weights. `identity` is that of provenance.json."""

    identity: Mapping[str, str]
    clip: Clip
    tensors: Mapping[str, torch.Tensor]


def open_stored(name: str) -> StoredModel:
    """Returns the model of a folder, a file, or any name of open_model. UserError says what is wrong with it.

    Where the file has the names of open_clip's model, its tensors are mapped into memory when the model has been
    checked. Otherwise the whole model stays in memory.
    """
    path = Path(name.removeprefix(LOCAL).removeprefix(FILE))
    file = path / WEIGHTS if path.is_dir() else path
    clip = open_model(name, device="cpu")
    tensors = clip.model.state_dict()
    if file.is_file() and read_shapes(file) == {key: tuple(value.shape) for key, value in tensors.items()}:
        clip.model.to("meta")
        tensors = load_file(file)
    return StoredModel(model_identity(name), clip, tensors)


def merge_models(
    kind: str,
    models: Sequence[StoredModel],
    folder: Path,
    *,
    options: Mapping[str, Any],
    base: StoredModel | None = None,
) -> dict[str, Any]:
    """Writes the merged model into `folder`, with the configuration and the tokenizer of the last model.

    `options` are those of the kind (complete_options). Returns what provenance.json says of the merge. For TIES all
    changes of one model are in memory. UserError where the models do not fit each other, before anything is written,
    and where a result is no number.
    """
    first = _settings_of(models[0])
    for model in models if base is None else (*models, base):
        settings = _settings_of(model)
        keys = sorted(key for key in {*first, *settings} if first.get(key) != settings.get(key))
        if keys:
            differing = ", ".join(f"{key} ({first.get(key)} and {settings.get(key)})" for key in keys[:3])
            problem = f"{models[0].identity['name']} and {model.identity['name']} differ in {differing}"
            raise UserError(f"merge: {problem}. Only models of one architecture can be merged.")
    noted = {"kind": kind, "models": [model.identity for model in models], **options}
    if base is not None:
        noted[BASE] = base.identity
    with build_folder(folder) as temporary:
        save_file(merged_tensors(kind, models, options, base), temporary / WEIGHTS)
        write_description(models[-1].clip, temporary)
        write_provenance(temporary, {"merge": noted})
    return noted


def merged_tensors(
    kind: str, models: Sequence[StoredModel], options: Mapping[str, Any], base: StoredModel | None
) -> dict[str, torch.Tensor]:
    """Returns every tensor of the merged model. UserError where a number is not finite.

    The counters of BatchNorm are those of the last model. Changes are of weights only, since a variance plus changes
    can be negative: it is averaged.
    """
    merge, _ = KINDS[kind]
    parameters = {name for name, _ in models[-1].clip.model.named_parameters()}
    given = {key: options[key] for key in ("alpha", "weight", "scale") if key in options}
    if "keep" in options and base is not None:
        given["smallest"] = [_smallest_kept(model, base, parameters, options["keep"]) for model in models]
    tensors: dict[str, torch.Tensor] = {}
    for name, like in models[-1].clip.model.state_dict().items():
        weights = [model.tensors[name].to(like.dtype) for model in models]
        if not like.is_floating_point():
            merged = weights[-1]
        elif base is None:
            merged = merge(weights, **given)
        elif name in parameters:
            start = base.tensors[name].to(like.dtype)
            merged = start + merge([weight - start for weight in weights], **given)
        else:
            merged = mean(weights)
        require_sound_numbers(merged, name, f"merge --kind {kind}", "Give smaller weights or a smaller scale.")
        tensors[name] = merged.contiguous()
    return tensors


def _smallest_kept(model: StoredModel, base: StoredModel, names: Iterable[str], keep: float) -> float:
    """For TIES: the magnitude of the smallest change of the model that is kept."""
    changes = (model.tensors[name].float() - base.tensors[name].float() for name in names)
    sizes = torch.cat([change.abs_().flatten() for change in changes]).numpy()
    last = len(sizes) - max(1, round(keep * len(sizes)))
    sizes.partition(last)  # in place
    return float(sizes[last])


def _settings_of(model: StoredModel) -> dict[str, Any]:
    """Its configuration by dotted names, without what is off (null, false, no settings)."""
    named = leaves(model.clip.config)
    return {key: value for key, value in named if value is not None and value is not False and value != {}}

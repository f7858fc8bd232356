"""Merges models of one architecture into one, tensor by tensor (`gift merge`).

Files of weights and of Fisher information are mapped into memory, so no more than a tensor of each has to be there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from open_clip.model import get_model_preprocess_cfg
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import (
    CONFIG,
    PROVENANCE,
    WEIGHTS,
    read_provenance,
    read_shapes,
    require_noted_files,
    write_provenance,
)
from gift_core.artifacts.teacher_files import FISHER, FISHER_KEY
from gift_core.clip.architectures import (
    LOCAL,
    PROBES,
    build_model,
    load_tokenizer,
    require_known_tokens,
    require_sound_numbers,
    tokenizer_files_of,
    tokenizer_from,
)
from gift_core.clip.model import Clip, check_folder, write_description
from gift_core.errors import UserError
from gift_core.interop.importing import FILE, model_identity, open_model, read_single_file
from gift_core.interop.merge_kinds import BASE, KINDS, mean
from gift_core.layout import Layout
from gift_core.seeds import seed_for
from gift_core.work.publishing import build_folder


@dataclass(frozen=True)
class StoredModel:
    """A model by the name that the user gave. `clip` has all but the weights, whose tensors have shapes alone.

    `identity` is that of provenance.json. `file` is the file of the weights, or the name where it is another format.
    """

    identity: Mapping[str, str]
    clip: Clip
    file: str
    tensors: Mapping[str, torch.Tensor]

    @cached_property
    def layout(self) -> dict[str, torch.Tensor]:
        """Every weight and buffer by name, for its shape and type."""
        return self.clip.model.state_dict()

    def read(self, name: str) -> torch.Tensor:
        """Returns the tensor, float32 unless it has integers. UserError as require_sound_numbers."""
        value = self.tensors[name].to(self.layout[name].dtype).reshape(self.layout[name].shape)
        require_sound_numbers(value, name, self.file)
        return value


def open_stored(name: str) -> StoredModel:
    """Returns the model of a folder, a file, or any name of open_model. UserError says what is wrong with it.

    The weights of an open_clip folder and of a file of `gift export --to safetensors` stay in their file. Where the
    names in it are not those of open_clip's model, and for any other format, the whole model is loaded.
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
    with torch.device("meta"):
        model = build_model(config["model_cfg"], config.get("preprocess_cfg", {})).eval()
    require_known_tokens(model, tokenizer(list(PROBES)), name)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if read_shapes(file) != shapes:
        return _loaded(name)
    preprocess = json.loads(json.dumps(get_model_preprocess_cfg(model)))  # complete, as clip.model.as_clip has it
    clip = Clip(model, tokenizer, {"model_cfg": config["model_cfg"], "preprocess_cfg": preprocess}, "fp32", files)
    return StoredModel(model_identity(name), clip, str(file), load_file(file))


def _loaded(name: str) -> StoredModel:
    clip = open_model(name, device="cpu")
    return StoredModel(model_identity(name), clip, name, clip.model.state_dict())


def find_fishers(models: Sequence[StoredModel], given: Sequence[str], layout: Layout) -> list[Path]:
    """Returns the file of the Fisher information of each model: those `given`, else what the stage teach wrote of it.

    UserError where there is none or more than one, and for a file of another model.
    """
    teachers, files = layout.first_teacher().parent, [Path(name) for name in given]
    for model in models if not given else ():
        digest = _trained_hash(model) or "unknown"
        found = [file for file in sorted(teachers.glob(f"*/*/{FISHER}")) if _noted_model(file) == digest]
        if len(found) != 1:
            named = f" ({', '.join(map(str, found))})" if found else ""
            what = f"{len(found)} files in {teachers}{named} have the Fisher information of {digest[:12]}..."
            remedy = "Name a file for each model: --fisher FILE. Stage teach writes it if the method has replay.fisher"
            raise UserError(f"merge --kind fisher: {model.identity['name']}: {what}. {remedy}.")
        files += found
    for model, file in zip(models, files, strict=True):
        noted, digest = _noted_model(file), _trained_hash(model) or ""
        if digest and noted != digest:
            what = f"it is of the model with sha256 {noted[:12]}..., {model.identity['name']} has {digest[:12]}..."
            raise UserError(f"merge --fisher {file}: {what}. Name the files in the order of the models.")
        if names := sorted(set(read_shapes(files[0])) ^ set(read_shapes(file))):
            raise UserError(f"merge: {names[0]} is in only one of {files[0]} and {file}. Give files of one method.")
    return files


def _trained_hash(model: StoredModel) -> str | None:
    """The hash of the trained weights: stage teach estimates the information of these, not of a release."""
    folder = Path(model.file).parent
    made = read_provenance(folder) if (folder / PROVENANCE).is_file() else {}
    return made.get("trained_model", model.identity.get("sha256"))


def _noted_model(file: Path) -> str:
    """Returns the hash of the model whose Fisher information is in the file."""
    try:
        with safe_open(file, framework="pt") as tensors:
            return str(json.loads((tensors.metadata() or {})[FISHER_KEY])["model"])
    except (OSError, SafetensorError, ValueError, LookupError, TypeError) as error:
        what = f"it should have Fisher information, with the hash of its model ({error})"
        raise UserError(f"{file}: {what}. Make it again: dvc repro teach.") from error


@dataclass(frozen=True)
class Merge:
    """What is merged, and how. `options` are those of the kind (complete_options), `fishers` a file for each model."""

    kind: str
    models: Sequence[StoredModel]
    options: Mapping[str, Any]
    base: StoredModel | None = None
    fishers: Sequence[Path] = ()

    @property
    def provenance(self) -> dict[str, Any]:
        """What provenance.json says of it."""
        noted = {"kind": self.kind, "models": [model.identity for model in self.models]}
        base = {} if self.base is None else {BASE: self.base.identity}
        files = [{"name": str(file), "sha256": sha256_of(file)} for file in self.fishers]
        return {"merge": noted | dict(self.options) | base | ({"fisher": files} if files else {})}

    @cached_property
    def names(self) -> set[str]:
        """The tensors that the kind merges. Changes are of weights only: a variance plus changes can be negative.

        Fisher information is known of the weights that were trained.
        """
        if self.fishers:
            return set(read_shapes(self.fishers[0]))
        if self.base is not None:
            return {name for name, _ in self.base.clip.model.named_parameters()}
        return set(self.models[-1].layout)

    @cached_property
    def diagonals(self) -> list[dict[str, torch.Tensor]]:
        """The Fisher information of each model, mapped into memory."""
        return [load_file(file) for file in self.fishers]

    @cached_property
    def smallest(self) -> list[float]:
        """For TIES: the magnitude of the smallest change of each model that is kept."""
        base, found = self.base, []
        assert base is not None, "complete_options asks for it"
        for model in self.models:
            sizes = torch.cat([(model.read(name) - base.read(name)).abs().flatten() for name in self.names]).numpy()
            last = len(sizes) - max(1, round(self.options["keep"] * len(sizes)))
            sizes.partition(last)  # in place
            found.append(float(sizes[last]))
        return found

    def tensor(self, name: str) -> torch.Tensor:
        """Returns a merged tensor. UserError where a number of it is not finite.

        The counters of BatchNorm are those of the last model. What the kind does not merge is averaged.
        """
        if not self.models[-1].layout[name].is_floating_point():
            return self.models[-1].read(name)
        weights = (model.read(name) for model in self.models)
        kind = KINDS[self.kind][0]
        options = {key: self.options[key] for key in ("alpha", "weight", "scale", "drop") if key in self.options}
        if "keep" in self.options:
            options["smallest"] = self.smallest
        if "seed" in self.options:
            seed = seed_for("merge", self.options["seed"], name)
            options["generator"] = torch.Generator().manual_seed(seed)
        if name not in self.names:
            merged = mean([*weights])
        elif self.base is not None:
            base = self.base.read(name)
            merged = base + kind([weight - base for weight in weights], **options)
        else:
            if self.fishers:
                options["diagonals"] = [tensors[name].float() for tensors in self.diagonals]
            merged = kind([*weights], **options)
        remedy = "Give smaller weights or a smaller scale."
        require_sound_numbers(merged, name, f"merge --kind {self.kind}", remedy)
        return merged


def merge_models(merge: Merge, folder: Path) -> None:
    """Writes the merged model into `folder`, with the configuration and the tokenizer of the last model.

    For TIES all changes of one model are in memory. UserError where the models do not fit each other, before anything
    is written, and where a result is no number.
    """
    first, last = merge.models[0], merge.models[-1]
    for other in (*merge.models, *filter(None, [merge.base])):
        one, two = _flat(first.clip.config), _flat(other.clip.config)
        if keys := sorted(key for key in {*one, *two} if one.get(key) != two.get(key)):
            models = f"{first.identity['name']} and {other.identity['name']}"
            differing = ", ".join(f"{key} ({one.get(key)} and {two.get(key)})" for key in keys[:3])
            raise UserError(f"merge: {models} differ in {differing}. Only models of one architecture can be merged.")
    with build_folder(folder) as temporary:
        save_file({name: merge.tensor(name).contiguous() for name in last.layout}, temporary / WEIGHTS)
        write_description(last.clip, temporary)
        write_provenance(temporary, merge.provenance)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names, without those that are off (null, false)."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif value is not None and value is not False:
            found[f"{prefix}{key}"] = value
    return found

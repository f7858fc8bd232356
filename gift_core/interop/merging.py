"""Merges models of one architecture into one, tensor by tensor (`gift merge`).

Each model is opened once, one after another, which checks it. Then files of weights and of Fisher information are
mapped into memory, so that merging needs no more than a tensor of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import PROVENANCE, WEIGHTS, read_provenance, read_shapes, write_provenance
from gift_core.artifacts.teacher_files import FISHER, FISHER_KEY
from gift_core.clip.architectures import LOCAL, require_sound_numbers
from gift_core.clip.model import Clip, write_description
from gift_core.errors import UserError
from gift_core.interop.importing import FILE, model_identity, open_model
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


def open_stored(name: str) -> StoredModel:
    """Returns the model of a folder, a file, or any name of open_model. UserError says what is wrong with it.

    Where the file has the names of open_clip's model, its tensors are mapped into memory when the model has been
    checked. Otherwise the whole model stays in memory.
    """
    path, clip = Path(name.removeprefix(LOCAL).removeprefix(FILE)), open_model(name, device="cpu")
    file, tensors = path / WEIGHTS if path.is_dir() else path, clip.model.state_dict()
    if not file.is_file() or read_shapes(file) != {key: tuple(value.shape) for key, value in tensors.items()}:
        return StoredModel(model_identity(name), clip, name, tensors)
    clip.model.to("meta")
    return StoredModel(model_identity(name), clip, str(file), load_file(file))


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


def merge_models(
    kind: str,
    models: Sequence[StoredModel],
    folder: Path,
    *,
    options: Mapping[str, Any],
    base: StoredModel | None = None,
    fishers: Sequence[Path] = (),
) -> dict[str, Any]:
    """Writes the merged model into `folder`, with the configuration and the tokenizer of the last model.

    `options` are those of the kind (complete_options), `fishers` a file for each model. Returns what provenance.json
    says of the merge. For TIES all changes of one model are in memory. UserError where the models do not fit each
    other, before anything is written, and where a result is no number.
    """
    one, first = _flat(models[0].clip.config), models[0].identity
    for other in (*models, *filter(None, [base])):
        two = _flat(other.clip.config)
        if keys := sorted(key for key in {*one, *two} if one.get(key) != two.get(key)):
            differing = ", ".join(f"{key} ({one.get(key)} and {two.get(key)})" for key in keys[:3])
            what = f"{first['name']} and {other.identity['name']} differ in {differing}"
            raise UserError(f"merge: {what}. Only models of one architecture can be merged.")
    noted = {"kind": kind, "models": [model.identity for model in models], **options}
    if base is not None:
        noted[BASE] = base.identity
    if fishers:
        noted["fisher"] = [{"name": str(file), "sha256": sha256_of(file)} for file in fishers]
    with build_folder(folder) as temporary:
        save_file(merged_tensors(kind, models, options, base, fishers), temporary / WEIGHTS)
        write_description(models[-1].clip, temporary)
        write_provenance(temporary, {"merge": noted})
    return noted


def merged_tensors(
    kind: str,
    models: Sequence[StoredModel],
    options: Mapping[str, Any],
    base: StoredModel | None,
    fishers: Sequence[Path],
) -> dict[str, torch.Tensor]:
    """Returns every tensor of the merged model. UserError where a number is not finite.

    The counters of BatchNorm are those of the last model. Changes are of weights only: a variance plus changes can be
    negative. Fisher information is known of the weights that were trained. What the kind does not merge is averaged.
    """
    diagonals, layout = [load_file(file) for file in fishers], models[-1].clip.model.state_dict()
    names = set(diagonals[0] if fishers else layout)
    if base is not None:
        names = {name for name, _ in base.clip.model.named_parameters()}
    given = {key: options[key] for key in ("alpha", "weight", "scale", "drop") if key in options}
    if "keep" in options and base is not None:
        given["smallest"] = [_smallest_kept(model, base, names, options["keep"]) for model in models]
    found: dict[str, torch.Tensor] = {}
    for name, like in layout.items():
        weights = [model.tensors[name].to(like.dtype) for model in models]
        if "seed" in options:
            given["generator"] = torch.Generator().manual_seed(seed_for("merge", options["seed"], name))
        if not like.is_floating_point():
            merged = weights[-1]
        elif name not in names:
            merged = mean(weights)
        elif base is not None:
            start = base.tensors[name].to(like.dtype)
            merged = start + KINDS[kind][0]([weight - start for weight in weights], **given)
        else:
            of_fisher = {"diagonals": [tensors[name].float() for tensors in diagonals]} if fishers else {}
            merged = KINDS[kind][0](weights, **given, **of_fisher)
        require_sound_numbers(merged, name, f"merge --kind {kind}", "Give smaller weights or a smaller scale.")
        found[name] = merged.contiguous()
    return found


def _smallest_kept(model: StoredModel, base: StoredModel, names: Iterable[str], keep: float) -> float:
    """For TIES: the magnitude of the smallest change of the model that is kept."""
    changes = (model.tensors[name].float() - base.tensors[name].float() for name in names)
    sizes = torch.cat([change.abs_().flatten() for change in changes]).numpy()
    last = len(sizes) - max(1, round(keep * len(sizes)))
    sizes.partition(last)  # in place
    return float(sizes[last])


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names, without those that are off (null, false)."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif value is not None and value is not False:
            found[f"{prefix}{key}"] = value
    return found

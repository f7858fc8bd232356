"""The files of Fisher information for `gift merge --kind fisher`: which belongs to which model, read by tensor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from gift_core.artifacts.fisher_file import FISHER, KEY
from gift_core.artifacts.model_folder import PROVENANCE, read_provenance, read_shapes
from gift_core.errors import UserError
from gift_core.interop.stored_model import StoredModel
from gift_core.layout import Layout


def find_fishers(models: Sequence[StoredModel], given: Sequence[str], layout: Layout) -> list[Path]:
    """Returns the file of the Fisher information of each model: those `given`, else what the stage teach wrote of it.

    UserError where there is none or more than one, and for a file of another model.
    """
    teachers, files = layout.first_teacher().parent, [Path(name) for name in given]
    for model in models if not given else ():
        digest = _trained_hash(model) or "unknown"
        found = [file for file in sorted(teachers.glob(f"*/*/{FISHER}")) if _noted_model(file) == digest]
        if len(found) != 1:
            what = (
                f"{len(found)} files in {teachers} have the Fisher information of this model (sha256 {digest[:12]}...)"
            )
            named = f": {', '.join(map(str, found))}" if found else ""
            remedy = (
                "Name a file for each model: --fisher FILE. Stage teach writes it of the model before a task, if the "
            )
            remedy += "method has replay.fisher."
            raise UserError(f"merge --kind fisher: {model.identity['name']}: {what}{named}. {remedy}")
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
            return str(json.loads((tensors.metadata() or {})[KEY])["model"])
    except (OSError, SafetensorError, ValueError, LookupError, TypeError) as error:
        what = f"it should have Fisher information, with the hash of its model ({error})"
        raise UserError(f"{file}: {what}. Make it again: dvc repro teach.") from error

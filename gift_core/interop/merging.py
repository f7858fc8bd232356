"""Merges models of one architecture into one, tensor by tensor (`gift merge`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import WEIGHTS, read_shapes, write_provenance
from gift_core.clip.architectures import require_sound_numbers
from gift_core.clip.model import write_description
from gift_core.errors import UserError
from gift_core.interop.merge_kinds import BASE, KINDS, mean
from gift_core.interop.stored_model import StoredModel, read_tensor
from gift_core.seeds import seed_for
from gift_core.work.publishing import build_folder


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
        kind = KINDS[self.kind].merge
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
                options["diagonals"] = [read_tensor(file, name).float() for file in self.fishers]
            merged = kind([*weights], **options)
        remedy = "Give smaller weights or a smaller scale."
        require_sound_numbers(merged, name, f"merge --kind {self.kind}", remedy)
        return merged


def merge_models(merge: Merge, folder: Path) -> None:
    """Writes the merged model into `folder`, with the configuration and the tokenizer of the last model.

    One tensor of each model is in memory at a time; for TIES all changes of one model. UserError where the models do
    not fit each other, before anything is written, and where a result is no number.
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

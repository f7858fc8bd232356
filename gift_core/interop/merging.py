"""Merges models of one architecture into one, tensor by tensor (`gift merge`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import CONFIG, WEIGHTS, read_shapes, write_provenance
from gift_core.clip.architectures import require_sound, require_sound_numbers
from gift_core.clip.disk_space import model_bytes
from gift_core.clip.tokenizers import tokenizer_contents
from gift_core.errors import UserError
from gift_core.interop.fisher_of_models import read_diagonal
from gift_core.interop.merge_kinds import BASE, KINDS, mean
from gift_core.interop.stored_model import StoredModel, read_tensor, write_tensors
from gift_core.seeds import seed_for
from gift_core.work.publishing import build_folder, require_free_bytes

_UPPER, _LOWER = 1 << 15, 1 << 16  # values of the upper and the lower half of the bits of a float32 that is >= 0


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


def merge_models(merge: Merge, folder: Path) -> None:
    """Writes the merged model into `folder`, with the configuration and the tokenizer of the last model.

    One tensor of each model is in memory at a time. UserError where the models do not fit each other, before anything
    is written, and where a result is no number.
    """
    last = merge.models[-1]
    for other in (*merge.models, *filter(None, [merge.base])):
        _require_same(merge.models[0], other)
    require_free_bytes(folder, model_bytes(last.clip), "merge")
    merged = _merged_tensors(merge)
    with build_folder(folder) as unfinished:
        write_tensors(unfinished / WEIGHTS, last.layout, merged)
        scale = torch.nn.ParameterDict({"logit_scale": read_tensor(unfinished / WEIGHTS, "logit_scale")})
        require_sound(scale, last.clip.config["preprocess_cfg"], f"{folder}, merged with --kind {merge.kind}")
        text = json.dumps(last.clip.config, indent=2, sort_keys=True) + "\n"
        (unfinished / CONFIG).write_text(text, encoding="utf-8")
        for name, content in tokenizer_contents(last.clip).items():
            (unfinished / name).write_bytes(content)
        write_provenance(unfinished, merge.provenance)


def _merged_tensors(merge: Merge) -> Callable[[str], torch.Tensor]:
    """Returns a function that gives the merged tensor of a name.

    The counters of BatchNorm are those of the last model. What the kind does not merge (_merged_names) is averaged.
    """
    function, names, arguments = KINDS[merge.kind].merge, _merged_names(merge), _arguments(merge)

    def merged(name: str) -> torch.Tensor:
        if not merge.models[-1].layout[name].is_floating_point():
            return merge.models[-1].read(name)
        weights = (model.read(name) for model in merge.models)
        if name not in names:
            return mean([*weights])
        if merge.base is None:
            return function([*weights], **arguments(name))
        base = merge.base.read(name)
        return base + function([weight - base for weight in weights], **arguments(name))

    def sound(name: str) -> torch.Tensor:
        value = merged(name)
        require_sound_numbers(value, name, f"merge --kind {merge.kind}", "Give smaller weights or a smaller scale.")
        return value

    return sound


def _merged_names(merge: Merge) -> set[str]:
    """Returns the tensors that the kind merges. Changes are of weights only: a variance plus changes can be negative.

    Fisher information is known of the weights that were trained.
    """
    if merge.fishers:
        return set(read_shapes(merge.fishers[0]))
    if merge.base is not None:
        return {name for name, _ in merge.base.clip.model.named_parameters()}
    return set(merge.models[-1].layout)


def _arguments(merge: Merge) -> Callable[[str], dict[str, Any]]:
    """Returns a function that gives the keyword arguments of the kind for the tensor of a name."""
    constant = {name: value for name, value in merge.options.items() if name in ("alpha", "weight", "scale", "drop")}
    if "keep" in merge.options:
        constant["smallest"] = [_smallest_kept(merge, model) for model in merge.models]

    def arguments(name: str) -> dict[str, Any]:
        if merge.fishers:
            return constant | {"diagonals": [read_diagonal(file, name) for file in merge.fishers]}
        if "seed" in merge.options:
            seed = seed_for("merge", merge.options["seed"], name)
            return constant | {"generator": torch.Generator().manual_seed(seed)}
        return constant

    return arguments


def _smallest_kept(merge: Merge, model: StoredModel) -> float:
    """Returns the magnitude of the smallest change of the model that TIES keeps."""
    base, names = merge.base, sorted(_merged_names(merge))
    assert base is not None, "complete_options asks for it"

    def changes() -> Iterator[torch.Tensor]:
        return (model.read(name) - base.read(name) for name in names)

    count = sum(base.layout[name].numel() for name in names)
    return nth_largest(changes, max(1, round(merge.options["keep"] * count)))


def nth_largest(tensors: Callable[[], Iterator[torch.Tensor]], n: int) -> float:
    """Returns the magnitude of the n-th largest float32 number (n from 1) of tensors that are not in memory at once.

    Numbers >= 0 have the order of their bits, so the upper half of the bits is found in one pass and the lower half in
    another.
    """
    upper, above = _nth_bin(_histogram((bits >> 16 for bits in _bits(tensors())), _UPPER), n)
    within = (bits[bits >> 16 == upper] % _LOWER for bits in _bits(tensors()))
    lower, _ = _nth_bin(_histogram(within, _LOWER), n - above)
    return float(torch.tensor(upper * _LOWER + lower, dtype=torch.int32).view(torch.float32))


def _bits(tensors: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    return (tensor.abs().flatten().view(torch.int32) for tensor in tensors)


def _histogram(numbers: Iterator[torch.Tensor], bins: int) -> torch.Tensor:
    counts = torch.zeros(bins, dtype=torch.int64)
    for each in numbers:
        counts += torch.bincount(each, minlength=bins)
    return counts


def _nth_bin(counts: torch.Tensor, n: int) -> tuple[int, int]:
    """Returns the bin of the n-th number from the top, and how many numbers are in the bins above it."""
    from_top = counts.flip(0).cumsum(0)
    position = int(torch.searchsorted(from_top, n))
    return len(counts) - 1 - position, int(from_top[position - 1]) if position else 0


def _require_same(first: StoredModel, other: StoredModel) -> None:
    """Raises UserError if two models differ in architecture or preprocessing: the settings, a tensor and both files."""
    settings = _flat(first.clip.config), _flat(other.clip.config)
    keys = sorted(key for key in {*settings[0], *settings[1]} if settings[0].get(key) != settings[1].get(key))
    sizes = [{name: _sizes(value.shape) for name, value in model.layout.items()} for model in (first, other)]
    names = sorted(name for name in {*sizes[0], *sizes[1]} if sizes[0].get(name) != sizes[1].get(name))
    differing = [f"{key} ({settings[0].get(key)} and {settings[1].get(key)})" for key in keys[:3]]
    for name in names[:1]:
        one, two = (size.get(name, "missing") for size in sizes)
        differing.append(f"the tensor {name} ({one} in {first.file}, {two} in {other.file})")
    if differing:
        models = f"{first.identity['name']} and {other.identity['name']}"
        what = f"{models} differ in {', '.join(differing)}"
        raise UserError(f"merge: {what}. Only models of one architecture can be merged.")


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names, without those that are off (null, false)."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif value is not None and value is not False:
            found[f"{prefix}{key}"] = value
    return found

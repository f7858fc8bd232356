"""The model of a step that is tested and handed out. The next step goes on from the trained one, which stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gift_core.artifacts.model_folder import LOSSES, PROVENANCE, WEIGHTS, read_provenance, write_provenance
from gift_core.averaging import interpolate
from gift_core.config.method_options import ReleaseConfig
from gift_core.work.publishing import build_folder, require_free_bytes


def release_model(trained: Path, pretrained: Path, folder: Path, release: ReleaseConfig | None) -> None:
    """Writes the model in `trained` into `folder` as it is tested and handed out.

    The three are model folders. Without `release`, it is the trained model. provenance.json notes the release, and the
    hash of the weights that it was made of as `trained_model`.
    """
    files = [file for file in trained.iterdir() if file.is_file() and file.name != LOSSES]
    require_free_bytes(folder, sum(file.stat().st_size for file in files), "the released model")
    with build_folder(folder) as unfinished:
        if release is None:
            for file in files:
                shutil.copyfile(file, unfinished / file.name)
            return
        for file in files:
            if file.name not in (WEIGHTS, PROVENANCE):
                shutil.copyfile(file, unfinished / file.name)
        save_file(released_weights(trained, pretrained, release), unfinished / WEIGHTS)
        made = read_provenance(trained)
        notes = {"release": release.model_dump(mode="json"), "trained_model": made["weights_sha256"]}
        write_provenance(unfinished, made | notes)


def released_weights(trained: Path, pretrained: Path, release: ReleaseConfig) -> dict[str, torch.Tensor]:
    """Returns theta_0 + alpha (theta_t - theta_0) by name, theta_0 of `pretrained` and theta_t of `trained`.

    Counters, such as those of BatchNorm, are those of theta_t.
    """
    start, end = load_file(pretrained / WEIGHTS), load_file(trained / WEIGHTS)
    names = [name for name, value in end.items() if value.is_floating_point()]
    mixed = interpolate([end[name] for name in names], [start[name] for name in names], alpha=release.alpha)
    return {**end, **dict(zip(names, mixed, strict=True))}

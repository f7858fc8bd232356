"""The model of a step that is tested and handed out. The next step goes on from the trained one, which stays."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from gift_core.artifacts.model_folder import LOSSES, PROVENANCE, WEIGHTS, model_hash, read_provenance, write_provenance
from gift_core.config.method_options import InterpolateConfig
from gift_core.method.averaging import released_weights
from gift_core.work.publishing import build_folder


def release_model(trained: Path, pretrained: Path, folder: Path, release: InterpolateConfig | None) -> None:
    """Writes the model in `trained` into `folder` as it is tested and handed out.

    The three are model folders. Without `release`, it is the trained model. provenance.json notes the release, and the
    hash of the weights that it was made of as `trained_model`. ContractError where one of the models is damaged.
    """
    digest = model_hash(trained)
    left_out = (LOSSES,) if release is None else (LOSSES, WEIGHTS, PROVENANCE)
    with build_folder(folder) as temporary:
        for file in trained.iterdir():
            if file.is_file() and file.name not in left_out:
                shutil.copyfile(file, temporary / file.name)
        if release is not None:
            model_hash(pretrained)
            start, end = load_file(pretrained / WEIGHTS), load_file(trained / WEIGHTS)
            save_file(released_weights(end, start, alpha=release.alpha), temporary / WEIGHTS)
            notes = {"release": release.model_dump(mode="json"), "trained_model": digest}
            write_provenance(temporary, read_provenance(trained) | notes)

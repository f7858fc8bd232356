"""import_model: saves the pre-trained CLIP from any source as an open_clip folder."""

from __future__ import annotations

from pathlib import Path

from gift_core.layout import watched_path

from .open_stage import open_stage
from .options import PARAMS, ROOT, Params, Root


def import_model(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Load the pre-trained CLIP and save it as an open_clip folder, from which every method starts.

    Example: gift import_model
    """
    with open_stage("import_model", params, root) as stage:
        from gift_core.artifacts.accuracy import write_empty_accuracy
        from gift_core.artifacts.contract import write_json
        from gift_core.artifacts.model_folder import noted_hash
        from gift_core.clip.model import save_clip
        from gift_core.interop.importing import load_clip
        from gift_core.work.publishing import build_folder

        from .dvc.guards import require_usable_model

        model = stage.config.model
        stage.phase = "loading the model"
        clip = load_clip(model.name, model.pretrained, device="cpu")
        stage.phase = "saving the model"
        folder = stage.layout.pretrained()
        save_clip(clip, folder, {"name": model.name, "pretrained": model.pretrained, **clip.origin})
        write_empty_accuracy(stage.layout.pretrained_accuracy(), {"model:pretrained": noted_hash(folder)})
        with build_folder(stage.layout.first_teacher()) as temporary:
            write_json(temporary / "start.json", {"taught": "nothing"})
        require_usable_model(stage, clip)
        stage.say(f"{model.name}: {clip.parameter_count / 1e6:.1f}M parameters, image size {clip.image_size} px")
        for property, value in clip.origin.items():
            stage.say(f"{property.replace('_', ' ')}: {value}")
        location = model.pretrained or model.name.partition(":")[2]
        if Path(location).exists() and not watched_path(location, Path()):
            stage.say(f"note: DVC does not watch {location}: move it to {stage.layout.raw('models')}, or run "
                     "`dvc repro --force import_model` after a change")  # fmt: skip

"""import_model: the pre-trained CLIP, whatever its source, becomes one plain open_clip folder."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Params, Root, open_cell


def import_model(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Load the pre-trained CLIP by its name and keep it as a plain open_clip folder: every method starts there."""
    with open_cell("import_model", params, root) as cell:
        from gift_core.artifacts.accuracy import write_empty_accuracy
        from gift_core.artifacts.json_files import write_json
        from gift_core.artifacts.models import model_hash
        from gift_core.clip.loading import load_clip
        from gift_core.clip.saving import save_clip

        model = cell.config.model
        clip = load_clip(model.name, model.pretrained, device="cpu")
        folder = cell.layout.pretrained()
        save_clip(clip, folder, provenance={"name": model.name, "pretrained": model.pretrained})
        write_empty_accuracy(cell.layout.pretrained_accuracy(), {"model:pretrained": model_hash(folder)})
        write_json(cell.layout.first_teacher() / "start.json", {"taught": "nothing"})
        cell.say(f"{model.name}: {clip.parameter_count / 1e6:.1f}M parameters, image size {clip.image_size} px")

"""teach METHOD TASK: what the model before this task says of every synthetic pair, computed once."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Method, Params, Root, Task, open_cell


def teach(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Encode the task's synthetic pairs with the teacher: the model as it stood before this task."""
    with open_cell("teach", params, root, method=method, task=task) as cell:
        from gift_core.artifacts.features import write_features
        from gift_core.artifacts.models import model_hash
        from gift_core.artifacts.shards import iterate_pairs
        from gift_core.clip.device import resolve_device
        from gift_core.clip.loading import load_folder
        from gift_core.replay.teacher import teach as encode_pairs

        start = cell.start_model(method, task)
        device = resolve_device(cell.config.run.device)
        teacher = load_folder(start, device=device, precision=cell.config.model.precision)
        features = encode_pairs(
            teacher,
            iterate_pairs(cell.layout.shards(task)),
            batch_size=cell.config.evaluation.batch_size,
            metadata={"model": model_hash(start)},
        )
        file = cell.layout.teacher(method, task) / "features.parquet"
        write_features(file, features.keys, features.image_MD, features.text_MD, features.metadata)
        cell.say(f"{len(features.keys)} pairs encoded, {features.image_MD.shape[1]} numbers each")

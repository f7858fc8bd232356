"""probe TASK: the accuracy of the pre-trained model on a task that no step learns."""

from __future__ import annotations

from .evaluate import encoding_settings, hashes_of_inputs
from .open_stage import open_stage
from .options import PARAMS, ROOT, Params, Root, Task


def probe(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Test the pre-trained model on a task of evaluation.probes, which no step learns.

    The stage evaluate tests the model of each step on it, and the difference is
    what that model has lost of its zero-shot ability.

    Example: gift probe arrows
    """
    with open_stage("probe", params, root, task=task) as stage:
        from gift_core.artifacts.accuracy import computed_with, write_accuracy
        from gift_core.method.evaluation import evaluate_probe
        from gift_core.provenance import environment
        from gift_core.torch_devices import set_up_device

        layout, device = stage.layout, set_up_device(stage.config.run.device)
        model, folder = layout.pretrained(), layout.task(task)
        read = hashes_of_inputs({"pretrained": model}, {task: folder})
        settings = stage.config.evaluation.model_dump(exclude={"protocol", "probes"})
        with stage.resumable(device, {**read, **settings, "seed": stage.config.seed}) as run:
            stage.phase = "evaluating"
            measured = evaluate_probe(model, folder, encoding_settings(stage.config), run)
            metadata = {**measured.metadata, **computed_with(environment(device))}
            write_accuracy(layout.probe(task), measured.rows, metadata)
        stage.say(f"{float(measured.rows.top1.iloc[0]):.1%} of the pre-trained model on {task}")

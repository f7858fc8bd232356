"""evaluate METHOD TASK: the accuracies that this step adds to the method's matrix."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Method, Params, Root, Task, open_cell


def evaluate(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Test the step's model on all tasks learned so far, and every earlier model on this task."""
    with open_cell("evaluate", params, root, method=method, task=task) as cell:
        from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
        from gift_core.clip.device import resolve_device
        from gift_core.evaluation import PRETRAINED, evaluate_step, newest_model, own_model

        tasks = [*cell.learned_before(task), task]
        before = cell.layout.accuracy(method, cell.step(task).after)
        _, previous = read_accuracy(before)
        rows, metadata = evaluate_step(
            method,
            {PRETRAINED: cell.layout.pretrained(), **{name: cell.layout.model(method, name) for name in tasks}},
            tasks={name: cell.layout.task(name) for name in tasks},
            answering=own_model if cell.method(method).keeps_every_model else newest_model,
            device=resolve_device(cell.config.run.device),
            precision=cell.config.model.precision,
            batch_size=cell.config.evaluation.batch_size,
            previous=previous,
        )
        write_accuracy(cell.layout.accuracy(method, task), rows, metadata)
        own = rows[rows.trained_task == task].set_index("eval_task").top1
        cell.say(f"{own[task]:.1%} on {task}, {own.mean():.1%} on the {len(tasks)} tasks so far")

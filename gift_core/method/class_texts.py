"""Classes that no model can tell apart: they have one name, or their prompts have the same tokens. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from gift_core.artifacts.task import PAIRS, TaskInfo
from gift_core.clip.same_tokens import Tokenizer
from gift_core.datasets.spelling import comparison_key
from gift_core.errors import UserError
from gift_core.protocols import Protocol

KEY = "params.yaml: evaluation.protocol"


@dataclass(frozen=True)
class ClassTexts:
    """A class of a task, and the prompts that stand for it."""

    task: str
    name: str
    prompts: tuple[str, ...]


def class_texts(task: TaskInfo, templates: Sequence[str]) -> list[ClassTexts]:
    """Returns the classes of a task with their prompts. In a template, `{}` stands for the class name."""
    classes = []
    for name in task.class_names:
        classes.append(ClassTexts(task.name, name, tuple(template.replace("{}", name) for template in templates)))
    return classes


def require_distinct_classes(tasks: Sequence[TaskInfo]) -> None:
    """Raises UserError where two tasks have a class of the same name: no model could distinguish their images.

    Names are compared as a text encoder reads them: case and spaces make no difference.
    """
    owners: dict[str, tuple[str, str]] = {}
    for task in tasks:
        for name in task.class_names:
            owner, spelling = owners.setdefault(comparison_key(name), (task.name, name))
            if owner != task.name:
                both = repr(name) if name == spelling else f"{spelling!r} and {name!r}"
                raise UserError(
                    f"{KEY}: class_incremental: tasks {owner} and {task.name} both have the class {both}, so no model "
                    "can say which of the two an image shows. Rename or remove one of them, or write task_incremental."
                )


def require_distinct_texts(
    tasks: Sequence[TaskInfo], *, probes: Collection[str], protocol: Protocol, tokenizer: Tokenizer
) -> None:
    """Raises UserError for two classes of `tasks` that `finetune`, `probe` or `evaluate` could not distinguish.

    A task is trained with the first template, and `probes` are tested with all templates. Where a protocol tests the
    classes of all tasks together, those of two tasks have to differ in one template at least. Captions are no classes.
    """
    classes = [task for task in tasks if task.kind != PAIRS]
    for task in classes:
        templates = task.templates if task.name in probes else task.templates[:1]
        for first, second in same_texts(class_texts(task, templates), tokenizer):
            problem = f"the classes {first.name!r} and {second.name!r} {_same(first, second, tokenizer)}"
            remedy = "Reword or shorten a name (class_names), or the template (templates)"
            raise UserError(f"params.yaml: tasks.{task.name}: {problem}. {remedy}.")
    if protocol.own_classes:
        return
    learned = [task for task in classes if task.name not in probes]
    together = [texts for task in learned for texts in class_texts(task, task.templates)]
    for first, second in same_texts(together, tokenizer):
        if first.task != second.task and comparison_key(first.name) != comparison_key(second.name):
            named = f"{first.name!r} of {first.task} and {second.name!r} of {second.task}"
            problem = f"{named} {_same(first, second, tokenizer)}"
            raise UserError(f"{KEY}: {protocol.name}: {problem}. Reword one of them, or write task_incremental.")


def same_texts(classes: Sequence[ClassTexts], tokenizer: Tokenizer) -> Iterator[tuple[ClassTexts, ClassTexts]]:
    """Yields each class whose prompts have the tokens of another one, after the first such class."""
    for number, first in enumerate(tokenizer.first_of([texts.prompts for texts in classes])):
        if first != number:
            yield classes[first], classes[number]


def _same(first: ClassTexts, second: ClassTexts, tokenizer: Tokenizer) -> str:
    both = f"{first.prompts[0]!r} and {second.prompts[0]!r}"
    return f"are the same to the model: {both} have the same tokens. It reads {tokenizer.context}, and ignores case"

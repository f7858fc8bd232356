"""What no single section can know: names that must exist elsewhere in the file, numbers that must fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gift_core.config.experiment import Config
from gift_core.config.methods import MethodConfig
from gift_core.errors import did_you_mean

Findings = Iterator[tuple[str, str]]
START = "../pretrained"  # beside a method's models lies the pre-trained one
RESERVED = ("pretrained", "zero_shot", "base", "pools")
VOCABULARIES = ("imagenet", "mini", "none")
_NAME = re.compile(r"[a-z0-9_]+")


def cross_check(config: Config) -> list[tuple[str, str]]:
    """Returns [(dotted path, "what is wrong. Remedy")], empty where all fits."""
    checks = (_check_names, _check_run, _check_sequence, _check_methods, _check_training, _check_vocabulary)
    return [finding for check in checks for finding in check(config)]


def _check_names(config: Config) -> Findings:
    for section, names in (("tasks", config.tasks), ("methods", config.methods)):
        for name in names:
            if not _NAME.fullmatch(name):
                yield f"{section}.{name}", "is no name. Use small letters, digits and _ only: it becomes a file's name."
            if name in RESERVED:
                yield f"{section}.{name}", f"this name is taken ({', '.join(RESERVED)} are). Choose another."


def _check_run(config: Config) -> Findings:
    run = config.run
    unknown = [name for name in run.methods if name not in config.methods]
    for name in unknown:
        yield "run.methods", f"unknown method {name!r}. {did_you_mean(name, config.methods)}"
    for name in _twice(run.methods):
        yield "run.methods", f"{name!r} stands there twice. Remove one."
    if unknown:
        return
    replays = {name: config.methods[name].replay.images != "none" for name in run.methods}
    wanted = {
        "with_teacher": [name for name in run.methods if replays[name]],
        "without_teacher": [name for name in run.methods if not replays[name]],
    }
    for key, names in wanted.items():
        found = getattr(run, key)
        if sorted(found) != sorted(set(names)):
            what = f"should be [{', '.join(names)}], it is [{', '.join(found)}]"
            yield f"run.{key}", f"{what}. Write {_both(wanted)}."


def _both(lists: dict[str, list[str]]) -> str:
    why = {"with_teacher": "methods that replay", "without_teacher": "the others"}
    return " and ".join(f"{key}: [{', '.join(names)}] ({why[key]})" for key, names in lists.items())


def _check_sequence(config: Config) -> Findings:
    before = START
    for index, step in enumerate(config.sequence):
        place = f"sequence[{index}]"
        if step.task not in config.tasks:
            yield f"{place}.task", f"unknown task {step.task!r}. {did_you_mean(step.task, config.tasks)}"
        if step.after != before:
            why = "the task of the step before" if index else "the first step starts from the pre-trained model"
            yield f"{place}.after", f"should be {before}, it is {step.after}. Write after: {before} ({why})."
        before = step.task
    for task in _twice(step.task for step in config.sequence):
        yield "sequence", f"task {task!r} comes twice. Remove one of its steps."


def _check_methods(config: Config) -> Findings:
    for name, method in config.methods.items():
        yield from _check_method(f"methods.{name}", method)


def _check_method(place: str, method: MethodConfig) -> Findings:
    replays = method.replay.images != "none"
    if method.terms and not replays:
        names = ", ".join(term for term, _ in method.terms.items())
        yield f"{place}.terms", f"{names}: a term needs pairs. Set replay.images to synthetic, or write terms: {{}}."
    if replays and not method.terms:
        yield (
            f"{place}.terms",
            "empty, so nothing would be learned from the replay. Add a term, or set replay.images: none.",
        )
    if method.anchor.kind == "adaptive_fisher" and not method.terms:
        yield (
            f"{place}.anchor.kind",
            "adaptive_fisher is measured on the terms, and there are none. Use uniform or none.",
        )


def _check_training(config: Config) -> Findings:
    training, count = config.training, config.prompts.images_per_task
    if training.warmup_steps >= training.steps:
        what = f"{training.warmup_steps} should be fewer than training.steps ({training.steps})"
        yield "training.warmup_steps", f"{what}. Lower it, or train for more steps."
    if training.crop_scale[0] > training.crop_scale[1]:
        yield "training.crop_scale", f"{list(training.crop_scale)} should rise. Write the smaller share first."
    if count < training.replay_batch_size:
        what = f"{count} images cannot fill a replay batch ({training.replay_batch_size})"
        yield "prompts.images_per_task", f"{what}. Raise it, or lower training.replay_batch_size."


def _check_vocabulary(config: Config) -> Findings:
    name = config.prompts.base_vocabulary
    if name not in VOCABULARIES and not looks_like_path(name):
        hint = did_you_mean(name, VOCABULARIES)
        yield "prompts.base_vocabulary", f"unknown vocabulary {name!r}. {hint} Or write the path of a text file."


def looks_like_path(name: str) -> bool:
    """True where a vocabulary's name can only be a text file's: "my_words.txt", "lists/words"."""
    return "/" in name or "\\" in name or "." in name


def _twice(names: Iterable[str]) -> list[str]:
    listed = list(names)
    return sorted({name for name in listed if listed.count(name) > 1})

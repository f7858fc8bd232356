"""What no single section can know: names that must exist elsewhere in the file, numbers that must fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gift_core.config.experiment import Config
from gift_core.config.generator_checks import PROMPT_FILES, check_generator, check_prompts, is_watched, unwatched
from gift_core.config.methods import MethodConfig, ReferenceReplayConfig, TaughtReplay, Terms
from gift_core.config.task_checks import check_tasks
from gift_core.errors import did_you_mean

Findings = Iterator[tuple[str, str]]
START = "../pretrained"  # beside a method's models lies the pre-trained one
RESERVED = ("pretrained", "base", "vocabularies")
KINDS = {
    "synthetic": "replay.images: synthetic",
    "real": "task, exemplars or reference",
    "none": "the others",
}
REFERENCES = "data/0_raw/reference/"
VOCABULARIES = ("imagenet", "mini", "none")
_NAME = re.compile(r"[a-z0-9_]+")


def cross_check(config: Config) -> list[tuple[str, str]]:
    """Returns [(dotted path, "what is wrong. Remedy")], empty where all fits."""
    checks = (
        _check_names, check_tasks, _check_run, _check_sequence, _check_methods, _check_training, _check_protocol,
        _check_vocabulary, check_generator, check_prompts,
    )  # fmt: skip
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
    wanted = {f"replay_{kind}": _reading(config, kind) for kind in KINDS}
    for key, names in wanted.items():
        found = getattr(run, key)
        if sorted(found) != sorted(set(names)):
            what = f"should be [{', '.join(names)}], it is [{', '.join(found)}]"
            yield f"run.{key}", f"{what}. Write {_lists(wanted)}."


def _reading(config: Config, kind: str) -> list[str]:
    return [name for name in config.run.methods if config.methods[name].replay.reads == kind]


def _lists(wanted: dict[str, list[str]]) -> str:
    return ", ".join(
        f"{key}: [{', '.join(names)}] ({KINDS[key.removeprefix('replay_')]})" for key, names in wanted.items()
    )


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
        if name in config.run.methods:
            yield from _check_lengths(f"methods.{name}", method, config.training.steps)


def _check_method(place: str, method: MethodConfig) -> Findings:
    yield from _check_replay(place, method)
    yield from _check_learning(place, method)
    anchor, kind = method.anchor, method.anchor.kind
    if anchor.needs_terms and not method.terms:
        yield f"{place}.anchor.kind", f"{kind} is measured on the terms, and there are none. Use uniform or none."
    fisher = getattr(method.replay, "fisher", None)
    if anchor.needs_fisher and fisher is None:
        what = f"{kind} needs the Fisher diagonals of the teacher, and none are estimated"
        remedy = "Add to a replay of pairs (synthetic, reference) fisher: {estimator: per_sample, accumulate: false}"
        yield f"{place}.anchor.kind", f"{what}. {remedy}, or use uniform or none."
    if fisher is not None and not anchor.needs_fisher:
        what = f"estimated for nothing: the anchor {kind} does not read it"
        yield f"{place}.replay.fisher", f"{what}. Leave it out, or write anchor.kind: static_fisher."


def _check_replay(place: str, method: MethodConfig) -> Findings:
    replay, replays = method.replay, method.replay.reads != "none"
    names = [name for name, _ in method.terms.items()]
    if names and not replays:
        what = f"{', '.join(names)}: a term needs replay"
        yield f"{place}.terms", f"{what}. Set replay.images to synthetic, or write terms: {{}}."
    if replays and not names and getattr(replay, "fisher", None) is None:
        what = "empty, so nothing would be learned from the replay"
        yield f"{place}.terms", f"{what}. Add a term, or set replay.images: none."
    for name, options in method.terms.items():
        if options.pairs_only and replays and not replay.pairs:
            what = f"needs images with their own texts, and {replay.images} replays no pairs"
            yield f"{place}.terms.{name}", f"{what}. Set replay.images to synthetic, or leave the term out."
    if isinstance(replay, TaughtReplay) and (replay.teacher == "mix") != (replay.teacher_alpha is not None):
        what = "the share of the model before the task belongs to teacher: mix, and to it alone"
        yield f"{place}.replay.teacher_alpha", f"{what}. Write teacher: mix and teacher_alpha: 0.5, or neither."
    if isinstance(replay, ReferenceReplayConfig) and not replay.folder.startswith(REFERENCES):
        what = f"{replay.folder} lies outside {REFERENCES}, where the pipeline watches for changes"
        yield f"{place}.replay.folder", f"{what}. Move or link it there."


def _check_learning(place: str, method: MethodConfig) -> Findings:
    if method.learns != "nothing":
        if method.learning_rate is None:
            yield f"{place}.learning_rate", "empty (null), but the method learns. Write a rate: 1.0e-5."
        return
    if method.learning_rate is not None:
        yield f"{place}.learning_rate", "learns: nothing has no rate. Write learning_rate: null."
    extra = [key for key in ("replay", "terms", "anchor", "average", "merge") if not _is_empty(getattr(method, key))]
    if extra:
        yield f"{place}.{extra[0]}", "learns: nothing takes no step, so this would do nothing. Leave it empty."


def _check_lengths(place: str, method: MethodConfig, steps: int) -> Findings:
    if method.average is not None and method.average.every > steps:
        what = f"{method.average.every} is more than training.steps ({steps}), so the mean would be the start weights"
        yield f"{place}.average.every", f"{what}. Lower it."
    frozen_after = getattr(method.anchor, "steps", 1)
    if frozen_after >= steps > 1:
        what = f"{frozen_after} should be fewer than training.steps ({steps}), or nothing is ever frozen"
        yield f"{place}.anchor.steps", f"{what}. Lower it, or use adaptive_fisher."


def _is_empty(slot: object) -> bool:
    named_none = "none" in (getattr(slot, "images", ""), getattr(slot, "kind", ""))
    return slot is None or named_none or (isinstance(slot, Terms) and not slot)


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


def _check_protocol(config: Config) -> Findings:
    if config.evaluation.protocol != "class_incremental":
        return
    for name in config.run.methods:
        if name in config.methods and config.methods[name].keeps_every_model:
            what = f"{name} keeps a model of its own for every task, and class_incremental asks one among all classes"
            yield "run.methods", f"{what}. Take it out, or write evaluation.protocol: task_incremental."


def _check_vocabulary(config: Config) -> Findings:
    name = config.prompts.base_vocabulary
    if name not in VOCABULARIES and not looks_like_path(name):
        hint = did_you_mean(name, VOCABULARIES)
        yield "prompts.base_vocabulary", f"unknown vocabulary {name!r}. {hint} Or write the path of a text file."
    elif name not in VOCABULARIES and not is_watched(name, PROMPT_FILES):
        yield "prompts.base_vocabulary", unwatched(name, PROMPT_FILES)


def looks_like_path(name: str) -> bool:
    """True where a vocabulary's name can only be a text file's: "my_words.txt", "lists/words"."""
    return "/" in name or "\\" in name or "." in name


def _twice(names: Iterable[str]) -> list[str]:
    listed = list(names)
    return sorted({name for name in listed if listed.count(name) > 1})

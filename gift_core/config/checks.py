"""Checks that involve several sections of params.yaml: names that must exist, numbers that must fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gift_core.config.experiment import Config, check_generator, check_watched
from gift_core.config.method_options import MethodConfig
from gift_core.config.replay_options import TaughtReplay
from gift_core.config.tasks import check_tasks, has_captions
from gift_core.errors import UserError, did_you_mean

Findings = Iterator[tuple[str, str]]
NO_TASK, ADD_TASK = "there is no task to learn yet", "gift add-task NAME --images FOLDER"
START = "../pretrained"  # the pre-trained model is stored beside the folders of the methods' models
RESERVED = ("pretrained", "base", "vocabularies", "seen")
PROMPT_FILES = "data/0_raw/prompts/"
REFERENCES = "data/0_raw/reference/"
VOCABULARIES = ("imagenet", "mini", "none")
# Names become parts of file names and shell commands.
_NAME = re.compile(r"[a-z0-9_]{1,64}")


def cross_check(config: Config) -> Findings:
    """Yields (dotted path, "what is wrong. Remedy"); nothing if everything fits."""
    for section in ("tasks", "methods"):
        for name in getattr(config, section):
            yield from check_name(f"{section}.{name}", name)
    for check in (_check_names, _check_sequence, _check_methods, _check_training, _check_protocol, _check_prompts):
        yield from check(config)
    yield from check_tasks(config.tasks)
    yield from check_generator(config.generator)


def require_task(config: Config, name: str) -> None:
    """Raises UserError if there is no task to learn, as at first in bring_your_own. `name` is that of the params file.

    Such a file is valid until something should run.
    """
    if not config.sequence:
        raise UserError(f"{name}: {'sequence' if config.tasks else 'tasks'}: {NO_TASK}. Add one: {ADD_TASK}")


def check_name(key: str, name: str) -> Findings:
    """Yields (key, "what is wrong. Remedy") for what cannot be the name of a task or a method."""
    if not _NAME.fullmatch(name):
        yield key, "invalid name. Use 1 to 64 of the characters a-z, 0-9 and _."
    if name in RESERVED:
        yield key, f"reserved name. Choose another one than {', '.join(RESERVED)}."


def _check_names(config: Config) -> Findings:
    if {"/", "\\"} & set(config.experiment):
        yield "experiment", f"{config.experiment!r} looks like a path, and it is a name. Leave out / and \\."
    for name in config.run.methods:
        if name not in config.methods:
            more = "gift add-method NAME adds one of the catalogue (gift methods)."
            yield "run.methods", f"unknown method {name!r}. {did_you_mean(name, config.methods)} {more}"
    learned = {f"sequence[{index}].task": step.task for index, step in enumerate(config.sequence)}
    probes = config.evaluation.probes
    for key, name in [*learned.items(), *(("evaluation.probes", name) for name in probes)]:
        if name not in config.tasks:
            yield key, f"unknown task {name!r}. {did_you_mean(name, config.tasks)}"
    for name in probes:
        if name in learned.values():
            problem = f"{name!r} is in the sequence, and a probe is a task that no step learns"
            yield "evaluation.probes", f"{problem}. Remove it from one of them."


def _check_sequence(config: Config) -> Findings:
    before = [START]
    for index, step in enumerate(config.sequence):
        if step.task in before:
            yield "sequence", f"task {step.task!r} has more than one step. Remove one."
        if step.after != before[-1]:
            why = "the task of the step before" if index else "the first step starts from the pre-trained model"
            problem = f"should be {before[-1]}, not {step.after}. Write after: {before[-1]} ({why})."
            yield f"sequence[{index}].after", problem
        before.append(step.task)


def _check_methods(config: Config) -> Findings:
    for name, method in config.methods.items():
        key = f"methods.{name}"
        consolidation = method.consolidation
        kind = consolidation.kind
        yield from _check_replay(key, method)
        yield from _check_learning(key, method)
        yield from check_trains(key, method)
        if consolidation.needs_losses and not method.losses:
            problem = f"{kind} needs the gradients of the losses, and there are none"
            yield f"{key}.consolidation.kind", f"{problem}. Add a loss, or use uniform or none."
        fisher = getattr(method.replay, "fisher", None)
        if consolidation.needs_fisher and fisher is None:
            problem = f"{kind} needs the teacher's Fisher information, which is not estimated"
            remedy = (
                "Add to a replay with pairs (synthetic, reference) fisher: {estimator: per_sample, accumulate: false}"
            )
            yield f"{key}.consolidation.kind", f"{problem}. {remedy}, or use uniform or none."
        if fisher is not None and not method.uses_fisher:
            problem = f"the Fisher information is not used by consolidation {kind}"
            yield f"{key}.replay.fisher", f"{problem}. Remove it, or write consolidation.kind: static_fisher."
        # the three iterations of a rehearsal say nothing: those of the experiment were checked
        if name in config.run.methods and config.rehearsal is None:
            yield from check_lengths(key, method, config.training.iterations)


def _check_replay(key: str, method: MethodConfig) -> Findings:
    replay = method.replay
    replays = replay.reads != "none"
    if method.losses and not replays:
        names = ", ".join(name for name, _ in method.losses.items())
        yield f"{key}.losses", f"{names}: a loss needs replay. Set replay.images to synthetic, or write losses: {{}}."
    if replays and not method.losses and getattr(replay, "fisher", None) is None:
        yield f"{key}.losses", "empty, so the replay has no effect. Add a loss, or set replay.images: none."
    for name, options in method.losses.items():
        if options.pairs_only and replays and not replay.pairs:
            problem = f"needs images with their own texts, which replay.images: {replay.images} does not have"
            yield f"{key}.losses.{name}", f"{problem}. Set replay.images to synthetic, or remove the loss."
    if isinstance(replay, TaughtReplay) and (replay.teacher == "mix") != (replay.teacher_alpha is not None):
        problem = "is set for teacher: mix, and only for it"
        yield f"{key}.replay.teacher_alpha", f"{problem}. Write teacher: mix and teacher_alpha: 0.5, or neither."
    for name in replay.watched:
        yield from check_watched(f"{key}.replay.{name}", getattr(replay, name), REFERENCES)


def _check_learning(key: str, method: MethodConfig) -> Findings:
    if method.learns != "nothing":
        if method.learning_rate is None:
            yield f"{key}.learning_rate", "empty (null), but the method learns. Write a rate: 1.0e-5."
        return
    used = [name for name in ("learning_rate", "losses", "average", "merge", "trains", "layer_decay")
            if getattr(method, name)]  # fmt: skip
    if method.replay.reads != "none":
        used.append("replay")
    if method.consolidation.kind != "none":
        used.append("consolidation")
    if used:
        yield f"{key}.{used[0]}", "has no effect with learns: nothing. Leave it empty (null, {} or none)."


def check_trains(key: str, method: MethodConfig) -> Findings:
    """Yields what in a method's row does not fit the part of the model that is trained."""
    trains, consolidation = method.trains, method.consolidation
    if trains is None:
        return
    for name, options in method.losses.items():
        if trains.kind in ("image_tower", "text_tower") and options.trains_only not in (None, trains.kind):
            problem = f"has no effect, since it has gradients for the {options.trains_only} only"
            yield f"{key}.losses.{name}", f"{problem}. Remove it, or change trains.kind: {trains.kind}."
    if trains.is_merged and consolidation.needs_fisher:
        problem = f"has the Fisher information of the weights, and {trains.kind} trains other parameters"
        yield f"{key}.consolidation.kind", f"{consolidation.kind} {problem}. Use adaptive_fisher, uniform or none."
    if trains.is_merged and method.average is not None:
        problem = f"a mean of weights, and {trains.kind} trains other parameters, which have none"
        yield f"{key}.average", f"{problem}. Remove it, or use merge, which acts on the merged weights."


def check_lengths(key: str, method: MethodConfig, iterations: int) -> Findings:
    """Yields what in a method's row does not fit the number of iterations per task."""
    if method.average is not None and method.average.every > iterations:
        problem = f"{method.average.every} is more than training.iterations ({iterations}), so nothing is averaged"
        yield f"{key}.average.every", f"{problem}. Lower it."
    frozen_after = getattr(method.consolidation, "iterations", 1)
    if frozen_after >= iterations > 1:
        problem = f"{frozen_after} should be less than training.iterations ({iterations}), or nothing is ever frozen"
        yield f"{key}.consolidation.iterations", f"{problem}. Lower it, or use adaptive_fisher."


def _check_training(config: Config) -> Findings:
    training = config.training
    count = config.prompts.images_per_task
    if training.warmup_iterations >= training.iterations:
        problem = f"{training.warmup_iterations} should be less than training.iterations ({training.iterations})"
        yield "training.warmup_iterations", f"{problem}. Lower it, or train for more iterations."
    if training.crop_scale[0] > training.crop_scale[1]:
        yield "training.crop_scale", f"{list(training.crop_scale)} should ascend. Write the smaller number first."
    if count < training.replay_batch_size and config.rehearsal is None:
        problem = f"{count} images cannot fill a replay batch ({training.replay_batch_size})"
        yield "prompts.images_per_task", f"{problem}. Raise it, or lower training.replay_batch_size."
    smallest = min(training.batch_size, training.replay_batch_size)
    if training.processes > smallest:
        problem = f"{training.processes} processes share a batch of {smallest} images, so some would have none"
        yield "training.processes", f"{problem}. Lower it, or raise training.batch_size and training.replay_batch_size."
    if training.processes > 1 and (config.run.device == "mps" or ":" in config.run.device):
        problem = f"{config.run.device} is one device, which {training.processes} processes cannot share"
        yield "run.device", f"{problem}. Write cuda, auto or cpu, or training.processes: 1."


def _check_protocol(config: Config) -> Findings:
    protocol = config.evaluation.protocol
    if protocol.own_classes:
        return
    reason = f"but {protocol.name} tests one model on the classes of all tasks"
    remedy = "or write evaluation.protocol: task_incremental."
    for name in config.run.methods:
        if name in config.methods and config.methods[name].keeps_every_model:
            yield "run.methods", f"{name} has one model per task, {reason}. Remove it, {remedy}"
    for step in config.sequence:
        if step.task in config.tasks and has_captions(config.tasks[step.task]):
            yield "sequence", f"{step.task} has captions, {reason}. Remove the task, {remedy}"


def _check_prompts(config: Config) -> Findings:
    vocabulary, captions = config.prompts.base_vocabulary, config.prompts.captions
    if {"/", "\\", "."} & set(vocabulary):  # a path
        yield from check_watched("prompts.base_vocabulary", vocabulary, PROMPT_FILES)
    elif vocabulary not in VOCABULARIES:
        hint = did_you_mean(vocabulary, VOCABULARIES)
        yield "prompts.base_vocabulary", f"unknown vocabulary {vocabulary!r}. {hint} Or write the path of a text file."
    if captions is not None:
        yield from check_watched("prompts.captions", captions, PROMPT_FILES)
    if (config.prompts.strategy == "captions") != (captions is not None):
        problem = "a file of captions is for strategy: captions, and only for it"
        yield "prompts.captions", f"{problem}. Write captions: {PROMPT_FILES}captions.csv, or captions: null."

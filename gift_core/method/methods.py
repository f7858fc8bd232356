"""A method is data: its row in params.yaml fills the slots of the training loop. No method has code of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gift_core.artifacts.task import CLASSES, PAIRS, index_task, read_task
from gift_core.artifacts.teacher_files import FISHER, read_fisher, require_unchanged
from gift_core.clip.batches import JointImages, TaskBatches, TrainingImages, TrainingPairs
from gift_core.clip.encoding import class_prompts, require_distinct_rows
from gift_core.clip.images import CacheBudget
from gift_core.clip.layers import layer_factors
from gift_core.clip.model import Clip
from gift_core.clip.trained import TRAINS, Trains, everything
from gift_core.config.own_code import own_code
from gift_core.method.averaging import Interpolation, Parameters, RunningMean, WeightAveraging
from gift_core.method.consolidation import CONSOLIDATIONS, Consolidation
from gift_core.method.loaded_code import load, takes_fisher
from gift_core.method.losses import (
    LOSSES,
    SCALE,
    TEMPERATURE,
    Loss,
    distill_both_directions,
    distill_vocabulary,
    similarities,
)
from gift_core.method.pair_features import taken_by
from gift_core.method.replay.source import Replay, StepReplay

if TYPE_CHECKING:
    from gift_core.config.experiment import TrainingConfig
    from gift_core.config.method_options import MethodConfig


@dataclass(frozen=True)
class WeightedLoss:
    """A replay loss and its weight in the total.

    Args:
        weight: the factor of the loss in the sum of all losses.
        function: takes features by the names of its parameters (see PairFeatures.evaluate); returns a scalar.
        entropy: of a cross-entropy against the teacher: the smallest value it can have, by a function like `function`.
    """

    weight: float
    function: Loss
    entropy: Loss | None = None


@dataclass(frozen=True)
class Method:
    """What the training loop needs of a method.

    `losses` are the replay losses by name. `build_consolidation` takes the trained parameters at the start of a task,
    `build_averages` the weights that training changes. By default the weights stay as the last iteration left them.
    `trains` says what is trained, and `rate_factors` the factor on the learning rate of each parameter, 1 if left out.
    """

    losses: Mapping[str, WeightedLoss]
    build_consolidation: Callable[[Parameters], Consolidation]
    build_averages: Callable[[Parameters], tuple[WeightAveraging, ...]] = lambda parameters: ()
    trains: Trains = everything
    rate_factors: Callable[[Clip, Iterable[str]], Mapping[str, float]] = lambda clip, names: {}


def build_method(
    config: MethodConfig, *, fisher: Mapping[str, torch.Tensor] | None = None, root: Path = Path()
) -> Method:
    """Returns the method that `config` describes; `fisher` holds the teacher's diagonals by name (see load_fisher).

    Losses and a consolidation of the user's own are in files below `root`, that of the project. UserError if they
    cannot be loaded.
    """
    functions = dict(LOSSES)
    consolidation = CONSOLIDATIONS.get(config.consolidation.kind)
    for code in own_code("method", config):
        if code.is_loss:
            functions[code.name] = load(code, root)
        else:
            consolidation = load(code, root)
    assert consolidation is not None, "the checks of params.yaml know every kind"
    build = consolidation
    options = config.consolidation.keywords()
    if takes_fisher(build):
        options["fisher"] = fisher or {}
    losses = {}
    for name, loss in config.losses.items():
        entropy = partial(ENTROPIES[name], **loss.keywords()) if name in ENTROPIES else None
        losses[name] = WeightedLoss(loss.weight, partial(functions[name], **loss.keywords()), entropy)

    def build_averages(parameters: Parameters) -> tuple[WeightAveraging, ...]:
        # the running mean comes first: the interpolation mixes it with the start weights
        mean = [RunningMean(parameters, every=config.average.every)] if config.average else []
        mix = [Interpolation(parameters, alpha=config.merge.alpha)] if config.merge else []
        return (*mean, *mix)

    chosen: dict[str, Any] = {}
    if config.trains is not None:
        chosen["trains"] = partial(TRAINS[config.trains.kind], **config.trains.keywords())
    if config.layer_decay is not None:
        chosen["rate_factors"] = partial(layer_factors, decay=config.layer_decay)
    return Method(
        losses=losses,
        build_consolidation=lambda parameters: build(parameters, **options),
        build_averages=build_averages,
        **chosen,
    )


def load_replay(method: Method, clip: Clip, replay: StepReplay[Any]) -> Replay | None:
    """Returns the batches of `replay`; None for a method without replay losses.

    ContractError where a file of the teacher's folder was changed.
    """
    if replay.options.images != "none":
        require_unchanged(replay.source.teacher)
    taken = {name for loss in method.losses.values() for name in taken_by(loss.function)}
    return replay.load(clip, taken) if method.losses else None


def load_fisher(config: MethodConfig, teacher: Path) -> dict[str, torch.Tensor]:
    """Returns the diagonals that the stage teach wrote into `teacher`, by name; empty where none are needed."""
    if not config.uses_fisher:
        return {}
    return {name: torch.from_numpy(values) for name, values in read_fisher(teacher / FISHER).diagonals.items()}


@dataclass(frozen=True)
class TrainingData:
    """The task images of one step of the sequence, the number of iterations to train on them, and what they are."""

    batches: TaskBatches
    iterations: int
    summary: str


def load_training_data(
    config: MethodConfig,
    clip: Clip,
    tasks: Sequence[Path],
    *,
    training: TrainingConfig,
    names: tuple[str | int, ...],
) -> TrainingData:
    """Returns what the method learns in the step of the last of `tasks`, the folders of all tasks so far.

    The seed of the batches depends on `names` and the task only, so all methods see the same batches.
    """
    images = []
    cache_budget = CacheBudget()  # one for all tasks
    for folder in LEARNS[config.learns](tasks):
        info = read_task(folder)
        prompts = class_prompts(info.class_names, info.templates)
        if info.kind == CLASSES:
            require_distinct_rows(prompts, clip.tokenizer(prompts), f"task {info.name}: prompts of the classes")
        images.append(
            TRAINING_BATCHES[info.kind](
                clip,
                index_task(folder, "train"),
                class_prompts=prompts,
                batch_size=training.batch_size,
                crop_scale=training.crop_scale,
                names=(*names, info.name),
                cache_budget=cache_budget,
            )
        )
    batches = images[0] if len(images) == 1 else JointImages(images, names)
    return TrainingData(batches, training.iterations * len(images), batches.summary)


# By the kind of task.
TRAINING_BATCHES: Mapping[str, Callable[..., TrainingImages]] = {CLASSES: TrainingImages, PAIRS: TrainingPairs}
# By the value of `learns` in params.yaml: which of the tasks so far.
LEARNS: Mapping[str, Callable[[Sequence[Path]], Sequence[Path]]] = {
    "task": lambda tasks: tasks[-1:],
    "seen": lambda tasks: tasks,
    "nothing": lambda tasks: (),
}


def distill_entropy(
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    scale: float | torch.Tensor = SCALE,
) -> torch.Tensor:
    """Returns the smallest value that `distill` and its one-sided forms can have: the entropy of the teacher.

    It is the entropy of softmax(Z / T), times T^2, over the rows plus over the columns. `distill` minus this is the KL
    divergence of the student from the teacher, KL(teacher || student), times T^2; 0 where both agree. No gradient.
    """
    with torch.no_grad():
        teacher_MM = similarities(teacher_image_MD, teacher_text_MD, scale)
        return distill_both_directions(teacher_MM, teacher_MM, temperature=temperature)


def distill_vocabulary_entropy(
    vocabulary_text_PD: torch.Tensor,
    all_image_ND: torch.Tensor,
    prompt_ids_M: torch.Tensor,
    image_ids_M: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    scale: float | torch.Tensor = SCALE,
) -> torch.Tensor:
    """Returns the smallest value that `distill_vocabulary` can have, as `distill_entropy` does for `distill`."""
    pairs = all_image_ND[image_ids_M], vocabulary_text_PD[prompt_ids_M], vocabulary_text_PD, all_image_ND
    with torch.no_grad():
        return distill_vocabulary(*pairs, prompt_ids_M, image_ids_M, temperature=temperature, scale=scale)


# Of the losses that are a cross-entropy against the teacher: the teacher's entropy, with the options of the loss.
ENTROPIES: Mapping[str, Loss] = {
    "distill": distill_entropy,
    "distill_image_side": distill_entropy,
    "distill_text_side": distill_entropy,
    "distill_vocabulary": distill_vocabulary_entropy,
}

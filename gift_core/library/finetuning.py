"""Fine-tuning of the caller's model in one call, by the loop of the pipeline.

A method is a name of the paper's preset, or a row as in params.yaml, with losses of the caller's own.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gift_core.artifacts.model_folder import ENTROPY
from gift_core.clip.architectures import misfit
from gift_core.config.checks import check_lengths, check_trains
from gift_core.config.experiment import TrainingConfig
from gift_core.config.loading import parse_part
from gift_core.config.method_options import MethodConfig
from gift_core.config.own_code import FEATURES
from gift_core.config.presets import load_preset
from gift_core.config.section import MAX_RATE, MIN_RATE
from gift_core.errors import UserError, lookup
from gift_core.layout import shipped_root
from gift_core.library.given_model import (
    NAME,
    LoaderBatches,
    Tokenizer,
    given_clip,
    refused,
    require_model,
    require_number,
)
from gift_core.library.given_pairs import given_replay
from gift_core.method.averaging import released_weights
from gift_core.method.loaded_code import OTHER_COLUMNS, require_working
from gift_core.method.losses import Loss
from gift_core.method.methods import Method, WeightedLoss, build_method
from gift_core.method.pair_features import taken_by
from gift_core.method.training.loop import LossRow, learning_rates, require_trainable, sampled, training_run
from gift_core.progress import progress


@dataclass(frozen=True)
class Training:
    """How `finetune` trains. The defaults are those of the paper's benchmark (presets/mtil_order_1.yaml).

    Args:
        warmup_iterations: over which the learning rate rises; None: a tenth of all, as in the paper (100 of 1,000).
        replay_batch_size: pairs in an iteration; of no effect where `pairs` is a loader, which has its own batches.
        weight_decay: of AdamW.
        betas: of AdamW.
        label_smoothing: of the task loss, 0 to 1.
        precision: fp32, amp_bf16 or amp_fp16. Weights stay float32. The last two run the towers under autocast.
        micro_batch_size: encode this many images or texts at once, with the gradients of the whole batch (gradient
            caching); None: all of them. It saves memory and costs one more forward pass.
        gradient_checkpointing: compute activations again in the backward pass, which saves memory, too.
    """

    warmup_iterations: int | None = None
    replay_batch_size: int = 64
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    label_smoothing: float = 0.2
    precision: str = "fp32"
    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False

    def config(self, iterations: int) -> TrainingConfig:
        """Returns the section `training` of params.yaml. UserError names the setting that is wrong."""
        tenth = iterations // 10 if isinstance(iterations, int) else 0  # another type is refused below
        warmup = tenth if self.warmup_iterations is None else self.warmup_iterations
        settings = dataclasses.asdict(self) | {"iterations": iterations, "warmup_iterations": warmup}
        del settings["precision"]
        # of no effect: batches and crops are those of the caller's loader
        settings |= {"batch_size": 1, "crop_scale": (1.0, 1.0)}
        config = parse_part(TrainingConfig, settings, name=NAME, key="training")
        if warmup >= iterations:
            problem = f"{warmup} should be less than the number of iterations ({iterations})"
            raise UserError(f"{NAME}: training.warmup_iterations: {problem}. Lower it, or leave it out.")
        return config


def checked_settings(training: Any, settings: Mapping[str, Any], *, seed: Any, on_step: Any) -> Training:
    """Returns `training` with these `settings`. UserError for a name that is no keyword argument of `finetune`."""
    require_number("seed", seed, 0, 2**63 - 1, example=42)
    if not callable(on_step):
        raise refused("on_step", on_step, "a function of a row. Try on_step=print.")
    if not isinstance(training, Training):
        raise refused("training", training, "gift_core.Training. Pass its fields by name: replay_batch_size=16.")
    known = dict.fromkeys([*inspect.getfullargspec(inspect.unwrap(finetune)).kwonlyargs, *vars(training)])
    for name in settings:
        lookup(known, name, f"{NAME}: finetune")
    return dataclasses.replace(training, **settings)


PAPER = Training()


@torch.inference_mode(False)  # also where the caller has turned gradients off
@torch.enable_grad()
def finetune(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    loader: Iterable[Any],
    class_prompts: Sequence[str],
    *,
    pairs: Any = None,
    teacher: torch.nn.Module | None = None,
    method: str | Mapping[str, Any] = "gift",
    iterations: int = 1000,
    learning_rate: float | None = None,
    training: Training = PAPER,
    fisher: Mapping[str, torch.Tensor] | None = None,
    device: str | torch.device | None = None,
    seed: int = 42,
    on_step: Callable[[LossRow], None] = lambda row: None,
    **settings: Any,
) -> list[LossRow]:
    """Fine-tune an open_clip model in place without forgetting; return one row of losses for each iteration.

    UserError says what does not fit and what to do, mostly before training.

    Args:
        model: of open_clip, float32. It is left in evaluation mode. Parameters without requires_grad are not trained.
        tokenizer: the model's own (open_clip.get_tokenizer).
        loader: yields (images [B, 3, S, S] after the model's own transform, labels [B]). It may be a DataLoader.
        class_prompts: one for each class, in the order of the labels: "a photo of a cat.".
        pairs: the replay: a sequence or data set of (image or its path, prompt), or a loader of (images, prompts).
        teacher: the model to distill from; None: `model` as it is now.
        method: a name of the paper's preset, or a row (see method_row).
        iterations: batches to train on; 1,000 in the paper.
        learning_rate: the peak; None: that of the method's row, 1e-5 in the paper.
        training: all other settings. Its fields are keyword arguments, too (`settings`): replay_batch_size=16.
        fisher: for consolidation static_fisher: diagonals by parameter name (see estimate_fisher).
        device: the model is moved there; None: it stays where it is.
        seed: of torch's random numbers during training, such as the loader's shuffling, and of the order of `pairs`.
        on_step: called after each iteration with its row: iteration, learning_rate, task, the losses, total.
    """
    training = checked_settings(training, settings, seed=seed, on_step=on_step)
    config, (row, built) = training.config(iterations), given_method(method, iterations, learning_rate, fisher)
    rates = learning_rates(iterations, warmup_iterations=config.warmup_iterations, peak=row.learning_rate or RATE)
    with given_clip(model, tokenizer, precision=training.precision, device=device) as clip:
        require_trainable(clip, config, built)
        task = LoaderBatches(clip, loader, class_prompts)
        replay = given_replay(clip, built.losses, pairs, teacher=teacher, asked=row.replay, training=config, seed=seed)
        with training_run(clip, class_prompts, method=built, training=config, rates=rates, seed=seed) as run:
            batches = progress(sampled(task, replay, range(iterations)), iterations, "iterations")
            for iteration in run.iterations(batches):
                on_step(run.add(iteration))
    return run.rows


def released(model: torch.nn.Module, pretrained: Mapping[str, torch.Tensor], *, alpha: float) -> torch.nn.Module:
    """Return a copy of the model to test and to hand out: pre-trained weights + alpha * what was learned since.

    `model` stays as it is, and the next task goes on from it. An alpha below 1 gives back some of the model's zero-shot
    ability. docs/methods.md (the slot `release`) says how to choose it.

    Args:
        model: the trained model, after any number of tasks.
        pretrained: copy.deepcopy(model.state_dict()) of before the first task: a tensor of the same shape for each
            name, on any device. Whole numbers, such as BatchNorm's counters, are those of `model`.
        alpha: 0 (the pre-trained model) to 1 (the trained one).

    Raises:
        UserError: an alpha outside of that range, or weights of another model.
    """
    require_model(model, "model")
    require_number("alpha", alpha, 0, 1, example=0.85)
    result = copy.deepcopy(model)
    problem = misfit(pretrained, result.state_dict())
    if problem:
        remedy = "Pass model.state_dict() of before the first task, copied"
        raise UserError(f"{NAME}: pretrained: its weights do not fit the model: {problem}. {remedy}.")
    result.load_state_dict(pretrained)
    result.load_state_dict(released_weights(model.state_dict(), result.state_dict(), alpha=float(alpha)))
    return result


PAPER_PRESET = shipped_root() / "presets" / "mtil_order_1.yaml"
RATE = 1e-5  # of the paper, for rows without one
GIVEN = ("none", "synthetic", "reference")  # replays whose pairs a caller can give
FROM_LIBRARY = {"images": "synthetic", "teacher": "previous"}


def method_row(name: str) -> dict[str, Any]:
    """Returns a method's row in the paper's preset as a dictionary of your own, to change and to pass to `finetune`.

    `method_row("gift")["consolidation"]` is {"kind": "adaptive_fisher", "weight": 1.0}. docs/methods.md explains the
    slots. UserError with the nearest name for an unknown one.
    """
    methods = load_preset(PAPER_PRESET).methods
    row: dict[str, Any] = lookup(methods, name, f"{NAME}: method").model_dump(mode="json", exclude_none=True)
    return row


def given_method(
    method: str | Mapping[str, Any],
    iterations: int,
    learning_rate: float | None,
    fisher: Mapping[str, torch.Tensor] | None,
) -> tuple[MethodConfig, Method]:
    """Returns the method by its name, or that of a row, and its row without the losses and consolidation of one's own.

    A row has the slots of docs/methods.md, which may all be left out. In `losses` a value may be a WeightedLoss, and
    `consolidation` may be a function from the trainable parameters to a Consolidation. A `file` is below the working
    folder. UserError for anything else that does not fit, and for methods that take more than pairs.
    """
    if learning_rate is not None:
        require_number("learning_rate", learning_rate, MIN_RATE, MAX_RATE, example=1e-5)
    if not isinstance(method, (str, Mapping)):
        raise refused("method", method, 'a name or a row. Write method="gift", or gift_core.method_row("gift").')
    row = method_row(method) if isinstance(method, str) else dict(method)
    losses = row.get("losses") or {}
    consolidation = row.get("consolidation") or {"kind": "none"}
    if not isinstance(losses, Mapping):
        raise refused("method.losses", losses, 'a dictionary. Write {"distill": {"weight": 1.0}}.')
    own = {name: loss for name, loss in losses.items() if isinstance(loss, WeightedLoss)}
    known = {name: options for name, options in losses.items() if name not in own}
    row |= {"losses": known, "consolidation": {"kind": "none"} if callable(consolidation) else consolidation}
    if learning_rate is not None:
        row["learning_rate"] = learning_rate
    defaults = {"learning_rate": RATE, "replay": FROM_LIBRARY if known else {"images": "none"}}
    config = parse_part(MethodConfig, defaults | row, name=NAME, key="method")
    for key, problem in _problems(config, replays=bool(losses), fisher=fisher, iterations=iterations):
        raise UserError(f"{NAME}: {key}: {problem}")
    try:
        require_working("method", config, Path())
    except UserError as error:  # files are those below the working folder
        raise UserError(str(error).replace("params.yaml", NAME)) from error
    for name, loss in own.items():
        _require_features(name, loss.function)
        _require_features(name, loss.entropy or loss.function)
    built = build_method(config, fisher=fisher)
    weighted = {**built.losses, **own}
    changes: dict[str, Any] = {"losses": {name: weighted[name] for name in losses}}
    if callable(consolidation):
        changes["build_consolidation"] = consolidation
    return config, dataclasses.replace(built, **changes)


def _problems(
    config: MethodConfig, *, replays: bool, fisher: Mapping[str, torch.Tensor] | None, iterations: int
) -> Iterator[tuple[str, str]]:
    """Yields what the library does not do, and slots that do not fit each other: the key, and what with a remedy."""
    images, consolidation = config.replay.images, config.consolidation
    if config.learns == "nothing":
        yield "method.learns: nothing", "there is nothing to train. Use the model as it is."
    if config.learns == "seen":
        remedy = "For several tasks, pass a loader of all of them with all their prompts, and method='finetune'."
        yield "method.learns: seen", f"the library trains on one loader. {remedy}"
    if config.release is not None:
        remedy = "Leave this slot out, and make a copy to hand out: gift_core.released(model, pretrained, alpha=0.85)."
        yield "method.release", f"finetune trains `model`, and the next task goes on from it. {remedy}"
    if replays and images not in GIVEN:
        remedy = "Write a row with the method's losses and pass its images with their texts as `pairs`"
        problem = f"the library replays the pairs that you give. {remedy}, or use the pipeline."
        yield f"method.replay.images: {images}", problem
    if consolidation.needs_losses and not replays:
        problem = "it uses the gradients of the replay losses, and there are none. Add a loss, or use uniform or none."
        yield f"method.consolidation.kind: {consolidation.kind}", problem
    if consolidation.needs_fisher != bool(fisher):
        needed = "static_fisher needs fisher=gift_core.estimate_fisher(model, tokenizer, pairs)"
        problem = f"{needed}, and no other kind uses it. Pass it, or leave it out."
        yield f"method.consolidation.kind: {consolidation.kind}", problem
    yield from check_lengths("method", config, iterations)
    yield from check_trains("method", config)


def _require_features(name: str, function: Loss) -> None:
    """Raises UserError if the loss's name cannot be a column, or a parameter is neither a feature nor has a default."""
    location = f"{NAME}: method.losses.{name}"
    if name.endswith(ENTROPY) or not name.isidentifier() or name in OTHER_COLUMNS:
        problem = f"a loss needs a name like my_loss, without {ENTROPY} at its end"
        raise UserError(f"{location}: {problem}, and not {', '.join(sorted(OTHER_COLUMNS))}.")
    try:
        inspect.signature(function).bind(**dict.fromkeys(taken_by(function)))
    except TypeError as error:  # Python names the parameter
        problem = f"{error}, which is no feature and has no default. Features: {', '.join(FEATURES)}"
        raise UserError(f"{location}: {problem}. Rename it, or bind it with functools.partial.") from None

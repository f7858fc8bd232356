"""The training loop: fine-tuning on one task while replay and weight consolidation protect what was learned before.

zero_grad -> backward(replay losses) -> consolidation.observe(gradients) -> backward(task loss)
-> consolidation.pull adds its gradient -> optimizer step -> weight averaging; after the last one, the average is kept
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from gift_core.artifacts.model_folder import ENTROPY
from gift_core.clip.batches import TaskBatches, TrainingBatch
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.layers import checkpointed
from gift_core.clip.model import Clip
from gift_core.clip.trained import training_mode
from gift_core.config.experiment import TrainingConfig
from gift_core.errors import UserError
from gift_core.method.averaging import WeightAveraging
from gift_core.method.consolidation import Consolidation
from gift_core.method.losses import NO_GRADIENT, Loss, pair_loss, task_loss, value_fault
from gift_core.method.methods import Method, WeightedLoss
from gift_core.method.pair_features import PairFeatures, ReplayBatch, sides_of
from gift_core.method.replay.source import Replay
from gift_core.method.training.encoders import EncoderStrategy, GradientCache
from gift_core.seeds import seed_for
from gift_core.torch_devices import own_random_numbers, seed_generators

LossRow = dict[str, float]
Sampled = tuple[TrainingBatch, ReplayBatch | None]
TASK_LOSSES: Mapping[str, Loss] = {"classes": task_loss, "pairs": pair_loss}  # by the kind of task
MAX_SKIPPED = 24  # iterations in a row: by then the loss scale is far below 1, so the scale is not the reason


@dataclass(frozen=True)
class Iteration:
    """An iteration that is done: its losses by name, in one tensor on the device of the model.

    The caller decides when to read them, because reading makes a GPU wait.
    """

    index: int
    learning_rate: float
    names: Sequence[str]
    losses: torch.Tensor
    skipped: bool | None = None  # under amp_fp16: whether the weights did not change

    def row(self) -> LossRow:
        losses = dict(zip(self.names, self.losses.tolist(), strict=True))
        if self.skipped:  # gradients that are not finite may make the penalty infinite or NaN
            losses["consolidation"] = 0.0
        total = math.fsum(value for name, value in losses.items() if not name.endswith(ENTROPY))
        row = {"iteration": self.index, "learning_rate": self.learning_rate, **losses, "total": total}
        return row if self.skipped is None else {**row, "skipped": float(self.skipped)}


@dataclass
class TrainingRun:
    """The training of a model on a task: all that an iteration changes, and the `rows` of losses so far.

    A row holds iteration, learning_rate, task, each replay loss by its name, consolidation, total. The losses are
    weighted, so total is their sum. Beside a cross-entropy against the teacher, such as distill, is distill_entropy:
    the teacher's entropy with the same weight, which is no part of total. Under amp_fp16 the row also holds skipped,
    which is 1 where the gradients were not finite and the weights did not change.
    """

    clip: Clip
    parameters: Mapping[str, torch.nn.Parameter]
    class_tokens_KL: torch.Tensor  # K classes, L tokens
    losses: Mapping[str, WeightedLoss]
    consolidation: Consolidation
    averages: Sequence[WeightAveraging]
    label_smoothing: float
    encoders: EncoderStrategy
    update: WeightUpdate
    rates: Sequence[float]
    rows: list[LossRow] = field(default_factory=list)

    def iterations(self, batches: Iterable[Sampled]) -> Iterator[Iteration]:
        """Trains with one batch after another, from the first iteration that has no row. Yields what is done.

        Give each iteration to `add`, which checks its losses. On the CPU they are also checked before the weights are
        updated.
        """
        for index, (batch, replayed) in enumerate(batches, start=len(self.rows)):
            losses = self.backward(batch, replayed)
            values = torch.stack([loss.detach().float() for loss in losses.values()])
            iteration = Iteration(index, self.rates[index], list(losses), values)
            if iteration.losses.device.type == "cpu" and not self.update.scaler.is_enabled():
                require_finite(iteration.row(), self.rows, self.clip.precision)
            iteration = replace(iteration, skipped=self.update(iteration.learning_rate))
            for average in self.averages:
                average.observe(index + 1, self.parameters)
            yield iteration

    def add(self, iteration: Iteration) -> LossRow:
        """Appends the row of an iteration to `rows`, and returns it. UserError for a loss that is not finite."""
        row = iteration.row()
        require_finite(row, self.rows, self.clip.precision)
        self.update.count_skipped(iteration.skipped)
        self.rows.append(row)
        return row

    def backward(self, batch: TrainingBatch, replayed: ReplayBatch | None) -> dict[str, torch.Tensor]:
        """Returns the weighted losses by name, and leaves the gradient of their sum in `.grad` of the parameters.

        Beside them are the entropies of the teacher (ENTROPY), which have no gradient and are not in the sum.
        The order matters: consolidation observes the gradients of the replay losses before those of the task loss are
        added. It observes them multiplied by the loss scale, which its importance does not depend on. The gradient of
        the penalty is added last, to gradients without the scale.
        """
        self.update.optimizer.zero_grad()
        encoders = self.encoders
        losses = dict[str, torch.Tensor]()
        images, tokens = partial(encoders.encode, encode_images), partial(encoders.encode, encode_tokens)
        if replayed is not None:
            features = PairFeatures(replayed, images, tokens, self.clip.scale)
            for name, loss in self.losses.items():
                value = features.evaluate(loss.function)
                require_value(value, name, has_gradient=not self.rows)  # later batches may have nothing for it
                losses[name] = loss.weight * value
                if loss.entropy is not None:
                    entropy = features.evaluate(loss.entropy)
                    require_value(entropy, name, has_gradient=False)
                    losses[f"{name}{ENTROPY}"] = loss.weight * entropy
            summed = [value for name, value in losses.items() if not name.endswith(ENTROPY)]
            encoders.backward(self.update.scaler.scale(torch.stack(summed).sum()))
        self.consolidation.observe({name: parameter.grad for name, parameter in self.parameters.items()})
        task = TASK_LOSSES[batch.kind](
            images(batch.images_BCHW),
            tokens(batch.texts(self.class_tokens_KL)),
            **batch.targets,
            scale=self.clip.scale,
            label_smoothing=self.label_smoothing,
        )
        encoders.backward(self.update.scaler.scale(task))
        self.update.scaler.unscale_(self.update.optimizer)
        return {"task": task, **losses, "consolidation": self.consolidation.pull(self.parameters)}


@contextmanager
def training_run(
    clip: Clip,
    class_prompts: Sequence[str],
    *,
    method: Method,
    training: TrainingConfig,
    rates: Sequence[float],
    seed: int,
    encoders: EncoderStrategy | None = None,
) -> Iterator[TrainingRun]:
    """Yields the training of `clip.model`, in place, with one iteration for each of `rates`.

    Consolidation pulls to the weights at the start of the block. When it ends, adapters are merged and the model gets
    the averaged weights, where the method has them. `seed`, with the prompts, only affects adapters and layers that are
    random in training (dropout), since batches have seeds of their own. So each task has other adapters at the start.
    `encoders` run the towers, by default as `training` says. UserError if a weight is not finite at the end, and for a
    model that does not support gradient checkpointing where `training` asks for it. gift_core.driving.training.drive
    resumes, uses several processes, and keeps a GPU busy.

    # differs: the official loop runs one more iteration. Its learning rate is exactly 0, so it changes nothing.
    """
    with _checkpointing(clip, training), own_random_numbers(clip.device):
        seed_generators(clip.device, seed_for("finetune", seed, *class_prompts))
        with training_mode(clip, method.trains) as trained:
            groups = trained.groups(method.rate_factors(clip, trained.parameters))
            run = TrainingRun(
                clip,
                trained.parameters,
                class_tokens_KL=tokenize(clip, class_prompts),
                losses=method.losses,
                consolidation=method.build_consolidation(trained.parameters),
                averages=method.build_averages(trained.weights),
                label_smoothing=training.label_smoothing,
                encoders=encoders or GradientCache(clip, training.micro_batch_size),
                update=WeightUpdate(_optimizer(groups, training), grad_scaler(clip)),
                rates=rates,
            )
            yield run
        for average in run.averages:
            average.finish(trained.weights)
    broken = [name for name, value in clip.trainable().items() if not bool(torch.isfinite(value).all())]
    if broken and run.rows:
        raise UserError(
            f"training ended with weights that are not finite, the first is {broken[0]}. Last good values: "
            f"{run.rows[-1]}. Lower the learning rate."
        )


def sampled(task_batches: TaskBatches, replay: Replay | None, iterations: range) -> Iterator[Sampled]:
    """Yields the batches of the task and of the replay, None without replay."""
    return ((task_batches.sample(index), replay.sample(index) if replay else None) for index in iterations)


def require_trainable(clip: Clip, training: TrainingConfig, method: Method) -> None:
    """Raises UserError, before any image is read, if the model does not support what is trained, or `training`.

    Also if a loss reaches nothing that is trained.
    """
    random = own_random_numbers(clip.device)  # new adapters take some
    with _checkpointing(clip, training), random, training_mode(clip, method.trains) as trained:
        method.rate_factors(clip, trained.parameters)
        for name, loss in method.losses.items():
            sides = sides_of(loss.function)
            if sides and not sides & trained.sides:
                problem = f"it is a loss of the {'/'.join(sides)} tower, of which nothing is trained"
                raise UserError(f"losses.{name}: {problem}. Remove it, or train that tower (trains).")


def require_value(value: torch.Tensor, name: str, *, has_gradient: bool) -> None:
    """Raises UserError if the value of the loss called `name` is not one number, or has no gradient and should."""
    fault = value_fault(value)
    if fault is None and has_gradient and not value.requires_grad:
        fault = NO_GRADIENT
    if fault is not None:
        raise UserError(f"losses.{name}: {fault}")


def learning_rates(iterations: int, *, warmup_iterations: int, peak: float) -> list[float]:
    """Returns the rate of each iteration: a linear warm-up to `peak`, then a cosine decay towards 0."""
    rising = [peak * (index + 1) / warmup_iterations for index in range(min(warmup_iterations, iterations))]
    span = iterations - warmup_iterations
    return rising + [peak * 0.5 * (1 + math.cos(math.pi * index / span)) for index in range(span)]


def _optimizer(groups: Mapping[float, dict[str, Any]], training: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(  # fused on every device that resolve_device knows
        groups.values(), lr=0.0, betas=training.betas, weight_decay=training.weight_decay, fused=True
    )


@dataclass
class WeightUpdate:
    """Takes the optimizer's step. Under amp_fp16, GradScaler skips it where gradients are not finite."""

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    skipped_in_a_row: int = 0

    def __call__(self, learning_rate: float) -> bool | None:
        """Update the weights. Return whether that was skipped, under amp_fp16 only."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["factor"]
        if not self.scaler.is_enabled():
            self.optimizer.step()
            return None
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return bool(self.scaler.get_scale() < scale)

    def count_skipped(self, skipped: bool | None) -> None:
        """Raises UserError after MAX_SKIPPED skipped iterations in a row."""
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        if self.skipped_in_a_row == MAX_SKIPPED:
            raise UserError(
                f"precision: amp_fp16: the gradients of {MAX_SKIPPED} iterations in a row were not finite, down to a "
                f"loss scale of {self.scaler.get_scale():g}. Use amp_bf16 or fp32."
            )


def grad_scaler(clip: Clip) -> torch.amp.GradScaler:
    """Returns torch's dynamic loss scale for a model in amp_fp16, and a disabled one for any other precision."""
    return torch.amp.GradScaler(clip.device.type, enabled=clip.precision == "amp_fp16")


def _checkpointing(clip: Clip, training: TrainingConfig) -> AbstractContextManager[None]:
    return checkpointed(clip) if training.gradient_checkpointing else nullcontext()


def require_finite(row: LossRow, rows: Sequence[LossRow], precision: str) -> None:
    """Raises UserError for a loss that is not finite, with the last of `rows` as the last good values."""
    broken = [name for name, value in row.items() if not math.isfinite(value) and name != "total"]
    if broken:
        last = rows[-1] if rows else "none"
        instead = "" if precision == "fp32" else f", or use precision fp32 instead of {precision}"
        raise UserError(
            f"training stopped at iteration {int(row['iteration'])}: {', '.join(broken)} became {row[broken[0]]}. Last "
            f"good values: {last}. Lower the learning rate ({row['learning_rate']:.3g} at this iteration){instead}."
        )
